"""Runs of a schedule and changes of blobs are handed on exactly once, whatever happens to Airflow in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Context,
    PokeReturnValue,
    TaskDeferred,
)
from airflow_state import AirflowState, KeyedState, StateSupervisor
from schedule_bench import Bench

from airflow_provider_amlbatch.aml.errors import ArgumentError, NotFoundError
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.scheduling import ScheduleChange, ensure_schedule, switch_schedule
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.sensors.schedules import AzureMLBlobChangeSensor, AzureMLScheduledRunSensor
from airflow_provider_amlbatch.triggers.schedules import (
    NEWS,
    AzureMLBlobChangeEventTrigger,
    AzureMLBlobChangeTrigger,
    AzureMLScheduledRunEventTrigger,
    AzureMLScheduledRunTrigger,
)

HOUR = timedelta(hours=1)


def hourly(bench: Bench, name: str) -> None:
    bench.move_to_minute(0)
    rule = ScheduleRecurrence("Hour", 1, (bench.now - 24 * HOUR).replace(minute=30, tzinfo=None))
    target = find_target(bench.session, pipeline_id=bench.ids["plain"])
    ensure_schedule(bench.session, name, target, ScheduleChange(recurrence=rule, experiment_name="mirror"))


def end(bench: Bench, name: str) -> None:
    switch_schedule(bench.session, bench.schedule(name), on=False)


def poke(sensor: Any, context: Context) -> Any:
    """What the sensor returns from one look; None if it goes on waiting."""
    done = sensor.poke(context)
    return done.xcom_value if isinstance(done, PokeReturnValue) else None


def sensor_of(schedule: str, **more: Any) -> AzureMLScheduledRunSensor:
    return AzureMLScheduledRunSensor(task_id="sensor", schedule=schedule, **more)


@pytest.mark.parametrize("knows_state", [True, False], ids=["3.3", "3.1"])
def test_each_run_is_handed_on_once_also_those_of_an_outage(bench: Bench, knows_state: bool) -> None:
    name = f"mirrored {knows_state}"
    hourly(bench, name)
    bench.move(2 * HOUR)
    airflow, started = AirflowState(knows_state), bench.move(timedelta(minutes=1))
    old = [run.id for run in bench.runs(name)]
    assert len(old) == 2

    first = airflow.context("run 1", started)
    assert poke(sensor_of(name), first) is None  # what there was before the first DAG run is passed over
    bench.move(HOUR)
    assert poke(sensor_of(name), first) == [bench.runs(name)[2].id]

    bench.move(5 * HOUR)  # Airflow is down
    missed = [run.id for run in bench.runs(name)][3:]
    assert len(missed) == 5
    second = airflow.context("run 2", bench.now)
    assert poke(sensor_of(name), second) == missed
    assert poke(sensor_of(name), airflow.context("run 3", bench.now)) is None
    bench.move(HOUR)
    assert poke(sensor_of(name), airflow.context("run 4", bench.now)) == [bench.runs(name)[-1].id]
    end(bench, name)


def test_a_run_between_two_dag_runs_that_found_nothing_is_not_lost(bench: Bench) -> None:
    hourly(bench, "between")
    airflow = AirflowState()
    assert poke(sensor_of("between"), airflow.context("run 1", bench.now)) is None
    bench.move(HOUR)
    assert poke(sensor_of("between"), airflow.context("run 2", bench.now)) == [bench.runs("between")[0].id]
    end(bench, "between")


def test_a_retry_and_a_cleared_task_hand_on_the_same_again(bench: Bench) -> None:
    hourly(bench, "retried")
    airflow = AirflowState()
    assert poke(sensor_of("retried"), airflow.context("run 1", bench.now)) is None
    bench.move(2 * HOUR)
    picked = poke(sensor_of("retried"), airflow.context("run 1", bench.now))
    assert len(picked) == 2
    bench.move(HOUR)
    assert poke(sensor_of("retried"), airflow.context("run 1", bench.now)) == picked
    assert poke(sensor_of("retried"), airflow.context("run 2", bench.now)) == [bench.runs("retried")[2].id]
    assert poke(sensor_of("retried"), airflow.context("run 1", bench.now)) == picked
    assert poke(sensor_of("retried"), airflow.context("run 3", bench.now)) is None
    end(bench, "retried")


class Crash(Exception):
    """The worker dies."""


class CrashingState(KeyedState):
    """Dies at a write of choice."""

    writes_left = 1

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value, or die."""
        if not self.writes_left:
            raise Crash
        self.writes_left -= 1
        super().set(key, value)


