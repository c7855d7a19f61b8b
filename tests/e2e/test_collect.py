"""200,000 rows of a job that the engine ran, collected by a DAG: all of them, and some twice and some not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.emulator.delivery import Delivery
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.testing import ServedEmulator

DAG_FILE = Path(__file__).parent / "dags" / "collect_rows.py"
ROWS, FILES = 200_000, 8
EXPECTED = {f"id-{number:06d}": 2 * (number % 1000) for number in range(ROWS)}


@pytest.fixture(scope="module")
def hook(emulator: ServedEmulator) -> AzureMLBatchHook:
    hook = AzureMLBatchHook(session=Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json)))
    container, size = hook.container_client("workspaceblobstore"), ROWS // FILES
    for first in range(0, ROWS, size):
        lines = [f"id-{number:06d},{number % 1000}" for number in range(first, first + size)]
        container.upload_blob(f"numbered-rows/{first:06d}.csv", "\n".join(["id,number", *lines, ""]), overwrite=True)
    return hook


@pytest.fixture
def unreliable(emulator: ServedEmulator) -> Iterator[None]:
    emulator.services.delivery = Delivery(at_least_once=True, lose_every=1000)
    yield
    emulator.services.delivery = Delivery()


def collated(hook: AzureMLBatchHook, run_id: str) -> list[str]:
    """The lines that the job left, read without any of the code under test."""
    place = hook.step_output(run_id)
    blob = hook.container_client(place.datastore).get_blob_client(f"{place.path}/parallel_run_step.txt")
    content: bytes = blob.download_blob().readall()
    return content.decode().splitlines()


def test_every_row_arrives_once(run_dag: Callable[..., Any], hook: AzureMLBatchHook, tmp_path: Path) -> None:
    result = run_dag(DAG_FILE, "collect_rows", TABLE=str(tmp_path / "rows.parquet"), ROWS=str(ROWS))

    assert result.state == "success", result.tasks
    table = pq.read_table(tmp_path / "rows.parquet").to_pydict()
    assert len(table["name"]) == ROWS
    assert dict(zip(table["name"], table["prediction"], strict=True)) == EXPECTED
    found = result.returned["collect"]["reconciliation"]
    assert found["job"] == {"total_items": ROWS, "succeeded_items": ROWS, "failed_items": 0, "rows": None}
    assert (found["distinct"], found["duplicates"], found["problems"]) == (ROWS, 0, [])
    assert found["complete"] == 1.0, "by the job's own counts: no listing was given"
    assert f"<td>{ROWS:,}</td>" in Path(result.returned["collect"]["summary"]).read_text()


@pytest.mark.usefixtures("unreliable")
def test_rows_that_came_twice_or_not_at_all_are_noticed(
    run_dag: Callable[..., Any], hook: AzureMLBatchHook, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run_dag(DAG_FILE, "collect_rows", TABLE=str(tmp_path / "rows.parquet"), ROWS=str(ROWS))

    lines = collated(hook, result.returned["invoke"])
    names = Counter(line.partition(": ")[0] for line in lines)
    assert len(lines) > 1.1 * ROWS, "the emulator was told to duplicate rows"
    assert 0 < len(missing := EXPECTED.keys() - names.keys()) < ROWS / 500, "... and to lose some"

    collected = result.returned["collect"]
    found = collected["reconciliation"]
    assert (found["rows"], found["distinct"], collected["rows"]) == (len(lines), len(names), len(names))
    assert found["duplicates"] == found["dropped"] == len(lines) - len(names)
    assert found["complete"] == pytest.approx(len(names) / ROWS)
    assert (
        f"the job counts {ROWS:,} succeeded items, but only {len(names):,} different rows were read"
        in found["problems"]
    )
    table = pq.read_table(tmp_path / "rows.parquet").to_pydict()
    assert dict(zip(table["name"], table["prediction"], strict=True)) == {
        name: number for name, number in EXPECTED.items() if name in names
    }

    # Who needs every row is told which are missing, and finds no table.
    assert (result.state, result.tasks["require_all"]) == ("failed", "failed")
    assert not (tmp_path / "rows.parquet.complete.csv").exists()
    said = capfd.readouterr()
    assert f"{len(missing):,} of {ROWS:,} inputs without a row ({min(missing)}, " in said.out + said.err
