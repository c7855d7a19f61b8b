"""Whatever a script returns comes back equal: the serialiser here is str() and DataFrame.to_csv, as Azure has it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.detect import complete, samples
from airflow_provider_amlbatch.results.format import ResultFormat
from airflow_provider_amlbatch.results.parse import parse

anything = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12)
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def as_lines(elements: list[Any]) -> bytes:
    return "".join(f"{element!s}\n" for element in elements).encode()


def as_rows(frames: list[pd.DataFrame], **options: Any) -> bytes:
    to_csv: dict[str, Any] = {"sep": " ", "header": False, "index": False} | options
    text = "".join(frame.to_csv(**to_csv) for frame in frames)
    return text.encode()


def read(text: bytes, form: ResultFormat, block_size: int = 64) -> pa.Table:
    layout = complete(form, samples(io.BytesIO(text), None))
    return pa.Table.from_batches(parse(io.BytesIO(text), layout, block_size=block_size), layout.schema)


@quick
@given(st.lists(anything, min_size=1), st.integers(16, 300))
def test_whole_lines_come_back(elements: list[str], block_size: int) -> None:
    form = ResultFormat.lines(None, ["value"], dtypes={"value": "string"})
    assert read(as_lines(elements), form, block_size)["value"].to_pylist() == elements


@quick
@given(
    st.lists(st.tuples(anything, anything.filter(lambda value: ":" not in value)), min_size=1),
    st.integers(16, 300),
)
def test_names_with_any_text_and_labels_come_back_when_split_from_the_right(
    pairs: list[tuple[str, str]], block_size: int
) -> None:
    text = as_lines([f"{name}: {label}" for name, label in pairs])
    form = ResultFormat.lines(":", ["name", "label"], dtypes={"label": "string"})
    table = read(text, form, block_size)
    assert list(zip(table["name"].to_pylist(), table["label"].to_pylist(), strict=True)) == pairs


@quick
@given(st.lists(st.tuples(anything.filter(lambda name: " | " not in f"{name} "), anything), min_size=1))
def test_labels_with_any_text_come_back_when_split_from_the_left_at_a_long_delimiter(
    pairs: list[tuple[str, str]],
) -> None:
    text = as_lines([f"{name} | {label}" for name, label in pairs])
    form = ResultFormat.lines(" | ", ["name", "label"], split="left", strip=False, dtypes={"label": "string"})
    table = read(text, form)
    assert list(zip(table["name"].to_pylist(), table["label"].to_pylist(), strict=True)) == pairs


@quick
@given(st.lists(st.floats(), min_size=1), st.sampled_from([24, 4096]))
def test_floats_come_back_to_the_last_bit(values: list[float], block_size: int) -> None:
    text = as_lines([f"f{number:03d}.csv: {value}" for number, value in enumerate(values)])
    table = read(text, ResultFormat.lines(dtypes={"prediction": "double"}), block_size)
    found = table["prediction"].to_pylist()
    assert all(a.hex() == b.hex() if not math.isnan(b) else math.isnan(a) for a, b in zip(found, values, strict=True))


cells = {
    "text": st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "real": st.one_of(st.none(), st.floats(allow_nan=False)),
    "flag": st.booleans(),
}


@quick
@given(
    st.lists(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=5), min_size=1, max_size=4),
    st.permutations(list(cells)),
    st.sampled_from([" ", ",", "\t", "|"]),
    st.integers(32, 500),
)
def test_data_frames_come_back(
    batches: list[list[dict[str, Any]]], order: list[str], delimiter: str, block_size: int
) -> None:
    frames = [pd.DataFrame(rows, columns=order).astype({"text": object, "real": "float64"}) for rows in batches]
    dtypes = {"text": "string", "whole": "int64", "real": "double", "flag": "bool"}
    form = ResultFormat.rows(delimiter, order, dtypes=dtypes)
    found = read(as_rows(frames, sep=delimiter), form, block_size).to_pylist()
    assert found == [{name: row[name] for name in order} for rows in batches for row in rows]


def test_the_golden_rows_of_pandas_come_back() -> None:
    text = (
        b'a.png 1 0.1 "2020-01-02 03:04:05"\n'
        b'"b c.png" 2  "2020-01-02 03:04:05"\n'
        b'"q""x" 3 1e-07 "2020-01-02 03:04:05"\n'
        b' 4 0.3333333333333333 "2020-01-02 03:04:05"\n'
        b'"nl\nx" 6 -0.0 "2020-01-02 03:04:05"\n'
        b"midnight 7 1.5 2020-01-02\n"
    )
    table = read(text, ResultFormat.rows(" ", ["f", "n", "p", "d"]))
    assert table.schema.types == [pa.string(), pa.int64(), pa.float64(), pa.timestamp("us")]
    assert table["f"].to_pylist() == ["a.png", "b c.png", 'q"x', None, "nl\nx", "midnight"]
    assert table["n"].to_pylist() == [1, 2, 3, 4, 6, 7]
    assert table["p"].to_pylist() == [0.1, None, 1e-07, 0.3333333333333333, -0.0, 1.5]
    assert table["d"].to_pylist() == [*[pd.Timestamp("2020-01-02 03:04:05")] * 5, pd.Timestamp("2020-01-02")]


def test_one_column_with_missing_values() -> None:
    frames = [pd.DataFrame({"x": ["a", None, "b c"]}), pd.DataFrame({"x": []}), pd.DataFrame({"x": [None]})]
    assert read(as_rows(frames), ResultFormat.rows(" ", ["x"]))["x"].to_pylist() == ["a", None, "b c", None]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_collect_writes_what_the_script_returned(tmp_path: Path, suffix: str) -> None:
    elements = [f"{number:03d}.csv: {number / 7}" for number in range(500)]
    source = tmp_path / "parallel_run_step.txt"
    source.write_bytes(as_lines(elements))
    collected = collect(source, tmp_path / f"out.{suffix}")
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "parquet": pd.read_parquet,
        "csv": lambda path: pd.read_csv(path, dtype={"name": str}),
        "jsonl": lambda path: pd.read_json(path, lines=True, dtype={"name": str}, precise_float=True),
    }
    frame = readers[suffix](collected.path)
    assert frame["name"].tolist() == [f"{number:03d}.csv" for number in range(500)]
    assert frame["prediction"].tolist() == [number / 7 for number in range(500)]
    assert collected.rows == 500
    assert collected.columns == {"name": "string", "prediction": "double"}
    assert collected.head[8] == {"name": "008.csv", "prediction": 8 / 7}


def test_parquet_is_zstd_in_row_groups_and_readable_by_pyarrow_alone(tmp_path: Path) -> None:
    source = tmp_path / "parallel_run_step.txt"
    source.write_bytes(as_lines(["a: 1", "b: 2"]))
    meta = pq.ParquetFile(collect(source, tmp_path / "out.parquet").path).metadata
    assert meta.num_rows == 2
    assert meta.row_group(0).column(0).compression == "ZSTD"