def test_a_worker_that_dies_between_picking_and_moving_the_mark_loses_nothing(bench: Bench) -> None:
    hourly(bench, "crashed")
    sensor = sensor_of("crashed")
    airflow = AirflowState(assets={sensor.asset.name: CrashingState()})
    started = bench.now
    bench.move(2 * HOUR)
    expected = [run.id for run in bench.runs("crashed")]
    with pytest.raises(Crash):  # one write keeps the first mark; the next one would move it
        sensor.poke(airflow.context("run 1", started))
    airflow.assets[sensor.asset.name].writes_left = 10  # type: ignore[attr-defined]
    bench.move(HOUR)
    assert poke(sensor_of("crashed"), airflow.context("run 1", started)) == expected
    assert poke(sensor_of("crashed"), airflow.context("run 2", started)) == [bench.runs("crashed")[2].id]
    end(bench, "crashed")


def test_since_reaches_back_before_the_first_dag_run(bench: Bench) -> None:
    hourly(bench, "reached")
    since = bench.now
    bench.move(3 * HOUR)
    sensor = sensor_of("reached", since=since.isoformat())
    assert poke(sensor, AirflowState().context("run 1", bench.now)) == [run.id for run in bench.runs("reached")]
    end(bench, "reached")
    with pytest.raises(ArgumentError, match="since is '2026-01-01', which has no offset"):
        sensor_of("reached", since="2026-01-01").poke(AirflowState().context("run 1", bench.now))
    with pytest.raises(NotFoundError, match="'nobody'"):
        sensor_of("nobody").poke(AirflowState().context("run 1", bench.now))


def test_a_mapped_sensor_without_its_asset_says_what_to_do(bench: Bench) -> None:
    context = AirflowState().context("run 1", bench.now)
    del cast(Any, context)["asset_state_store"]  # Airflow gives none to a task that names no asset
    with pytest.raises(AirflowFailException, match=r"'azureml/azureml_default/schedules/a%20b'.*inlets of partial"):
        sensor_of("a b").poke(context)


def test_changed_blobs_are_one_batch_or_one_each(bench: Bench) -> None:
    airflow, started = AirflowState(), bench.now
    each = AirflowState()

    def batch() -> Any:
        sensor = AzureMLBlobChangeSensor(task_id="sensor", datastore="workspaceblobstore", path="/sensor-in/")
        return poke(sensor, airflow.context(f"run {bench.now}", started))

    def blobs() -> Any:
        sensor = AzureMLBlobChangeSensor(
            task_id="sensor", datastore="workspaceblobstore", path="sensor-in", mode="per_blob", recursive=True,
            matching=r".*[.]csv",
        )  # fmt: skip
        return poke(sensor, each.context(f"run {bench.now}", started))

    bench.put("sensor-in/before.csv", "1")
    bench.move(timedelta(minutes=1))
    started = bench.now
    assert (batch(), blobs()) == (None, None)
    for name in ("a.csv", "b.csv", "deep/c.csv", "notes.txt"):
        bench.put(f"sensor-in/{name}", "1")
    bench.put("sensor-in-elsewhere/d.csv", "1")
    bench.move(timedelta(minutes=1))
    assert batch() == {
        "datastore": "workspaceblobstore",
        "paths": ["sensor-in/a.csv", "sensor-in/b.csv", "sensor-in/notes.txt"],
    }
    assert blobs() == [
        {"datastore": "workspaceblobstore", "path": f"sensor-in/{name}"} for name in ("a.csv", "b.csv", "deep/c.csv")
    ]
    # In the very second of the last look, and rewritten without a change of its name.
    bench.put("sensor-in/b.csv", "2")
    bench.put("sensor-in/e.csv", "1")
    bench.move(timedelta(hours=1))  # Airflow is down
    assert [blob["path"][10:] for blob in blobs()] == ["b.csv", "e.csv"]
    assert [path[10:] for path in batch()["paths"]] == ["b.csv", "e.csv"]
    bench.move(timedelta(hours=1))
    assert (batch(), blobs()) == (None, None)


def test_a_mode_of_other_sensors_is_refused_with_the_way_out() -> None:
    with pytest.raises(ArgumentError, match=r"mode is 'reschedule'.*wait_mode"):
        AzureMLBlobChangeSensor(task_id="s", datastore="d", mode="reschedule")  # type: ignore[arg-type]
    assert AzureMLBlobChangeSensor(task_id="s", datastore="d", wait_mode="reschedule").reschedule


