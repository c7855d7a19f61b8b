"""Bad input: each case is a clear error with line numbers, or a counted row beside the table."""

from __future__ import annotations

import json
import resource
import signal
import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.errors import (
    BadRows,
    DestinationError,
    EmptyResult,
    FormatError,
    FormatNotDetected,
    SchemaMismatch,
)
from airflow_provider_amlbatch.results.format import ResultFormat
from airflow_provider_amlbatch.results.reconcile import Reconcile

LINES = ResultFormat.lines(dtypes={"prediction": "double"})


def put(folder: Path, text: bytes | str, name: str = "parallel_run_step.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def good(number: int) -> str:
    return f"{number:04d}.csv: {number}.5\n"


BAD_LINES = {
    "no delimiter": (b"no delimiter here\n", "0 of 1 delimiters"),
    "not a number": (b"x.csv: cat\n", "prediction='cat' is no double"),
    "not UTF-8": (b"\xff\xfe.csv: 1\n", "name is not UTF-8"),
    "empty line": (b"\n", "0 of 1 delimiters"),
    "too long": (b"x.csv: " + b"1" * (11 << 20) + b"\n", "more than max_row_bytes=5,000,000"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_an_error_with_its_number_or_quarantined(tmp_path: Path, case: str) -> None:
    bad, reason = BAD_LINES[case]
    text = "".join(map(good, range(300))).encode() + bad + "".join(map(good, range(300, 600))).encode()
    source, target = put(tmp_path, text), tmp_path / "out" / "table.parquet"
    with pytest.raises(BadRows, match=r"parallel_run_step\.txt line 301") as error:
        collect(source, target, format=LINES, max_row_bytes=5_000_000)
    assert reason in str(error.value)
    assert error.value.rows[0].line == 301
    assert not target.parent.exists() or list(target.parent.iterdir()) == []

    collected = collect(source, target, format=LINES, max_row_bytes=5_000_000, on_bad_row="quarantine")
    assert pd.read_parquet(target)["prediction"].tolist() == [number + 0.5 for number in range(600)]
    assert collected.rejected == 1
    (row,) = map(json.loads, Path(str(collected.rejected_path)).read_text().splitlines())
    assert (row["line"], row["source"]) == (301, "parallel_run_step.txt")
    assert reason in row["reason"]

    collect(put(tmp_path, "a: 1\n"), target, on_bad_row="quarantine")
    assert [path.name for path in target.parent.iterdir()] == ["table.parquet"], "no quarantine of an earlier run stays"


def test_a_bad_line_in_a_later_block_has_its_number_in_the_file(tmp_path: Path) -> None:
    lines = [f"{number:0200}: 1.5\n" for number in range(50_000)]
    lines[45_000] = "broken\n"
    with pytest.raises(BadRows, match="line 45001: 0 of 1 delimiters"):
        collect(put(tmp_path, "".join(lines)), tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("text", "form", "reason"),
    [
        ("a: 1\nb: 2", None, "line 2: the file ends in the middle of this line: 'b: 2'"),
        ('a 1\n"b c" 2\n"cut of', ResultFormat.rows(columns=["n", "v"]), "line 3: a quote is opened and never closed"),
        ('a 1\n"b c" 2\nd 3', ResultFormat.rows(columns=["n", "v"]), "line 3: the file ends in the middle"),
    ],
)
def test_a_truncated_file_is_noticed(tmp_path: Path, text: str, form: ResultFormat | None, reason: str) -> None:
    source = put(tmp_path, text)
    with pytest.raises(BadRows) as error:
        collect(source, tmp_path / "out.csv", format=form)
    assert reason in str(error.value)
    collected = collect(source, tmp_path / "out.csv", format=form, on_bad_row="quarantine")
    assert (collected.rows, collected.rejected) == (text.count("\n"), 1)


def test_ragged_records_are_counted_where_records_span_lines(tmp_path: Path) -> None:
    text = 'a 1\n"two\nlines" 2\nb 3 4\nc\n"x ""y""" 5\n\nd 6\n'
    form = ResultFormat.rows(columns=["n", "v"])
    with pytest.raises(BadRows) as error:
        collect(put(tmp_path, text), tmp_path / "out.parquet", format=form)
    assert [row.line for row in error.value.rows] == [4, 5, 7]
    collected = collect(put(tmp_path, text), tmp_path / "o.parquet", format=form, on_bad_row="quarantine")
    assert collected.head == [
        {"n": "a", "v": 1},
        {"n": "two\nlines", "v": 2},
        {"n": 'x "y"', "v": 5},
        {"n": "d", "v": 6},
    ]
    assert collected.rejected == 3


def test_a_row_of_100_mb_costs_neither_its_memory_nor_the_other_rows(tmp_path: Path) -> None:
    source = tmp_path / "parallel_run_step.txt"
    with source.open("wb") as file:
        file.write(b"a: 1\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b": 2\nb: 3\n")
    with pytest.raises(BadRows, match="line 2: the row has 104,857,604 bytes"):
        collect(source, tmp_path / "out.parquet")
    tracemalloc.start()
    collected = collect(source, tmp_path / "out.parquet", on_bad_row="quarantine")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row["name"] for row in collected.head] == ["a", "b"]
    assert collected.rejected == 1
    assert peak < 60 << 20


def test_a_format_that_is_said_wrong_shows_the_lines(tmp_path: Path) -> None:
    source = put(tmp_path, "a.png 1 0.5\nb.png 2 0.25\n")
    with pytest.raises(BadRows, match="line 1: 0 of 1 delimiters ':': 'a.png 1 0.5'"):  # noqa: RUF043
        collect(source, tmp_path / "out.parquet", format=ResultFormat.lines())
    with pytest.raises(BadRows, match="3 fields instead of 2"):
        collect(source, tmp_path / "out.parquet", format=ResultFormat.rows(columns=["a", "b"]))
    with pytest.raises(BadRows, match="rows do not fit, only 1 do"):
        collect(
            put(tmp_path, "a: 1\nb 2\nc 3\n"),
            tmp_path / "out.parquet",
            format=ResultFormat.lines(),
            on_bad_row="quarantine",
        )


def test_a_format_that_cannot_be_seen_shows_the_lines(tmp_path: Path) -> None:
    with pytest.raises(FormatNotDetected, match="line 2: 'b c d'"):
        collect(put(tmp_path, "a, b\nb c d\ne\n"), tmp_path / "out.parquet")


@pytest.mark.parametrize("text", ["", None])
def test_nothing_to_collect_is_an_error(tmp_path: Path, text: str | None) -> None:
    sources = [] if text is None else [put(tmp_path, text)]
    with pytest.raises(EmptyResult):
        collect(sources, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("text", "columns", "head"),
    [
        ("C:\\x\\2.csv: 3.5\n", {"name": "string", "prediction": "double"}, ["C:\\x\\2.csv", 3.5]),
        ("007: cat\n008: dog\n", {"name": "string", "prediction": "string"}, ["007", "cat"]),
        ("a.png 007 x\nb.png 010 y\n", dict.fromkeys(["column_0", "column_1", "column_2"], "string"), None),
        ("1.5\n2.5\n", {"prediction": "double"}, [1.5]),
        ("a.png,1,True\nb.png,2,False\n", {"column_0": "string", "column_1": "int64", "column_2": "bool"}, None),
        ("a: 12345678901234567890\n", {"name": "string", "prediction": "string"}, ["a", "12345678901234567890"]),
        ('a "time: 3"\nb "x: 4"\n', {"column_0": "string", "column_1": "string"}, ["a", "time: 3"]),
        ("a:None\nb:2\n", {"name": "string", "prediction": "int64"}, ["a", None]),
    ],
)
def test_the_format_is_detected(tmp_path: Path, text: str, columns: dict[str, str], head: list[object] | None) -> None:
    collected = collect(put(tmp_path, text), tmp_path / "out.parquet")
    assert collected.columns == columns
    assert head is None or list(collected.head[0].values()) == head


@pytest.mark.parametrize(
    ("odd", "dtype", "value"), [("0.5", "double", 0.5), ("007", "string", "007"), ("9" * 20, "string", "9" * 20)]
)
def test_a_type_that_proves_too_narrow_late_is_widened(tmp_path: Path, odd: str, dtype: str, value: object) -> None:
    rows = 50_000  # three blocks
    lines = [f"{number:0200}.csv: {number % 9}\n" for number in range(rows)]
    lines[12_345] = f"odd.csv: {odd}\n"
    collected = collect(put(tmp_path, "".join(lines)), tmp_path / "out.parquet")
    table = pq.read_table(collected.path)
    assert collected.columns["prediction"] == dtype
    assert table["prediction"][12_345].as_py() == value
    assert table.num_rows == rows
    assert table["prediction"][5].as_py() == (5.0 if dtype == "double" else "5")


def test_all_types_that_one_place_proves_too_narrow_are_widened_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"{number:0200} {number % 9} {number % 7} {number % 5}\n" for number in range(50_000)]
    lines[12_345] = "odd 0.5 007 1e3\n"
    with caplog.at_level("INFO"):
        collected = collect(put(tmp_path, "".join(lines)), tmp_path / "out.parquet")
    assert list(collected.columns.values()) == ["string", "double", "string", "double"]
    assert [*pq.read_table(collected.path).slice(12_345, 1).to_pylist()[0].values()] == ["odd", 0.5, "007", 1000.0]
    assert sum("Starting over" in message for message in caplog.messages) == 1


def test_columns_and_types_can_be_asserted(tmp_path: Path) -> None:
    source = put(tmp_path, "a: 1\n")
    schema = {"name": "string", "prediction": "int64"}
    assert collect(source, tmp_path / "out.parquet", schema=schema).rows == 1
    with pytest.raises(SchemaMismatch, match=r"\(name string, prediction int64\).*\(name string, prediction double\)"):
        collect(source, tmp_path / "o.parquet", schema=schema | {"prediction": "double"})
    with pytest.raises(FormatError, match="no type"):
        collect(source, tmp_path / "o.parquet", schema={"name": "text"})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl", "arrow"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    source = put(tmp_path, "".join(f"{number * 7919 % 100_003:0200}: {number}\n" for number in range(10_000)))
    target = tmp_path / "out" / f"table.{suffix}"
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DestinationError, match=rf"no room for .*table\.{suffix}"):
            collect(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(target.parent.iterdir()) == []


def test_a_destination_whose_name_is_taken_is_told(tmp_path: Path) -> None:
    source = put(tmp_path, "a: 1\n")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(DestinationError, match="is a folder"):
        collect(source, tmp_path / "folder.parquet")
    with pytest.raises(DestinationError, match=r"is no folder to write out\.parquet to"):
        collect(source, source / "out.parquet")


def test_values_that_are_no_texts_are_told_where_they_cannot_be_used(tmp_path: Path) -> None:
    source = put(tmp_path, '{"x": 1, "y": [1, 2]}\n', "1.jsonl")
    assert pq.read_table(collect(source, tmp_path / "out.parquet").path)["y"].to_pylist() == [[1, 2]]
    with pytest.raises(DestinationError, match=r"no way to write y list<.*>: take Parquet or JSON lines"):
        collect(source, tmp_path / "out.csv")
    with pytest.raises(FormatError, match=r"Values of type list<.*> cannot be keys"):
        collect(source, tmp_path / "out.parquet", reconcile=Reconcile(dedupe_on=("y",)))
    pq.write_table(pa.table({"b": [b"\xff"]}), tmp_path / "b.parquet")
    with pytest.raises(FormatError, match="Values of type binary cannot be keys"):
        collect(tmp_path / "b.parquet", tmp_path / "out.parquet", reconcile=Reconcile())


def csv_files(folder: Path, *texts: bytes | str) -> list[Path]:
    return [put(folder, text, f"{number}.csv") for number, text in enumerate(texts)]


def test_types_come_from_the_first_file_with_a_row(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "", "file,score\n", "file,score\na,0.5\n", "file,score\nb,2\n")
    collected = collect(files, tmp_path / "out.parquet")
    assert collected.columns == {"file": "string", "score": "double"}
    assert [tuple(row.values()) for row in collected.head] == [("a", 0.5), ("b", 2.0)]
    with pytest.raises(EmptyResult, match="not a single row"):
        collect(files[:2], tmp_path / "none.parquet")
    long = csv_files(tmp_path, f"file,text\na,{'x' * 3_000_000}\n", "file,text\nb,1\n")
    assert [len(row["text"]) for row in collect(long, tmp_path / "out.parquet").head] == [3_000_000, 1]


def test_a_row_that_is_missing_in_all_columns_is_a_row(tmp_path: Path) -> None:
    assert collect(csv_files(tmp_path, "a,b\n,\n"), tmp_path / "out.parquet").rows == 1


@pytest.mark.parametrize(
    "second", ["label,file\ncat,b.csv\n", "file,class\nb.csv,cat\n", "file,label,p\nb,c,1\n", "b,c\n"]
)
def test_files_with_another_header_are_refused(tmp_path: Path, second: str) -> None:
    files = csv_files(tmp_path, b"\xef\xbb\xbffile,label\r\na.csv,dog\r\n", second)
    columns = second.splitlines()[0].split(",")
    with pytest.raises(SchemaMismatch) as error:
        collect(files, tmp_path / "out.parquet", on_bad_row="quarantine")
    assert str(error.value) == f"1.csv has the columns {columns}, but the first file ['file', 'label']"
    with pytest.raises(SchemaMismatch):
        collect(files, tmp_path / "out.parquet", format=ResultFormat.csv(columns=["x", "y"]))
    same = csv_files(tmp_path, "file,label\na,1\n", '"file","label"\r\nb,2\r\n')
    assert collect(same, tmp_path / "out.parquet").rows == 2


def test_columns_of_another_number_than_the_header_are_refused(tmp_path: Path) -> None:
    files = csv_files(tmp_path, "file,label\na,1\n")
    for columns in (["x"], ["x", "y", "z"]):
        with pytest.raises(
            FormatError, match=rf"columns names {len(columns)} .*, but the header has 2 \(file, label\)"
        ):
            collect(files, tmp_path / "out.parquet", format=ResultFormat.csv(columns=columns))


def test_a_byte_order_mark_within_the_data_stays(tmp_path: Path) -> None:
    mark, rows = "\ufeff", 50_000  # three blocks
    lines = [f"{mark}{number:0200} {mark}x {number}\n" for number in range(rows)]
    lines[::100] = [f'{mark}{number:0200} "{mark}\n" {number}\n' for number in range(0, rows, 100)]
    lines[5] = f"{mark}ragged\n"
    form = ResultFormat.rows(" ", ["file", "text", "number"])
    source = put(tmp_path, "".join(lines))
    table = pq.read_table(collect(source, tmp_path / "out.parquet", format=form, on_bad_row="quarantine").path)
    assert table.num_rows == rows - 1
    assert set(table["file"].combine_chunks().to_pandas().str[0]) == {mark}


def test_json_objects_a_line_are_detected(tmp_path: Path) -> None:
    objects = [{"file": f"{number}: \u2028.csv", "p": {"cat": number / 7}} for number in range(300)]
    source = put(
        tmp_path, "".join(json.dumps(item, ensure_ascii=bool(number % 2)) + "\n" for number, item in enumerate(objects))
    )
    collected = collect(source, tmp_path / "out.parquet")
    assert collected.format == ResultFormat.json_lines()
    assert pq.read_table(collected.path).to_pylist() == objects
    with pytest.raises(FormatNotDetected, match="begin as objects do, but are not one JSON object each"):
        collect(put(tmp_path, "{'file': 'a.csv', 'p': 1}\n"), tmp_path / "out.parquet")
    keys = collect(put(tmp_path, "{8f3}: 0.5\n{8f4}: 0.6\n"), tmp_path / "out.parquet")
    assert pq.read_table(keys.path).to_pylist() == [
        {"name": "{8f3}", "prediction": 0.5},
        {"name": "{8f4}", "prediction": 0.6},
    ]
    assert collect(put(tmp_path, "{a: 1\nb: 2\n"), tmp_path / "out.parquet").columns["prediction"] == "int64"


@pytest.mark.parametrize("later", ["same file", "other file"])
def test_whole_numbers_of_json_become_fractions_when_a_later_row_has_one(tmp_path: Path, later: str) -> None:
    rows = [{"x": number, "y": number, "pad": "p" * 100} for number in range(50_000)]  # two blocks
    last = {"x": 0.5, "y": 1, "pad": ""}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    files = [put(tmp_path, text, "1.jsonl"), put(tmp_path, json.dumps(last), "2.jsonl")]
    if later == "same file":
        files = [put(tmp_path, text + json.dumps(last), "1.jsonl")]
    collected = collect(files, tmp_path / "out.parquet")
    assert collected.columns == {"x": "double", "y": "int64", "pad": "string"}
    assert pq.read_table(collected.path).to_pylist() == [*rows, last]
    with pytest.raises(FormatError, match=r"\.jsonl is not one JSON object a line"):
        collect(files, tmp_path / "out.parquet", format=ResultFormat.json_lines({"x": "int64"}))


def test_a_json_object_may_be_as_long_as_a_row(tmp_path: Path) -> None:
    sizes = [10, 3 << 20, 10, 12 << 20, 0]
    source = put(tmp_path, "".join(json.dumps({"x": "x" * size}) + "\n" for size in sizes), "1.jsonl")
    collected = collect(source, tmp_path / "out.parquet")
    assert [len(value) for value in pq.read_table(collected.path)["x"].to_pylist()] == sizes
    assert collected.bytes_read == source.stat().st_size
    with pytest.raises(
        BadRows, match=r"1\.jsonl line 4: the row has 12,582,922 bytes, more than max_row_bytes=5,000,000"
    ):
        collect(source, tmp_path / "out.parquet", max_row_bytes=5_000_000)


def test_a_json_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    source = put(tmp_path, '{"x": 1}\n{"x": ', "1.jsonl")
    with pytest.raises(FormatError, match=r"1\.jsonl is not one JSON object a line"):
        collect(source, tmp_path / "out.parquet")
    with pytest.raises(EmptyResult):
        collect(put(tmp_path, "\n", "1.jsonl"), tmp_path / "out.parquet")


def test_many_small_files_do_not_become_as_many_row_groups(tmp_path: Path) -> None:
    files = [put(tmp_path, f"a,b\n{number},x\n", f"{number:03}.csv") for number in range(200)]
    table = pq.ParquetFile(collect(files, tmp_path / "out.parquet").path)
    assert table.metadata.num_row_groups == 1
    assert table.read()["a"].to_pylist() == list(range(200))


def test_settings_json_and_repeated_headers(tmp_path: Path) -> None:
    frames = [pd.DataFrame({"file": ["a.csv", "b,c.csv"], "score": [0.5, 1.0]}, index=[number, 7]) for number in (1, 2)]
    options = {"sep": ",", "index": True, "header": True}
    text = "".join(frame.to_csv(**options) for frame in frames)  # type: ignore[call-overload]
    form = ResultFormat.from_settings({"append_row": {"pandas.DataFrame.to_csv": options}}, ["row", "file", "score"])
    collected = collect(put(tmp_path, text), tmp_path / "out.parquet", format=form)
    assert pd.read_parquet(collected.path).to_dict("list") == {
        "row": [1, 7, 2, 7],
        "file": ["a.csv", "b,c.csv"] * 2,
        "score": [0.5, 1.0] * 2,
    }
    with pytest.raises(FormatError, match="decimal"):
        ResultFormat.from_settings({"append_row": {"pandas.DataFrame.to_csv": {"decimal": ","}}})


def test_files_that_scripts_wrote_themselves(tmp_path: Path) -> None:
    csvs = [
        put(tmp_path, b"\xef\xbb\xbfname,score\r\na,0.5\r\n", "1.csv"),
        put(tmp_path, 'name,score\nb,2\n"c\nd",3', "2.csv"),
    ]
    assert collect(csvs, tmp_path / "out.parquet").head == [
        {"name": "a", "score": 0.5},
        {"name": "b", "score": 2.0},
        {"name": "c\nd", "score": 3.0},
    ]
    jsons = [put(tmp_path, '{"x": 1, "y": [1, 2]}\n', "1.jsonl"), put(tmp_path, '{"x": 2, "y": null}\n', "2.jsonl")]
    assert collect(jsons, tmp_path / "out.jsonl").head == [{"x": 1, "y": [1, 2]}, {"x": 2, "y": None}]
    assert (tmp_path / "out.jsonl").read_text() == '{"x":1,"y":[1,2]}\n{"x":2,"y":null}\n'
    for number, table in enumerate([pa.table({"x": [1]}), pa.table({"z": [1]})]):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    with pytest.raises(SchemaMismatch, match=r"1\.parquet has the columns \['z'\]"):
        collect(sorted(tmp_path.glob("[01].parquet")), tmp_path / "out.csv")
    with pytest.raises(FormatError, match=r"cut\.parquet is no complete Parquet file"):
        collect(put(tmp_path, b"PAR1 half a file", "cut.parquet"), tmp_path / "out.csv")
