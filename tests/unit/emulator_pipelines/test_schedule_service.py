"""Schedules that get into each other's way; what fires when is judged in the contract tests."""

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
        self.clock = Clock()
        self.clock.freeze(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.emulator = Emulator(StateFolder(folder), self.clock, "https://localhost:1")
        self.runs = Runs()
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
        module = services.pipelines.create_module(ModuleEntity(name="step"))
        graph = Graph(module_nodes=[ModuleNode(id="node", module_id=module.id)])
        self.pipeline_id = services.pipelines.publish(PipelineCreationInfo(name="p", graph=graph)).id

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
    stores = bench.emulator.datastores
    account = bench.emulator.identity
    section = AzureStorage.model_validate(
        {"accountName": account.account_name, "containerName": "extra", "accountKey": account.account_key}
    )
    given = Datastore(name="extra", data_store_type="AzureBlob", azure_storage_section=section)
    stores.register(given, create_container=True, skip_validation=False)
    watching = bench.create(
        "watching", schedule_type="DataStore", data_store_trigger_info=DataStoreTriggerInfo(data_store_name="extra")
    )
    bench.hourly("hourly")
    stores.delete("extra")
    bench.clock.shift(timedelta(minutes=30))
    bench.service.tick()
    assert bench.runs.events == ["fired hourly"]
    assert "extra" in str(bench.service.get(watching).last_error)  # type: ignore[attr-defined]


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