@pytest.mark.parametrize(
    "make",
    [
        lambda since: AzureMLScheduledRunEventTrigger("weekly", since=since),
        lambda since: AzureMLBlobChangeEventTrigger("store", "incoming", since=since),
    ],
    ids=["runs", "blobs"],
)
def test_a_watcher_refuses_a_beginning_that_is_no_instant_when_it_is_made(make: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentError, match="since is 'yesterday'; it must be an instant in ISO 8601"):
        make("yesterday")
    with pytest.raises(ArgumentError, match="since is '2026-01-01', which has no offset"):
        make("2026-01-01")
    with pytest.raises(ArgumentError, match="since must be an aware datetime, not 2026-01-01T00:00:00 without"):
        make(datetime(2026, 1, 1))
    same = {"2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)}
    assert {make(since).serialize()[1]["since"] for since in same} == {"2026-01-01T00:00:00+00:00"}
    assert make(None).serialize()[1]["since"] is None


def test_a_sensor_refuses_a_beginning_without_an_offset() -> None:
    with pytest.raises(ArgumentError, match="since must be an aware datetime"):
        sensor_of("weekly", since=datetime(2026, 1, 1))
    rendered = sensor_of("weekly", since="{{ data_interval_start }}")
    rendered.since = datetime(2026, 1, 1)  # as a DAG that renders native objects may
    with pytest.raises(ArgumentError, match="since must be an aware datetime"):
        rendered.poke(AirflowState().context("run 1", datetime.now(UTC)))


def fired(trigger: Any) -> Any:
    """What a trigger fires first."""

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    return asyncio.run(asyncio.wait_for(first(), 60))


def test_the_triggers_fire_for_news_and_the_sensor_picks(bench: Bench) -> None:
    hourly(bench, "deferred")
    airflow, started = AirflowState(), bench.now
    blob_sensor = AzureMLBlobChangeSensor(
        task_id="blobs", datastore="workspaceblobstore", path="deferred", deferrable=True, since=started
    )
    run_sensor = sensor_of("deferred", deferrable=True, since=started)
    waiting = []
    for sensor, kind in ((run_sensor, AzureMLScheduledRunTrigger), (blob_sensor, AzureMLBlobChangeTrigger)):
        context = airflow.context(kind.__name__, started)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context)
        path, arguments = deferred.value.trigger.serialize()
        assert path == f"{kind.__module__}.{kind.__name__}"
        assert kind(**arguments).serialize() == (path, arguments)
        waiting.append((sensor, context, kind(**arguments)))
    bench.put("deferred/a.csv", "1")
    bench.move(timedelta(minutes=31))  # less than the life of the sensors' tokens
    for sensor, context, trigger in waiting:
        assert fired(trigger) == {"status": NEWS}
        assert sensor.execute_complete(context, {"status": NEWS})
    now = bench.now.timestamp()
    late = AzureMLScheduledRunTrigger(
        schedule="deferred", azureml_conn_id="azureml_default", poll_interval=1, not_before=0,
        mark={"settled": now, "seen": {}}, execution_deadline=0,
    )  # fmt: skip
    assert fired(late) == {"status": "DeadlinePassed"}
    end(bench, "deferred")


def test_a_connection_that_cannot_be_read_for_a_moment_leaves_the_look_to_the_worker(bench: Bench) -> None:
    trigger = AzureMLBlobChangeTrigger(
        datastore="workspaceblobstore", path="unreadable", recursive=False, matching=".*", azureml_conn_id="unreadable",
        mark={"settled": 0, "seen": {}}, poll_interval=1, execution_deadline=bench.now.timestamp(), not_before=0,
    )  # fmt: skip
    event = fired(trigger)
    assert event["status"] == "error"
    assert "unreadable" in event["error"]

    def resumed(**more: Any) -> Any:
        sensor = AzureMLBlobChangeSensor(
            task_id="sensor", datastore="workspaceblobstore", path="unreadable", deferrable=True, timeout=3600, **more
        )
        return sensor.execute_complete(AirflowState().context("run 1", started), event)

    started = datetime.now(UTC) - HOUR / 2
    with pytest.raises(TaskDeferred):
        resumed()
    started -= HOUR / 2
    with pytest.raises(AirflowSensorTimeout, match="within timeout"):
        resumed()
    with pytest.raises(AirflowSkipException, match="within timeout"):
        resumed(soft_fail=True)
    bench.put("unreadable/a.csv", "1")
    assert resumed(since=bench.now) == {"datastore": "workspaceblobstore", "paths": ["unreadable/a.csv"]}


async def events(trigger: Any, count: int, step: Any) -> list[Any]:
    """The first events of a watcher; ``step`` is called before each look."""
    found: list[Any] = []

    async def watch() -> None:
        async for event in trigger.run():
            found.append(event.payload)  # noqa: PERF401 - the loop is canceled, and what was found stays

    task = asyncio.create_task(watch())
    for _ in range(300):
        if len(found) >= count or task.done():
            break
        await asyncio.to_thread(step)
        await asyncio.sleep(0.05)
    # One more look, in which the mark of what was fired is kept.
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found


