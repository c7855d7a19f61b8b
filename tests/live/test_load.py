"""Many DAG runs at once on one small machine. What it takes is printed for the documentation."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from live_airflow import LiveAirflow
from live_service import LiveService
from polling import wait_for

#: What the run of each DAG run takes in the service, in seconds.
SECONDS = 10


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("dag_id", "count"), [("live_load_deferred", 200), ("live_load_waiting", 50)])
def test_many_dag_runs_at_once(
    live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str, tmp_path: Path, dag_id: str, count: int
) -> None:
    conf = {"pipeline_id": live_pipeline, "seconds": str(SECONDS), "results": str(tmp_path)}
    live_service.clear_requests()
    triggerer_before = live_airflow.cpu_seconds("triggerer")
    # On SQLite the scheduler dies of a locked database when it starts runs while others are being triggered.
    live_airflow.pause_dag(dag_id, paused=True)
    dag_runs = [live_airflow.trigger(dag_id, conf) for _ in range(count)]
    live_airflow.pause_dag(dag_id, paused=False)
    started = time.monotonic()
    memory, unhealthy = [0], [0]

    def are_over() -> bool:
        unhealthy[0] += not live_airflow.is_healthy()
        memory.append(live_airflow.memory())
        return all(state in ("success", "failed") for state in live_airflow.states_of_runs(dag_id))

    wait_for(f"end of {count} DAG runs", are_over, 2300, interval=2)
    took = time.monotonic() - started
    runs = [run for run in live_service.pipeline_runs() if run.tags["airflow_dag_id"] == dag_id]
    asked = live_service.requests()
    print(
        f"\n{dag_id}: {count} DAG runs in {took:.0f} s, at most {max(memory) / 2**20:.0f} MB, "
        f"{sum(asked.values())} requests to the service, {asked.get('history.get_batch_run_data', 0)} of them about "
        f"status, triggerer CPU {live_airflow.cpu_seconds('triggerer') - triggerer_before:.1f} s, "
        f"unhealthy at {unhealthy[0]} of {len(memory) - 1} looks"
    )
    assert live_airflow.is_healthy()
    assert Counter(live_airflow.states_of_runs(dag_id)) == {"success": count}
    assert sorted(run.tags["airflow_run_id"] or "" for run in runs) == sorted(run.run_id for run in dag_runs)
    assert {run.status for run in runs} == {"Completed"}
    assert len(list(tmp_path.glob("*.parquet"))) == count
