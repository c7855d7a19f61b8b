"""Schedules, made by the SDK, and fired against a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.testing import ServedEmulator, serving

#: A Wednesday in winter.
NOW = datetime(2026, 12, 2, 10, 7, tzinfo=UTC)

SCRIPT = """
from azureml.data.datapath import DataPath, DataPathComputeBinding
place = PipelineParameter("place", DataPath(store, "nothing"))
write("show/show.py", "import sys; print('saw', sys.argv[1:])")
def step(arguments, **more):
    return PythonScriptStep("show.py", "show", arguments, compute_target=make_cluster(max_nodes=1),
                            source_directory="show", allow_reuse=False, **more)
binding = (place, DataPathComputeBinding(mode="mount"))
watched = Pipeline(ws, [step(["--place", binding], inputs=[binding])]).publish("watched", "")
pipeline = Pipeline(ws, [step(["--label", PipelineParameter("label", "none")])]).publish("scheduled", "")
newer = Pipeline(ws, [step(["--label", PipelineParameter("label", "newer")])]).publish("newer", "")
endpoint = PipelineEndpoint.publish(ws, name="scheduled", pipeline=pipeline, description="")

daily = Schedule.create(ws, "daily", pipeline.id, "scheduled-runs", description="each morning",
                        recurrence=ScheduleRecurrence("Day", 1, time_of_day="6:30", start_time="2026-12-01T00:00:00"),
                        pipeline_parameters={"label": "daily"}, wait_for_provisioning=True, wait_timeout=60)
weekly = Schedule.create_for_pipeline_endpoint(
    ws, "weekly", endpoint.id, "scheduled-runs",
    recurrence=ScheduleRecurrence("Week", 2, week_days=["Monday"], hours=[18], minutes=[30],
                                  start_time="2026-12-07T00:00:00"))
at_once = Schedule.create(ws, "at once", pipeline.id, "scheduled-runs", recurrence=ScheduleRecurrence("Hour", 12))
reactive = Schedule.create(ws, "reactive", watched.id, "reactive-runs", datastore=store, polling_interval=5,
                           data_path_parameter_name="place", path_on_datastore="incoming")
found = Schedule.get(ws, daily.id)
report(
    ids={"daily": daily.id, "weekly": weekly.id, "at once": at_once.id, "reactive": reactive.id},
    endpoint=endpoint.id,
    container=store.container_name,
    found=[found.name, found.description, found.status, found.pipeline_id == pipeline.id,
           found.recurrence.frequency, found.recurrence.hours, found.recurrence.minutes],
    listed=sorted(entry.name for entry in Schedule.list(ws)),
    of_pipeline=sorted(entry.name for entry in Schedule.list(ws, pipeline_id=pipeline.id)),
    of_endpoint=[entry.name for entry in Schedule.list(ws, pipeline_endpoint_id=endpoint.id)],
    none_yet=[found.get_last_pipeline_run(), found.get_pipeline_runs()],
    in_use=failure(pipeline.disable),
    reactive=[reactive.datastore_name, reactive.path_on_datastore, reactive.data_path_parameter_name],
)
found.disable()
report(disabled=[Schedule.get(ws, daily.id).status, "daily" in [entry.name for entry in Schedule.list(ws)],
                 "daily" in [entry.name for entry in Schedule.list(ws, active_only=False)]])
found.enable()
found.update(description="at seven", recurrence=ScheduleRecurrence("Day", 1, time_of_day="7:00",
                                                                  start_time="2026-12-01T00:00:00"))
