"""Run one DAG of ``dags/`` with ``dag.test()`` and write what came of it as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag


def run(dag_id: str) -> dict[str, Any]:
    """Run the DAG and return its state, the seconds of each task and what the last tasks returned."""
    bag = DagBag()
    if bag.import_errors:
        raise RuntimeError(f"DAG files that do not import: {bag.import_errors}")
    dag_run = bag.dags[dag_id].test()
    instances = sorted(dag_run.get_task_instances(), key=lambda instance: instance.start_date or instance.queued_dttm)
    return {
        "state": str(dag_run.state),
        "tasks": {instance.task_id: instance.duration or 0.0 for instance in instances},
        "result": _returned(instances, "collect"),
        "chart": _returned(instances, "draw"),
    }


def _returned(instances: list[Any], task_id: str) -> Any:
    for instance in instances:
        if instance.task_id == task_id and instance.state == "success":
            return instance.xcom_pull(task_ids=task_id)
    return None


if __name__ == "__main__":
    dag_id, report = sys.argv[1], Path(sys.argv[2])
    report.write_text(json.dumps(run(dag_id), default=str))
