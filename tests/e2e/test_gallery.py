"""Every DAG of the gallery, run as a user has it, with real data and a real model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.testing import ServedEmulator
from sample import DATASTORE, Sample, make_sample, save_model, upload_rows

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def prepared(emulator: ServedEmulator) -> Sample:
    from airflow_provider_amlbatch.aml.session import Session
    from airflow_provider_amlbatch.aml.settings import ConnectionSettings

    sample = make_sample()
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    upload_rows(sample, AzureMLBatchHook(session=session).container_client(DATASTORE))
    return sample


@pytest.fixture
def run_example(run_dag: Callable[..., object], prepared: Sample, tmp_path: Path) -> Callable[..., object]:
    """Run a DAG of the gallery whose model and results lie in a folder of the test."""
    save_model(prepared, tmp_path / "sample")

    def run(name: str, **options: object) -> object:
        return run_dag(DAGS / f"{name}.py", AMLBATCH_DEMO=str(tmp_path / "sample"), **({"dag_id": name} | options))

    return run


def test_daily_scoring_scores_the_folder_of_its_data_interval(run_example, prepared, tmp_path):
    for day in (2, 3):
        result = run_example("daily_scoring", logical_date=datetime(2026, 11, day, 2, tzinfo=UTC))

        assert result.state == "success", result.tasks
        table = pq.read_table(tmp_path / "results" / "daily" / f"2026-11-{day:02}.parquet").to_pydict()
        wanted = {name: label for name, label in prepared.predictions().items() if name.startswith("patient-00")}
        assert dict(zip(table["file"], table["prediction"], strict=True)) == wanted
        assert f"daily/2026-11-{day:02}" in str(result.returned)
