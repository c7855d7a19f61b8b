"""Distributions against numpy and Counter; charts and pages that can be opened."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.errors import FormatError
from airflow_provider_amlbatch.results.page import write_page
from airflow_provider_amlbatch.results.reconcile import Reconcile
from airflow_provider_amlbatch.results.summary import BARS, distribution, write_chart


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_classes_are_counted(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "parallel_run_step.txt"
    source.write_text("a: cat\nb: dog\nc: cat\nd: bird\ne: cat\nf: dog\n")
    found = distribution(collect(source, tmp_path / f"out.{suffix}").path)
    assert dict(zip(found.labels, found.counts, strict=True)) == {"cat": 3, "dog": 2, "bird": 1}
    assert found.as_text(6).splitlines() == [
        "prediction: 6 rows",
        "   cat            3 ██████",
        "   dog            2 ████",
        "  bird            1 ██",
    ]


def test_numbers_become_a_histogram(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=50_000)
    frame = pd.DataFrame({"x": [*values, np.inf, None], "name": "n"})
    frame.to_parquet(tmp_path / "t.parquet")
    found = distribution(tmp_path / "t.parquet", "x")
    assert list(found.counts) == np.histogram(values, BARS)[0].tolist()
    assert (found.rows, found.others, found.missing) == (50_002, 1, 1)
    with pytest.raises(FormatError, match="no column 'y', but x, name"):
        distribution(tmp_path / "t.parquet", "y")


def test_a_chart_and_a_page_that_stands_alone(tmp_path: Path) -> None:
    source = tmp_path / "parallel_run_step.txt"
    source.write_text("<b>a</b>: 1\na: 2\na: 2\n")
    collected = collect(source, tmp_path / "out.parquet", reconcile=Reconcile(["a", "z"]))
    chart = write_chart(collected.path, tmp_path / "chart.png", column="prediction")
    assert chart.read_bytes().startswith(b"\x89PNG")
    spread = distribution(collected.path, "prediction")
    page = Path(write_page(collected, tmp_path / "page.html", spread)).read_text()
    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert "<b>a</b>" not in page
    assert "1 of 2 inputs without a row (z)" in page
    assert re.findall(r"<td>(\d)</td><td>(\d)</td><td><i style='width:([\d.]+)%'", page) == [
        ("2", "2", "100.0"),
        ("1", "1", "50.0"),
    ]
    assert "http" not in page


def test_a_column_of_lists_is_counted_by_its_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"box": [[1, 2], [1, 2], [3]]}), tmp_path / "t.parquet")
    found = distribution(tmp_path / "t.parquet")
    assert dict(zip(found.labels, found.counts, strict=True)) == {"[1, 2]": 2, "[3]": 1}


def test_a_table_in_an_object_store(tmp_path: Path) -> None:
    store = UPath(f"memory://{tmp_path.name}/tables")
    source = tmp_path / "parallel_run_step.txt"
    source.write_text("a: cat\nb: dog\nc: cat\n")
    table = store / "out.parquet"
    collected = collect(source, table)
    spread = distribution(table)
    assert dict(zip(spread.labels, spread.counts, strict=True)) == {"cat": 2, "dog": 1}
    page = write_page(collected, store / "out.parquet.html", spread)
    assert "<td>cat</td><td>2</td>" in UPath(page).read_text()