def test_a_watcher_makes_an_event_for_each_run_and_goes_on_after_a_restart(bench: Bench) -> None:
    hourly(bench, "watched")
    store, since = KeyedState(), bench.now.isoformat()

    def watcher() -> AzureMLScheduledRunEventTrigger:
        _, arguments = AzureMLScheduledRunEventTrigger("watched", poll_interval=0.1, since=since).serialize()
        made = AzureMLScheduledRunEventTrigger(**arguments)
        made.asset_state_store = store  # type: ignore[assignment]
        return made

    bench.move(2 * HOUR)
    found = asyncio.run(events(watcher(), 2, lambda: None))
    bench.move(3 * HOUR)  # the triggerer is down
    found += asyncio.run(events(watcher(), 3, lambda: None))
    assert found == [run.id for run in bench.runs("watched")]
    assert len(found) == 5
    end(bench, "watched")


def test_a_watcher_says_what_is_refused_and_looks_again(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    trigger = AzureMLScheduledRunEventTrigger("made-later", poll_interval=0.1, since=bench.now.isoformat())
    trigger.asset_state_store = KeyedState()  # type: ignore[assignment]

    said: list[str] = []

    def make_it_then() -> None:
        if said:
            return
        logged = capsys.readouterr().out
        if "There is no schedule with the name or id 'made-later'" in logged:
            said.append(logged)
            hourly(bench, "made-later")
            bench.move(HOUR)

    found = asyncio.run(events(trigger, 1, make_it_then))
    assert found == [run.id for run in bench.runs("made-later")]
    assert "Looking again in 0.1 seconds." in said[0]
    end(bench, "made-later")


def test_a_blob_watcher_makes_an_event_for_each_change(bench: Bench) -> None:
    trigger = AzureMLBlobChangeEventTrigger(
        "workspaceblobstore", "watched-blobs", poll_interval=0.1, since=bench.now.isoformat()
    )
    trigger.asset_state_store = KeyedState()  # type: ignore[assignment]
    contents = iter("123")

    def change() -> None:
        bench.put("watched-blobs/a.csv", next(contents, "3"))

    found = asyncio.run(events(trigger, 1, change))
    assert found[0] == {"datastore": "workspaceblobstore", "path": "watched-blobs/a.csv"}


def blob_watcher(path: str, state: Any, **more: Any) -> AzureMLBlobChangeEventTrigger:
    trigger = AzureMLBlobChangeEventTrigger("workspaceblobstore", path, poll_interval=0.1, **more)
    trigger.asset_state_store = state
    return trigger


def told(trigger: AzureMLBlobChangeEventTrigger, count: int) -> list[str]:
    """Names of the blobs that a watcher makes its first events of."""
    return [payload["path"].rpartition("/")[2] for payload in asyncio.run(events(trigger, count, lambda: None))]


def test_assets_with_equal_triggers_share_one_and_each_keeps_its_position(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, since = StateSupervisor(), bench.now.isoformat()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)

    def watcher(*assets: str) -> AzureMLBlobChangeEventTrigger:
        return blob_watcher("shared", supervisor.accessors(*assets), since=since)

    bench.put("shared/a", "1")
    assert told(watcher("raw", "audit"), 1) == ["a"]
    bench.put("shared/b", "1")
    assert told(watcher("raw"), 1) == ["b"]
    bench.put("shared/c", "1")
    assert told(watcher("raw", "audit"), 2) == ["b", "c"]  # audit was not told of b
    bench.put("shared/d", "1")
    assert told(watcher("raw", "audit", "joined"), 1) == ["d"]
    bench.put("shared/e", "1")
    assert told(watcher("joined"), 1) == ["e"]


def test_watchers_of_one_asset_over_two_connections_keep_a_position_each(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_US", bench.emulator.connection_json)
    state, since = KeyedState(), bench.now.isoformat()
    bench.put("two-workspaces/a", "1")
    for connection in ("azureml_default", "azureml_us"):
        assert told(blob_watcher("two-workspaces", state, azureml_conn_id=connection, since=since), 1) == ["a"]


def test_a_watched_path_may_be_long(bench: Bench) -> None:
    path, since = "/".join(["a-long-name"] * 60), bench.now.isoformat()
    bench.put(f"{path}/a", "1")
    assert told(blob_watcher(path, KeyedState(), since=since), 1) == ["a"]
