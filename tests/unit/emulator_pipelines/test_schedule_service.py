"""Schedules that get into each other's way, and restarts; what fires when is judged in the contract tests."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.datastore import AzureStorage, Datastore
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.schedules import DataStoreTriggerInfo, Recurrence, ScheduleCreationInfo
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.services.graph import Graph, ModuleEntity, ModuleNode
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineCreationInfo
from airflow_provider_amlbatch.emulator.services.schedules import ScheduleService
from airflow_provider_amlbatch.emulator.state import StateFolder


class Runs:
    """Notes what is submitted, and does something else meanwhile."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.meanwhile: Any = None

    def submit_pipeline(self, pipeline_id: str, info: PipelineSubmissionInfo, **_: Any) -> None:
        self.events.append(f"fired {info.experiment_name}")
        if self.meanwhile is not None:
            self.meanwhile()


class Bench:
    """A schedule service that starts no runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.freeze(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.runs = Runs()
        self.open()
        services = self.emulator
        module = services.pipelines.create_module(ModuleEntity(name="step"))
        graph = Graph(module_nodes=[ModuleNode(id="node", module_id=module.id)])
        self.pipeline_id = services.pipelines.publish(PipelineCreationInfo(name="p", graph=graph)).id

    def open(self) -> None:
        self.emulator = Emulator(StateFolder(self.folder), self.clock, "https://localhost:1")
        services = self.emulator
        self.service = ScheduleService(
            services.store,
            self.clock,
            services.blobs,
            services.datastores,
            services.pipelines,
            services.endpoints,
            self.runs,  # type: ignore[arg-type]
        )

    def restart(self, *, away: timedelta, orderly: bool = True) -> None:
        """Stop or kill the server, and start it again when time has passed."""
        if orderly:
            self.service.pause()
        self.emulator.store.close()
        self.clock.shift(away)
        self.open()
        self.service.resume()

    def move(self, by: timedelta) -> list[str]:
        """Move the clock; what was submitted then."""
        before = len(self.runs.events)
        self.clock.shift(by)
        self.service.tick()
        return self.runs.events[before:]

    def register(self, name: str) -> None:
        account = self.emulator.identity
        section = AzureStorage.model_validate(
            {"accountName": account.account_name, "containerName": name, "accountKey": account.account_key}
        )
        given = Datastore(name=name, data_store_type="AzureBlob", azure_storage_section=section)
        self.emulator.datastores.register(given, create_container=True, skip_validation=False)

    def watching(self, datastore: str) -> str:
        trigger = DataStoreTriggerInfo(data_store_name=datastore, polling_interval=5)
        return self.create("watching", schedule_type="DataStore", data_store_trigger_info=trigger)

    def create(self, name: str, **more: Any) -> str:
        info = PipelineSubmissionInfo(experiment_name=name)
        made = self.service.create(
            ScheduleCreationInfo(name=name, pipeline_id=self.pipeline_id, pipeline_submission_info=info, **more)
        )
        return made.id

    def hourly(self, name: str) -> str:
        return self.create(name, schedule_type="Recurrence", recurrence=Recurrence(frequency="Hour", interval=1))


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.emulator.store.close()


def test_a_schedule_whose_datastore_is_gone_does_not_keep_others_from_firing(bench: Bench) -> None:
    bench.register("extra")
    watching = bench.watching("extra")
    bench.hourly("hourly")
    bench.emulator.datastores.delete("extra")
    assert bench.move(timedelta(minutes=30)) == ["fired hourly"]
    assert "extra" in str(bench.service.get(watching).last_error)  # type: ignore[attr-defined]


def test_a_schedule_whose_datastore_is_gone_can_be_disabled_but_not_enabled(bench: Bench) -> None:
    bench.register("extra")
    given = bench.service.get(bench.watching("extra"))
    bench.emulator.datastores.delete("extra")
    disabled = given.model_copy(update={"entity_status": "Disabled"})
    assert bench.service.update(given.id, disabled).entity_status == "Disabled"
    with pytest.raises(NotFound, match="extra"):
        bench.service.update(given.id, given)


def test_a_firing_that_fails_takes_no_other_along_and_is_not_repeated(bench: Bench) -> None:
    bench.register("extra")
    bench.watching("extra")
    bench.hourly("hourly")
    for name in ("a", "b", "c"):
        bench.emulator.blobs.put("extra", name, [b"1"])

    def fail() -> None:
        bench.runs.meanwhile = None
        raise OSError(28, "No space left on device")

    bench.runs.meanwhile = fail
    assert bench.move(timedelta(minutes=5)) == ["fired watching", "fired hourly"]
    assert bench.move(timedelta(minutes=5)) == ["fired watching", "fired watching"]
    assert bench.move(timedelta(minutes=5)) == []


@pytest.mark.parametrize("orderly", [True, False])
def test_a_restart_of_a_few_seconds_loses_no_firing(bench: Bench, orderly: bool) -> None:
    bench.hourly("hourly")
    bench.move(timedelta(0))
    bench.move(timedelta(minutes=59, seconds=55))
    bench.restart(away=timedelta(seconds=10), orderly=orderly)
    assert bench.move(timedelta(0)) == ["fired hourly"]
    assert bench.move(timedelta(0)) == []


def test_what_an_absence_of_hours_missed_does_not_fire(bench: Bench) -> None:
    bench.hourly("hourly")
    bench.move(timedelta(0))
    bench.restart(away=timedelta(hours=3, minutes=30))
    assert bench.move(timedelta(0)) == []
    assert bench.move(timedelta(minutes=30)) == ["fired hourly"]


@pytest.mark.parametrize("restarted", [True, False])
def test_schedules_go_on_when_the_clock_was_moved_back_and_have_no_second_first_run(
    bench: Bench, restarted: bool
) -> None:
    bench.register("extra")
    bench.clock.shift(timedelta(days=30))
    bench.hourly("hourly")
    bench.watching("extra")
    assert bench.move(timedelta(0)) == ["fired hourly"]  # the first run comes with the schedule
    if restarted:
        bench.restart(away=timedelta(days=-30))
    else:
        bench.clock.shift(timedelta(days=-30))
    assert bench.move(timedelta(0)) == []
    bench.emulator.blobs.put("extra", "new", [b"1"])
    assert bench.move(timedelta(minutes=5)) == ["fired watching"]
    assert bench.move(timedelta(minutes=54)) == []
    assert bench.move(timedelta(minutes=1)) == ["fired hourly"]


def test_a_schedule_does_not_fire_after_its_disabling_was_answered(bench: Bench) -> None:
    bench.hourly("one")
    two = bench.service.get(bench.hourly("two"))

    def disable() -> None:
        bench.service.update(two.id, two.model_copy(update={"entity_status": "Disabled"}))
        bench.runs.events.append("disabled two")

    thread = threading.Thread(target=disable)

    def meanwhile() -> None:
        bench.runs.meanwhile = None
        thread.start()
        thread.join(0.3)  # it has to wait for the end of the tick; without that, it is done long before

    bench.runs.meanwhile = meanwhile
    bench.service.tick()
    thread.join(10)
    assert bench.runs.events == ["fired one", "fired two", "disabled two"]
    bench.clock.shift(timedelta(hours=3))
    bench.service.tick()
    assert bench.runs.events[3:] == ["fired one"] * 3
