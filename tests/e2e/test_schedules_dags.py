"""The DAGs about schedules, and an exported one, run by a real Airflow against schedules that the emulator fires."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from polling import wait_for

from airflow_provider_amlbatch.aml.pipelines import PipelineRun
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import list_runs_of_schedule
from airflow_provider_amlbatch.aml.scheduling import (
    ScheduleChange,
    ensure_schedule,
    find_schedule,
    switch_schedule,
)
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.cli import main
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.testing import ServedEmulator
from sample import DATASTORE, Sample, as_csv, save_model

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def emulator(own_emulator: ServedEmulator) -> ServedEmulator:
    """An emulator whose clock these tests may move."""
    return own_emulator


@pytest.fixture(scope="module")
def published(run_dag_once: Callable[..., Any], sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Publish the pipeline that all DAGs run."""
    folder = tmp_path_factory.mktemp("published") / "sample"
    save_model(sample, folder)
    dag = Path(__file__).parent / "dags" / "publish_for_schedules.py"
    result = run_dag_once(dag, "publish_for_schedules", AMLBATCH_DEMO=str(folder))
    assert result.state == "success", result.tasks


@pytest.fixture
def run_example(published: None, run_dag: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run a DAG; its results go to ``results`` in the folder of the test."""
    here = {"AMLBATCH_DEMO": str(tmp_path / "sample")}
    return lambda path, dag_id, **options: run_dag(path, dag_id, **here, **options)


def schedule(session: Session, name: str, rule: ScheduleRecurrence, **more: Any) -> None:
    target = find_target(session, pipeline_endpoint="score-patients")
    ensure_schedule(session, name, target, ScheduleChange(recurrence=rule, experiment_name="scheduled", **more))


def runs(session: Session, name: str, count: int) -> list[PipelineRun]:
    """Runs of a schedule, oldest first, once there are so many."""

    def look() -> list[PipelineRun] | None:  # the emulator fires on its own
        found = session.send(list_runs_of_schedule(find_schedule(session, name).id))[::-1]
        return found if len(found) >= count else None

    found = wait_for(f"{count} runs of {name}", look, 30)
    assert len(found) == count
    return found


def add_bundle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let Airflow find DAGs in a folder of the test as well."""
    variable = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    bundles = json.loads(os.environ[variable])
    bundles.append({**bundles[0], "name": "exported", "kwargs": {"path": str(folder)}})
    monkeypatch.setenv(variable, json.dumps(bundles))


def labels(path: Path | str) -> dict[str, int]:
    table = pq.read_table(path).to_pydict()
    return dict(zip(table["file"], table["prediction"], strict=True))


def first_ten(sample: Sample) -> dict[str, int]:
    return {name: label for name, label in sample.predictions().items() if name.startswith("patient-00")}


def test_the_mirror_collects_each_run_of_the_schedule_once(run_example, session, emulator, sample, tmp_path):
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    dag, options = DAGS / "mirror_azure_schedule.py", {"AMLBATCH_SCHEDULE": "mirrored", "AMLBATCH_SINCE": since}
    schedule(session, "mirrored", ScheduleRecurrence("Minute", 15))
    (first,) = runs(session, "mirrored", 1)
    result = run_example(dag, "mirror_azure_schedule", logical_date=datetime.now(UTC), **options)
    assert result.state == "success", result.tasks
    assert list(result.returned["started"]) == [first.id]
    assert result.returned["check"] == {first.id: 10}
    assert labels(tmp_path / "results" / "mirrored" / f"{first.id}.parquet") == first_ten(sample)

    emulator.clock.shift(timedelta(minutes=31))  # Airflow is down, and Azure goes on
    missed = [run.id for run in runs(session, "mirrored", 3)][1:]
    switch_schedule(session, find_schedule(session, "mirrored"), on=False)
    result = run_example(dag, "mirror_azure_schedule", logical_date=datetime.now(UTC), **options)
    assert result.state == "success", result.tasks
    assert list(result.returned["started"]) == missed
    assert result.returned["check"] == dict.fromkeys(missed, 10)


def test_the_taken_over_schedule_runs_in_airflow_and_not_beside_azure(run_example, session, sample, tmp_path):
    dag, options = DAGS / "takeover_azure_schedule.py", {"AMLBATCH_SCHEDULE": "taken over"}
    rule = ScheduleRecurrence("Week", 2, "2026-11-01T00:00:00", "Pacific Standard Time",
                              week_days=["Monday", "Wednesday"], time_of_day="18:30")  # fmt: skip
    schedule(session, "taken over", rule)
    refused = run_example(
        dag, "takeover_azure_schedule", logical_date=datetime(2026, 11, 24, 2, 30, tzinfo=UTC), **options
    )
    assert (refused.state, refused.tasks["check_handover"]) == ("failed", "failed")
    assert refused.tasks["invoke"] == "upstream_failed"
    result = run_example(
        dag, "takeover_azure_schedule", logical_date=datetime(2026, 11, 26, 2, 30, tzinfo=UTC), **options
    )
    assert result.state == "success", result.tasks
    assert labels(tmp_path / "results" / "taken-over" / "20261126T023000.parquet") == first_ten(sample)


def test_an_exported_dag_runs_as_it_stands(run_example, session, monkeypatch, tmp_path):
    schedule(session, "each 5 hours'", ScheduleRecurrence("Hour", 5), description="five")
    (azure,) = runs(session, "each 5 hours'", 1)

    def amlbatch(*arguments: str) -> Any:
        done = CliRunner().invoke(main, ["schedules", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    listed = amlbatch("list").stdout
    assert "each 5 hours'" in listed
    assert "endpoint score-patients" in listed
    assert "Every 5 hours" in amlbatch("preview", "each 5 hours'", "-n", "3").stdout
    assert "is active: take it over" in amlbatch("export", "each 5 hours'").stderr
    taken = amlbatch("takeover", "each 5 hours'").stdout
    assert azure.id in taken
    slot = datetime.strptime(taken.split("first slot: ")[1][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert azure.created_date is not None
    assert abs(slot - azure.created_date - timedelta(hours=5)) < timedelta(seconds=30)

    file = tmp_path / "dags" / "exported.py"
    file.parent.mkdir()
    add_bundle(monkeypatch, file.parent)
    file.write_text(amlbatch("export", "each 5 hours'", "--dag-id", "exported").stdout)
    from airflow.timetables.base import TimeRestriction
    from airflow_names import DagBag

    dag = DagBag(str(file)).dags["exported"]
    assert dag.timetable.created == find_schedule(session, "each 5 hours'").created_date
    first = dag.timetable.next_run_at(slot, None, TimeRestriction(dag.start_date, None, dag.catchup))
    assert first.run_after == dag.start_date
    assert first.run_after.replace(microsecond=0) == slot
    result = run_example(file, "exported", logical_date=first.run_after)
    assert result.state == "success", result.tasks
    ran = AzureMLBatchHook(session=session).get_run(result.returned["invoke"])
    assert ran.description == "five"


def test_what_arrives_is_scored_by_folder_and_only_what_arrived(run_example, session, sample, tmp_path):
    container = AzureMLBatchHook(session=session).container_client(DATASTORE)
    names = sorted(sample.rows)[:5]
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()

    def deliver(folder: str, some: list[str]) -> None:
        for name in some:
            container.upload_blob(f"incoming/{folder}/{name}", as_csv(sample.rows[name]), overwrite=True)

    deliver("monday", names[:3])
    deliver("tuesday", names[3:])
    container.upload_blob("incoming/readme.txt", b"not to be scored")

    def run() -> Any:
        dag = DAGS / "score_new_blobs.py"
        return run_example(dag, "score_new_blobs", logical_date=datetime.now(UTC), AMLBATCH_SINCE=since)

    result = run()
    assert result.state == "success", result.tasks
    assert result.returned["total"] == 5
    for folder, some in {"monday": names[:3], "tuesday": names[3:]}.items():
        predictions = {name: sample.predictions()[name] for name in some}
        assert labels(tmp_path / "results" / "arrived" / f"incoming-{folder}.parquet") == predictions

    deliver("tuesday", names[3:4])  # the same file again: a change all the same
    result = run()
    assert result.state == "success", result.tasks
    assert result.returned["changed"]["paths"] == [f"incoming/tuesday/{names[3]}"]
    assert result.returned["total"] == 2
    deliver("monday", names[:1])  # the position of two runs before
    assert run().returned["changed"]["paths"] == [f"incoming/monday/{names[0]}"]
