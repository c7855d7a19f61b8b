"""Names that lie elsewhere in earlier versions of Airflow, and what tests need of its version."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from airflow.timetables.base import DagRunInfo

AIRFLOW_VERSION = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:2])

if AIRFLOW_VERSION >= (3, 2):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import ParamValidationError
    from airflow.serialization.serialized_objects import DagSerialization
else:
    from airflow.exceptions import ParamValidationError
    from airflow.models.dagbag import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

__all__ = ["AIRFLOW_VERSION", "DagBag", "DagSerialization", "ParamValidationError", "next_run"]


def next_run(dag: Any, last: DagRunInfo | None) -> DagRunInfo | None:
    """Ask a serialised DAG for the run after the last one."""
    if AIRFLOW_VERSION >= (3, 2):
        return dag.next_dagrun_info(last_automated_run_info=last)
    return dag.next_dagrun_info(last and last.data_interval)