report(updated=[Schedule.get(ws, daily.id).description, Schedule.get(ws, daily.id).recurrence.hours])
endpoint.add_default(newer)
"""


class Bench:
    """An emulator whose clock stands still, and what the script told of its schedules."""

    def __init__(self, emulator: ServedEmulator, told: dict[str, Any]) -> None:
        self.emulator = emulator
        self.services = emulator.services
        self.told = told

    def move(self, by: timedelta) -> None:
        """Move the clock; what is due has fired when this returns."""
        self.emulator.clock.shift(by)
        self.emulator.services.schedules.tick()

    def runs(self, name: str) -> list[Any]:
        """Runs of a schedule, oldest first."""
        return self.emulator.services.schedules.runs(self.told["ids"][name])[::-1]

    def fired(self, name: str) -> list[str]:
        """The instants for which a schedule started runs, to the minute."""
        return [str(run.properties["emulator.scheduledFor"])[5:16] for run in self.runs(name)]

    def put(self, blob: str, content: str) -> None:
        """Write a blob into the datastore that is watched."""
        self.emulator.services.blobs.put(self.told["container"], blob, [content.encode()])


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, script: Callable[[ServedEmulator, str], dict[str, Any]]
) -> Iterator[Bench]:
    clock = Clock()
    clock.freeze(NOW)
    with serving(tmp_path_factory.mktemp("schedules"), clock) as emulator:
        yield Bench(emulator, script(emulator, SCRIPT))


def test_schedules_are_found_listed_disabled_and_changed(bench: Bench) -> None:
    told = bench.told
    assert told["found"] == ["daily", "each morning", "Active", True, "Day", [6], [30]]
    assert told["listed"] == ["at once", "daily", "reactive", "weekly"]
    assert told["of_pipeline"] == ["at once", "daily"]
    assert told["of_endpoint"] == ["weekly"]
    assert told["none_yet"] == [None, []]
    assert "disable the schedule first" in told["in_use"]
    assert told["reactive"] == ["workspaceblobstore", "incoming", "place"]
    assert told["disabled"] == ["Disabled", False, True]
    assert told["updated"] == ["at seven", [7]]


def test_recurrences_fire_when_the_clock_passes_them_and_catch_up(bench: Bench) -> None:
    bench.move(timedelta(0))
    assert bench.fired("daily") == []
    assert bench.fired("at once") == ["12-02T10:07"]  # no start time: the first run is started with the schedule
    bench.move(timedelta(days=3))
    assert bench.fired("daily") == ["12-03T07:00", "12-04T07:00", "12-05T07:00"]
    assert bench.fired("at once")[1:4] == ["12-02T22:07", "12-03T10:07", "12-03T22:07"]
    assert bench.fired("weekly") == []
    bench.move(timedelta(days=2, hours=9))
    assert bench.fired("weekly") == ["12-07T18:30"]
    bench.move(timedelta(days=14))
    assert bench.fired("weekly") == ["12-07T18:30", "12-21T18:30"]


def test_a_run_carries_its_schedule_its_parameters_and_the_endpoints_default_of_then(bench: Bench) -> None:
    bench.move(timedelta(0))
    daily, weekly = bench.runs("daily")[0], bench.runs("weekly")[0]
    assert (daily.run_type, daily.parameter_assignments) == ("Schedule", {"label": "daily"})
    assert daily.schedule_id == bench.told["ids"]["daily"]
    assert weekly.parameter_assignments == {"label": "newer"}
    base = f"{bench.emulator.url}/pipelines/v1.0{bench.emulator.scope}/PipelineRuns/Schedule"
    session = bench.emulator.session()
    listed = session.get(f"{base}/{daily.schedule_id}").json()
    assert [run["Id"] for run in listed] == [run.id for run in bench.runs("daily")][::-1]
    assert session.get(f"{base}/{daily.schedule_id}/Last").json()["Id"] == listed[0]["Id"]
    assert session.get(f"{base}/{bench.told['ids']['reactive']}/Last").status_code == 204


def test_each_new_or_changed_blob_starts_a_run_but_none_in_a_sub_folder(bench: Bench) -> None:
    bench.put("incoming/a.csv", "1")
    bench.put("incoming/b.csv", "1")
    bench.put("incoming/deep/c.csv", "1")
    bench.put("elsewhere/d.csv", "1")
    bench.move(timedelta(minutes=4))
    before = bench.runs("reactive")
    bench.move(timedelta(minutes=5))
    places = [run.data_path_assignments["place"].relative_path for run in bench.runs("reactive")]
    assert sorted(places) == ["incoming/a.csv", "incoming/b.csv"]
    assert len(before) in (0, 2)
    bench.put("incoming/b.csv", "other")
    bench.move(timedelta(minutes=5))
    assert bench.runs("reactive")[-1].data_path_assignments["place"].relative_path == "incoming/b.csv"
    bench.move(timedelta(minutes=5))
    assert len(bench.runs("reactive")) == 3


def test_a_schedule_that_cannot_fire_is_refused(bench: Bench) -> None:
    base = f"{bench.emulator.url}/pipelines/v1.0{bench.emulator.scope}/Schedules/Create"
    info = {"ExperimentName": "e"}

    def refusal(**body: Any) -> str:
        answer = bench.emulator.session().post(base, json={"PipelineSubmissionInfo": info, **body})
        assert answer.status_code in (400, 404), answer.text
        return str(answer.json()["Error"]["Message"])

    pipeline = bench.runs("daily")[0].pipeline_id
    assert "PipelineId" in refusal(Name="x", ScheduleType="0")
    assert "Recurrence" in refusal(Name="x", PipelineId=pipeline, ScheduleType="Recurrence")
    odd = {"Frequency": "Fortnight", "Interval": 1}
    assert "Fortnight" in refusal(Name="x", PipelineId=pipeline, ScheduleType="0", Recurrence=odd)
    nowhere = {"DataStoreName": "nowhere", "PollingInterval": 5}
    assert "nowhere" in refusal(Name="x", PipelineId=pipeline, ScheduleType="1", DataStoreTriggerInfo=nowhere)
