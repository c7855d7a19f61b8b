"""Many DAG runs, and many waiting tasks, at once on one small machine. What it takes is printed for the documentation.

The sizes of the documentation are those of ``AMLBATCH_LOAD_RUNS=200 AMLBATCH_LOAD_MAPPED=2000``.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from database import postgresql
from live_airflow import DAGS, LiveAirflow
from live_service import LiveService
from polling import wait_for

from airflow_provider_amlbatch.aml.status import RunStatus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RUNS = int(os.environ.get("AMLBATCH_LOAD_RUNS", "20"))
MAPPED = int(os.environ.get("AMLBATCH_LOAD_MAPPED", "100"))
#: What the run of each DAG run takes in the service, in seconds.
SECONDS = 10
#: How long what waits is watched, in seconds.
WATCHED = 60


@pytest.fixture(scope="module")
def database() -> Iterator[str | None]:
    """URL of a PostgreSQL, or None where SQLite has to do."""
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def airflow(
    database: str | None, live_service: LiveService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    """An Airflow of our own."""
    variables = live_service.environment | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "5000",
        "AIRFLOW__TRIGGERER__CAPACITY": "5000",
    }
    if database:
        variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database
    with LiveAirflow(tmp_path_factory.mktemp("load-airflow"), variables) as loaded:
        yield loaded


class Watched:
    """What Airflow and the service take between two moments."""

    def __init__(self, airflow: LiveAirflow, service: LiveService) -> None:
        self._airflow, self._service = airflow, service
        service.clear_requests()
        self._cpu = airflow.cpu_seconds("triggerer")
        self._started = time.monotonic()
        self._memory = 0
        self._looks = self._unhealthy = 0

    def look(self) -> None:
        """Note memory and health."""
        self._looks += 1
        self._unhealthy += not self._airflow.is_healthy()
        self._memory = max(self._memory, self._airflow.memory())

    def __str__(self) -> str:
        asked = self._service.requests()
        return (
            f"{time.monotonic() - self._started:.0f} s, Airflow {self._memory / 2**20:.0f} MB, "
            f"{sum(asked.values())} requests to the service, {asked.get('history.get_batch_run_data', 0)} of them "
            f"about status, triggerer CPU {self._airflow.cpu_seconds('triggerer') - self._cpu:.1f} s, "
            f"unhealthy at {self._unhealthy} of {self._looks} looks"
        )


@pytest.mark.parametrize("dag_id", ["live_load_deferred", "live_load_waiting"])
def test_many_dag_runs_at_once(
    airflow: LiveAirflow,
    database: str | None,
    live_service: LiveService,
    live_pipeline: str,
    tmp_path: Path,
    dag_id: str,
) -> None:
    conf = {"pipeline_id": live_pipeline, "seconds": str(SECONDS), "results": str(tmp_path)}
    # On SQLite the scheduler dies of a locked database when it starts runs while others are being triggered.
    airflow.pause_dag(dag_id, paused=True)
    dag_runs = [airflow.trigger(dag_id, conf) for _ in range(RUNS)]
    watched = Watched(airflow, live_service)
    airflow.pause_dag(dag_id, paused=False)

    def are_over() -> bool:
        watched.look()
        return all(state in ("success", "failed") for state in airflow.states_of_runs(dag_id))

    wait_for(f"end of {RUNS} DAG runs", are_over, 2700, interval=2)
    print(f"\n{dag_id}: {RUNS} DAG runs on {'PostgreSQL' if database else 'SQLite'}: {watched}")
    runs = [run for run in live_service.pipeline_runs() if run.tags["airflow_dag_id"] == dag_id]
    wait_for("healthy Airflow", airflow.is_healthy)
    assert Counter(airflow.states_of_runs(dag_id)) == {"success": RUNS}
    assert sorted(run.tags["airflow_run_id"] or "" for run in runs) == sorted(run.run_id for run in dag_runs)
    assert {run.status for run in runs} == {"Completed"}
    assert len(list(tmp_path.glob("*.parquet"))) == RUNS


def test_many_mapped_invocations_wait_at_once_and_end_together(
    airflow: LiveAirflow, database: str | None, live_service: LiveService
) -> None:
    # The cluster has one node, which the first run keeps: all others wait in its queue.
    pipeline = live_service.publish("narrow", max_nodes=1)
    conf = {"pipeline_id": pipeline, "gate": str(live_service.gate("load")), "count": MAPPED}
    starting = Watched(airflow, live_service)
    dag_run = airflow.trigger("live_load_mapped", conf)

    def are_all_deferred() -> bool:
        starting.look()
        return dag_run.count_tasks("deferred") == MAPPED

    wait_for(f"{MAPPED} deferred tasks", are_all_deferred, 2700, interval=2)
    print(f"\n{MAPPED} invocations on {'PostgreSQL' if database else 'SQLite'}, until all wait: {starting}")
    waiting = Watched(airflow, live_service)
    end = time.monotonic() + WATCHED
    wait_for("end of the watch", lambda: waiting.look() or time.monotonic() > end, WATCHED + 60, interval=5)
    print(f"{MAPPED} wait: {waiting}, emulator {live_service.memory / 2**20:.0f} MB")
    runs = live_service.runs_of(dag_run.run_id)
    assert sorted(int(run.tags["airflow_map_index"] or -1) for run in runs) == list(range(MAPPED))
    assert Counter(run.status for run in runs) == {"Running": 1, "Queued": MAPPED - 1}
    assert dag_run.count_tasks("deferred") == MAPPED

    dag_run.mark_run_failed()
    ended = Watched(airflow, live_service)

    def are_canceled() -> bool:
        ended.look()
        return all(RunStatus.from_history(run.status).is_terminal for run in live_service.runs_of(dag_run.run_id))

    wait_for("end of all runs", are_canceled, 600, interval=5)
    print(f"{MAPPED} canceled: {ended}")
    assert Counter(run.status for run in live_service.runs_of(dag_run.run_id)) == {"Canceled": MAPPED}
    # The first killed trigger has the triggerer build Airflow's API in its own process, and beat late meanwhile.
    wait_for("healthy Airflow", airflow.is_healthy)
