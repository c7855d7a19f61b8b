"""Whatever dies while many runs go on: everything ends right, with one run in the service for each invocation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from live_airflow import DagRun, LiveAirflow
from live_service import LiveService
from polling import wait_for

COUNT = 50


class Happenings:
    """Kills this and that, at the given stage of a DAG run."""

    def __init__(self, airflow: LiveAirflow, service: LiveService, many: DagRun) -> None:
        self._airflow = airflow
        self._service = service
        self._many = many
        self._started = time.monotonic()

    def after(self, number: int, state: str, happen: Callable[[], None]) -> None:
        """Have something happen once so many tasks were in a state, or further."""
        reached = {"deferred": ("deferred", "success"), "success": ("success",)}[state]

        def look() -> bool:
            return sum(task["state"] in reached for task in self._many.tasks()) >= number

        wait_for(f"{number} tasks that are {state}", look, 300, interval=0.5)
        happen()
        print(f"{time.monotonic() - self._started:6.0f} s, {number} {state}: {happen.__name__}", flush=True)

    def triggerer_dies(self) -> None:
        """It is started again."""
        self._airflow.kill_part("triggerer")
        self._airflow.start_part("triggerer")

    def scheduler_and_workers_die(self) -> None:
        """They are started again; the tasks that were running are found dead by their missing heartbeats."""
        self._airflow.kill_part("scheduler")
        self._airflow.start_part("scheduler")

    def task_dies(self) -> None:
        """Whichever runs: of some that Airflow says are running the process has ended, or died with a scheduler."""

        def kill() -> bool:
            running = (int(task["pid"]) for task in self._many.tasks() if task["state"] == "running" and task["pid"])
            return any(self._airflow.kill_worker_process(pid) for pid in running)

        wait_for("running task", kill)

    def service_dies(self) -> None:
        """It is started again at the same address."""
        self._service.kill()
        self._service.start()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_50_runs_while_everything_dies(
    live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str
) -> None:
    gate = live_service.gate("deaths")
    conf = {"pipeline_id": live_pipeline, "parameters": [{"gate": str(gate)}] * COUNT}
    many = live_airflow.trigger("live_many_retried", conf)
    started = time.monotonic()
    happenings = Happenings(live_airflow, live_service, many)

    happenings.after(5, "deferred", happenings.task_dies)
    happenings.after(10, "deferred", happenings.triggerer_dies)
    happenings.after(16, "deferred", happenings.service_dies)
    happenings.after(22, "deferred", happenings.scheduler_and_workers_die)
    happenings.after(COUNT, "deferred", happenings.service_dies)
    gate.write_text("pass")
    happenings.after(5, "success", happenings.triggerer_dies)
    happenings.after(12, "success", happenings.service_dies)
    happenings.after(20, "success", happenings.scheduler_and_workers_die)
    happenings.after(30, "success", happenings.task_dies)

    assert many.wait_for_end(600) == "success"
    tasks, runs = many.tasks(), many_runs(live_service, many)
    print(
        f"{COUNT} invocations in {time.monotonic() - started:.0f} s, "
        f"tries {dict(Counter(task['try_number'] for task in tasks))}, "
        f"runs {dict(Counter(run for _, run in runs))}"
    )
    assert Counter(task["state"] for task in tasks) == {"success": COUNT}
    assert sorted(runs) == sorted((str(number), "Completed") for number in range(COUNT))


def many_runs(service: LiveService, many: DagRun) -> list[tuple[str, str]]:
    """Map index and status of each run in the service."""
    return [(str(run.tags["airflow_map_index"]), str(run.status)) for run in service.runs_of(many.run_id)]
