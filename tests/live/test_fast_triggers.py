"""Runs that end while their tasks defer. Airflow 3.2 to 3.3.2 fails tasks that are resumed too soon; ours are not.

The supervisors of tasks linger as long as with Airflow's own settings, which makes that fault likely.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from live_airflow import DagRun, LiveAirflow
from live_service import LiveService


@pytest.fixture
def short_heartbeat(live_airflow: LiveAirflow) -> Iterator[None]:
    """Workers whose supervisors linger for a second at most."""
    live_airflow.restart_part("scheduler", AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL="1")
    yield
    live_airflow.restart_part("scheduler")


def durations(count: int) -> list[float]:
    """Seconds between 0 and 6, spread evenly and out of order."""
    return [round(6 * (number * 37 % 61) / 60, 1) for number in range(count)]


def run_many(airflow: LiveAirflow, service: LiveService, pipeline: str, count: int, seconds: float) -> DagRun:
    """Run so many mapped invocations at once, and check that each ended right with one run."""
    parameters = [{"gate": "open", "seconds": str(duration)} for duration in durations(count)]
    service.clear_requests()
    started = time.monotonic()
    many = airflow.trigger("live_many_deferred", {"pipeline_id": pipeline, "parameters": parameters})
    many.wait_for_end(seconds)
    tasks = many.tasks()
    runs = service.runs_of(many.run_id)
    asked = service.requests()
    print(
        f"\n{count} invocations in {time.monotonic() - started:.0f} s: tasks {Counter(t['state'] for t in tasks)}, "
        f"runs {Counter(run.status for run in runs)}, {sum(asked.values())} requests to the service, "
        f"{asked.get('history.get_batch_run_data', 0)} of them bulk questions, "
        f"triggerer CPU {airflow.cpu_seconds('triggerer'):.1f} s in all"
    )
    assert Counter(task["state"] for task in tasks) == {"success": count}
    assert {task["try_number"] for task in tasks} == {1}
    assert Counter(run.status for run in runs) == {"Completed": count}
    assert {run.tags["airflow_map_index"] for run in runs} == {str(number) for number in range(count)}
    return many


def test_a_few(live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str) -> None:
    run_many(live_airflow, live_service, live_pipeline, 12, 120)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_200(live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str) -> None:
    run_many(live_airflow, live_service, live_pipeline, 200, 1100)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_200_at_a_heartbeat_of_a_second(
    short_heartbeat: None, live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str
) -> None:
    run_many(live_airflow, live_service, live_pipeline, 200, 1100)
