"""Tables in memory: the same rows as in a file, after the same checks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.errors import DestinationError, DuplicateKeys
from airflow_provider_amlbatch.results.format import ResultFormat
from airflow_provider_amlbatch.results.reconcile import Reconcile
from airflow_provider_amlbatch.results.summary import distribution
from airflow_provider_amlbatch.results.table import collect_frame, collect_table


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "parallel_run_step.txt"
    path.write_text("a: 1\nb: 2\na: 3\n")
    return path


def test_a_table_is_reconciled_like_a_file(text: Path) -> None:
    table, collected = collect_table(text, reconcile=Reconcile(["a", "b", "c"], keep="first"))
    assert table.to_pydict() == {"name": ["a", "b"], "prediction": [1, 2]}
    assert collected.reconciliation is not None
    assert (collected.rows, collected.reconciliation.dropped, collected.reconciliation.missing) == (2, 1, 1)
    with pytest.raises(DuplicateKeys):
        collect_table(text, reconcile=Reconcile(keep="error"))


def test_whole_numbers_stay_whole_in_a_frame_where_some_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(f"x {2**53 + 1}\ny \n")
    form = ResultFormat.rows(" ", ["name", "number"], dtypes={"number": "int64"})
    frame, _ = collect_frame(path, format=form)
    wanted = pd.DataFrame({"name": ["x", "y"], "number": pd.array([2**53 + 1, None], dtype="Int64")})
    pd.testing.assert_frame_equal(frame, wanted, check_dtype=False)
    assert frame["number"].dtype == pd.Int64Dtype()
    assert frame["number"][0] == 2**53 + 1


def test_the_rows_lie_in_a_mapped_file_and_not_in_arrows_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_text("".join(f"file-{number}: {number}\n" for number in range(100_000)))
    before = pa.total_allocated_bytes()
    table, _ = collect_table(path)
    assert table.nbytes > 2_000_000
    assert pa.total_allocated_bytes() - before < 100_000
    assert table.column("prediction").to_pylist() == list(range(100_000))


def test_what_needs_a_file_is_refused(text: Path) -> None:
    with pytest.raises(DestinationError, match="on_bad_row='quarantine' is about files"):
        collect_table(text, on_bad_row="quarantine")
    with pytest.raises(DestinationError, match="partition_by is about files"):
        collect_frame(text, partition_by=["name"])


def test_an_arrow_file_can_be_looked_at(text: Path, tmp_path: Path) -> None:
    spread = distribution(collect(text, tmp_path / "out.arrow").path)
    assert sorted(zip(spread.labels, spread.counts, strict=True)) == [("1", 1), ("2", 1), ("3", 1)]
