"""A real Airflow in this process: DAG files are parsed as the scheduler parses them and run with ``dag.test()``.

One process for all of them, because Airflow needs seconds to get ready the first time and a fraction later.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.testing import ServedEmulator
from sample import DATASTORE, Sample, make_sample, upload_rows


@dataclass(frozen=True)
class DagResult:
    """How a DAG run ended: its state, the state of each task, and what each task returned: a mapped one a list."""

    state: str
    tasks: dict[str, str]
    returned: dict[str, Any]


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Airflow's home folder, with its database made."""
    airflow = Path(sys.executable).parent / "airflow"
    done = subprocess.run([str(airflow), "db", "migrate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(os.environ["AIRFLOW_HOME"])


@pytest.fixture(scope="module")
def session(emulator: ServedEmulator) -> Session:
    """A session with the emulator of the module."""
    return Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))


@pytest.fixture(scope="module")
def sample(session: Session) -> Sample:
    """A trained model, and the rows that it has not seen in the module's emulator."""
    made = make_sample()
    upload_rows(made, AzureMLBatchHook(session=session).container_client(DATASTORE))
    return made


@pytest.fixture
def run_dag(airflow_home: Path, emulator: ServedEmulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DagResult]:
    """Run a DAG file against the emulator: ``run_dag(path, dag_id, **environment)``."""
    return _runner(emulator, monkeypatch)


@pytest.fixture(scope="module")
def run_dag_once(airflow_home: Path, emulator: ServedEmulator) -> Iterator[Callable[..., DagResult]]:
    """Run a DAG file for all tests of a module; the environment stays for them."""
    with pytest.MonkeyPatch.context() as patch:
        yield _runner(emulator, patch)


def _runner(emulator: ServedEmulator, patch: pytest.MonkeyPatch) -> Callable[..., DagResult]:
    patch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)

    def run(
        path: Path,
        dag_id: str,
        run_conf: dict[str, Any] | None = None,
        logical_date: datetime | None = None,
        **environment: str,
    ) -> DagResult:
        from airflow_names import DagBag

        for name, value in environment.items():
            patch.setenv(name, value)
        bag = DagBag(dag_folder=str(path))
        assert not bag.import_errors, bag.import_errors
        dag_run = bag.dags[dag_id].test(run_conf=run_conf, logical_date=logical_date)
        instances = sorted(dag_run.get_task_instances(), key=lambda instance: instance.map_index)
        returned: dict[str, Any] = {}
        for instance in instances:
            value = instance.xcom_pull(task_ids=instance.task_id, map_indexes=instance.map_index)
            if instance.map_index < 0:
                returned[instance.task_id] = value
            else:
                returned.setdefault(instance.task_id, []).append(value)
        return DagResult(
            str(dag_run.state), {instance.task_id: str(instance.state) for instance in instances}, returned
        )

    return run
