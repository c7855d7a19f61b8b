"""Asset watchers in a real triggerer: what happens in Azure starts DAG runs, whatever dies in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_airflow import LiveAirflow
from live_service import LiveService
from polling import wait_for

from airflow_provider_amlbatch.aml.blobs import container_client
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import list_runs_of_schedule
from airflow_provider_amlbatch.aml.scheduling import ScheduleChange, ensure_schedule, find_schedule
from airflow_provider_amlbatch.aml.target import find_target

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WATCHED = Path(__file__).parent / "watched"


@pytest.fixture(scope="module")
def airflow(live_service: LiveService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """An Airflow of our own: its watchers ask the service without end."""
    variables = live_service.environment | {"AIRFLOW__CORE__DAGS_FOLDER": str(WATCHED)}
    with LiveAirflow(tmp_path_factory.mktemp("watched-airflow"), variables) as watching:
        yield watching


class Arrivals:
    """Blobs that arrive in the watched folder, and the events that tell of them."""

    def __init__(self, airflow: LiveAirflow, service: LiveService) -> None:
        self._airflow = airflow
        self._service = service
        self._container = container_client(service.session, "workspaceblobstore")

    def upload(self, *names: str) -> None:
        """Let files arrive."""
        for name in names:
            self._container.upload_blob(f"arriving/{name}", name.encode(), overwrite=True)

    def told(self, asset: str = "live-arrivals") -> Counter[str]:
        """How many events of an asset there are for each file."""
        return Counter(Path(payload["path"]).name for payload in payloads(self._airflow, asset))

    def wait_for(self, *names: str) -> None:
        """Wait until all of these have been told, and until the watcher has kept that it told them."""
        wait_for(f"events of {names}", lambda: set(names) <= set(self.told()))
        # It keeps its position before it asks again.
        self._service.clear_requests()
        wait_for("further look", lambda: self._service.requests().get("blob.get_container", 0) >= 2)


def payloads(airflow: LiveAirflow, asset: str) -> list[dict[str, str]]:
    """What the events of an asset carry, oldest first."""
    return [event["extra"]["payload"] for event in airflow.asset_events(asset)]


def handed_on(airflow: LiveAirflow) -> Counter[str]:
    """What the runs of the DAG were given so far: names of files and ids of runs."""
    runs = airflow.api("GET", "dags/live_watched/dagRuns?limit=100&state=success")["dag_runs"]
    path = "dags/live_watched/dagRuns/{}/taskInstances/payloads/xcomEntries/return_value"
    given = [airflow.api("GET", path.format(run["dag_run_id"]))["value"] for run in runs]
    return Counter(Path(one["path"]).name if isinstance(one, dict) else one for run in given for one in run)


def test_each_blob_is_told_once_whatever_dies(airflow: LiveAirflow, live_service: LiveService) -> None:
    arrivals = Arrivals(airflow, live_service)
    arrivals.upload("a", "b")
    airflow.wait_for_dag("live_watched")
    arrivals.wait_for("a", "b")

    airflow.kill_part("triggerer")
    arrivals.upload("while-nobody-looked", "a")  # a changed
    airflow.start_part("triggerer")
    arrivals.wait_for("while-nobody-looked")

    live_service.kill()
    live_service.start()
    arrivals.upload("after-the-outage")
    arrivals.wait_for("after-the-outage")

    expected = {"a": 2, "b": 1, "while-nobody-looked": 1, "after-the-outage": 1}
    assert arrivals.told() == expected
    assert arrivals.told("live-audited") == expected
    wait_for("runs for all events", lambda: handed_on(airflow).total() >= sum(expected.values()))
    assert handed_on(airflow) == expected


def test_runs_of_a_schedule_that_is_made_later_are_told(
    airflow: LiveAirflow, live_service: LiveService, live_pipeline: str
) -> None:
    session = live_service.session
    airflow.wait_for_dag("live_watched")
    target = find_target(session, pipeline_id=live_pipeline)
    rule = ScheduleRecurrence("Day", 1)
    ensure_schedule(session, "live-watched", target, ScheduleChange(recurrence=rule, experiment_name="live"))
    schedule = find_schedule(session, "live-watched").id
    runs = wait_for("run of the schedule", lambda: session.send(list_runs_of_schedule(schedule)))
    told = wait_for("event of the run", lambda: payloads(airflow, "live-fired"))
    assert told == [run.id for run in runs]
    wait_for("run for the event", lambda: told[0] in handed_on(airflow))
    log = (airflow.home / "triggerer.log").read_text()
    assert "There is no schedule with the name or id 'live-watched' in the workspace. Looking again in 1 sec" in log
    assert "exited" not in log
