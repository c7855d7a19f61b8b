"""Which files an input stands for, and where they are cut."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_amlbatch.emulator.engine.job import FileInput, Input, ParallelSettings, TabularInput
from airflow_provider_amlbatch.emulator.engine.mini_batches import MiniBatch, Queue, cut
from airflow_provider_amlbatch.emulator.engine.partitions import PartitionFormat
from airflow_provider_amlbatch.emulator.engine.paths import InputError, expand
from airflow_provider_amlbatch.emulator.engine.records import read

TREE = ("a.csv", "a/1.csv", "a/2.txt", "a/deep/3.csv", "a-b/4.csv", "[x]/5.csv", "z.csv")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", sorted(TREE)),
        ("a", ["a/1.csv", "a/2.txt", "a/deep/3.csv"]),
        ("a/", ["a/1.csv", "a/2.txt", "a/deep/3.csv"]),
        ("z.csv", ["z.csv"]),
        ("*.csv", ["a.csv", "z.csv"]),
        ("*/*.csv", ["[x]/5.csv", "a-b/4.csv", "a/1.csv"]),
        ("**/*.csv", [name for name in sorted(TREE) if name.endswith(".csv")]),
        ("a/**", ["a/1.csv", "a/2.txt", "a/deep/3.csv"]),
        ("a/?.*", ["a/1.csv", "a/2.txt"]),
        ("[x]/*", ["[x]/5.csv"]),
        ("nothing/*.csv", []),
    ],
)
def test_expand(tree: Path, pattern: str, expected: list[str]) -> None:
    assert [str(Path(path).relative_to(tree)) for path in expand([f"{tree}/{pattern}"])] == expected


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv"):
        list(expand([str(tmp_path / "gone.csv")]))


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/{store}/{brand}/*.csv", "7/tropicana/x.csv", {"store": "7", "brand": "tropicana"}),
        ("{store}/*.csv", "deep/down/7/x.csv", {"store": "7"}),
        ("/{day:yyyy/MM/dd}/{n}.csv", "2019/03/31/4.csv", {"day": {"datetime": "2019-03-31T00:00:00"}, "n": "4"}),
        ("/{t:yyyyMMdd-HHmm}.txt", "20190331-2359.txt", {"t": {"datetime": "2019-03-31T23:59:00"}}),
    ],
)
def test_partition_format(template: str, path: str, expected: dict[str, Any]) -> None:
    assert PartitionFormat.parse(template).values(path) == expected


def test_a_path_without_the_form_is_named() -> None:
    with pytest.raises(InputError, match=r"x\.csv"):
        PartitionFormat.parse("/{a}/{b}/*.csv").values("only/x.csv")


def settings(**values: Any) -> ParallelSettings:
    return ParallelSettings(entry_script="score.py", input_names=("data",), **values)


def pieces(source: Input, **values: Any) -> list[MiniBatch]:
    return list(cut([source], settings(**values)))


def test_files_are_counted_off(tree: Path) -> None:
    batches = pieces(FileInput("data", (str(tree),)), mini_batch_size=3)
    assert [batch.total for batch in batches] == [3, 3, 1]
    assert [path for batch in batches for path in batch.payload["files"]] == list(expand([str(tree)]))


def test_a_mini_batch_never_mixes_inputs(tree: Path) -> None:
    inputs = [FileInput("one", (f"{tree}/a",)), FileInput("two", (f"{tree}/z.csv",))]
    assert [batch.total for batch in cut(inputs, settings(mini_batch_size=2))] == [2, 1, 1]


def test_rank_mini_batch_count_replaces_the_inputs(tree: Path) -> None:
    source = FileInput("data", (str(tree),))
    batches = pieces(source, rank_mini_batch_count=4)
    assert [batch.payload for batch in batches] == [{"files": []}] * 4


def test_one_mini_batch_a_key(tmp_path: Path) -> None:
    for day in ("1", "2"):
        for store in ("a", "b"):
            (tmp_path / day / store).mkdir(parents=True)
            (tmp_path / day / store / "x.csv").touch()
    source = FileInput("data", (str(tmp_path),), root=str(tmp_path), partition_format="/{day}/{store}/*.csv")
    batches = pieces(source, partition_keys=("store",))
    assert [(batch.payload["key"], batch.total) for batch in batches] == [({"store": "a"}, 2), ({"store": "b"}, 2)]
    with pytest.raises(InputError, match="brand"):
        pieces(source, partition_keys=("brand",))
    with pytest.raises(InputError, match="not partitioned"):
        pieces(FileInput("data", (str(tmp_path),)), partition_keys=("store",))


def frames(source: TabularInput, **values: Any) -> list[pandas.DataFrame]:
    described = {"format": source.format, "options": source.options}
    return [read(described, batch.payload["parts"]) for batch in pieces(source, **values)]


@given(rows=st.lists(st.integers(0, 10**9), max_size=60), size=st.integers(1, 400))
def test_cutting_text_loses_and_doubles_no_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], size: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "data.csv"
    path.write_text("n\n" + "".join(f"{row}\n" for row in rows))
    source = TabularInput("data", (str(path),))
    batches = frames(source, mini_batch_size=size)
    assert [int(value) for batch in batches for value in batch["n"]] == rows
    assert len(batches) <= math.ceil(path.stat().st_size / size)


def test_a_file_is_the_largest_mini_batch(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"a,b\n{number},x\n")
    batches = frames(TabularInput("data", (str(tmp_path),)), mini_batch_size=1 << 20)
    assert [batch.to_dict("list") for batch in batches] == [{"a": [number], "b": ["x"]} for number in range(3)]


def test_quoted_line_ends_are_not_cut_when_records_may_hold_them(tmp_path: Path) -> None:
    table = [["k", "text"], *([str(number), "one\ntwo " * (number % 3)] for number in range(40))]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(table)
    path = tmp_path / "data.csv"
    path.write_text(buffer.getvalue())
    options = {"support_multi_line": True, "empty_as_string": True}
    batches = frames(TabularInput("data", (str(path),), options=options), mini_batch_size=100)
    assert len(batches) > 3
    assert [[str(k), text] for batch in batches for k, text in batch.itertuples(index=False)] == table[1:]


HEADERS: list[tuple[str, list[dict[str, list[Any]]]]] = [
    ("every_file", [{"a": [1], "b": [2]}, {"a": [3], "b": [4]}]),
    ("first_file", [{"a": [1], "b": [2]}, {"a": ["a", "3"], "b": ["b", "4"]}]),
    ("none", [{"Column1": ["a", "1"], "Column2": ["b", "2"]}, {"Column1": ["a", "3"], "Column2": ["b", "4"]}]),
]


@pytest.mark.parametrize(("header", "expected"), HEADERS)
def test_headers(tmp_path: Path, header: str, expected: list[dict[str, list[Any]]]) -> None:
    (tmp_path / "1.csv").write_text("a;b\n1;2\n")
    (tmp_path / "2.csv").write_text("a;b\n3;4\n")
    options = {"header": header, "delimiter": ";"}
    batches = frames(TabularInput("data", (str(tmp_path),), options=options))
    assert [batch.to_dict("list") for batch in batches] == expected


def test_column_options(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("name;day;n\nÄ;2020-01-02;007\n".encode("latin-1"))
    options = {
        "delimiter": ";",
        "encoding": "iso88591",
        "columns": ["day", "n", "name", "absent"],
        "infer_column_types": False,
        "column_types": {"day": "datetime"},
    }
    (frame,) = frames(TabularInput("data", (str(path),), options=options), mini_batch_size=1 << 20)
    # As the SDK's own reader does: in the order of the file, and without those that are not there.
    assert list(frame.columns) == ["name", "day", "n"]
    assert frame.iloc[0].tolist() == ["Ä", pandas.Timestamp("2020-01-02"), "007"]


@pytest.mark.parametrize("kind", ["delimited", "json_lines", "parquet"])
def test_types_and_formats_of_columns_count_in_every_kind_of_file(tmp_path: Path, kind: Any) -> None:
    rows = pandas.DataFrame({"day": ["03/04/2020", "2020-01-02"], "n": ["007", "8"], "code": ["001", "002"]})
    path = tmp_path / "data"
    if kind == "delimited":
        rows.to_csv(path, index=False)
    elif kind == "json_lines":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_parquet(path)
    options = {
        "infer_column_types": False,
        "column_types": {"day": "datetime", "n": "integer"},
        "datetime_formats": {"day": ["%d/%m/%Y", "%Y-%m-%d"]},
    }
    source = TabularInput("data", (str(path),), format=kind, options=options)
    (frame,) = frames(source, mini_batch_size=1 << 20)
    assert frame["day"].tolist() == [pandas.Timestamp("2020-04-03"), pandas.Timestamp("2020-01-02")]
    assert frame["n"].tolist() == [7, 8]
    assert frame["code"].tolist() == ["001", "002"]


@pytest.mark.parametrize("kind", ["delimited", "json_lines"])
def test_columns_of_the_path_come_first_in_text_and_last_in_the_rest(tmp_path: Path, kind: Any) -> None:
    for store in ("7", "8"):
        for brand in ("a", "b"):
            (tmp_path / store / brand).mkdir(parents=True)
            rows = pandas.DataFrame({"sold": [int(f"{store}0"), int(f"{store}1")]})
            path = tmp_path / store / brand / "part"
            rows.to_csv(path, index=False) if kind == "delimited" else rows.to_json(path, orient="records", lines=True)
    template = "/{Store}/{Brand}/part"
    source = TabularInput("data", (str(tmp_path),), kind, root=str(tmp_path), partition_format=template)
    batches = frames(source, partition_keys=("Brand",))
    order = ["Store", "Brand", "sold"] if kind == "delimited" else ["sold", "Store", "Brand"]
    assert [list(batch.columns) for batch in batches] == [order] * 2
    rows = batches[1][["sold", "Store", "Brand"]]
    assert rows.values.tolist() == [[70, "7", "b"], [71, "7", "b"], [80, "8", "b"], [81, "8", "b"]]
    assert rows.index.tolist() == [0, 1, 2, 3]
    options = {"columns": ["Store"], "column_types": {"Store": "integer"}}
    source = TabularInput("data", (str(tmp_path),), kind, options, root=str(tmp_path), partition_format=template)
    (part, _) = frames(source, partition_keys=("Brand",))
    assert part.to_dict("list") == {"Store": [7, 7, 8, 8]}


def test_what_cannot_be_read_as_its_type_is_missing(tmp_path: Path) -> None:
    # Types, values and names as the SDK's own reader gives them, recorded with azureml-dataprep 5.5.
    path = tmp_path / "data.csv"
    path.write_text("i,n,b,full,t,s,s,\n2.0, 4.7 ,Yes,1,9999-12-31,NA,007,q\n-3,x,no,F,2020-1-2,,null,q\n")
    types = {"i": "integer", "n": "integer", "b": "boolean", "full": "boolean", "t": "datetime"}
    formats = {"t": ["%Y-%m-%d"]}
    options = {"infer_column_types": False, "column_types": types, "datetime_formats": formats}
    (frame,) = frames(TabularInput("data", (str(path),), options=options), mini_batch_size=1 << 20)
    assert {name: str(frame[name].dtype) for name in types} == {
        "i": "int64",
        "n": "float64",
        "b": "object",
        "full": "bool",
        "t": "datetime64[ns]",
    }
    text = frame.astype(object).where(frame.notna(), None)
    assert {name: list(text[name]) for name in text} == {
        "i": [2, -3],
        "n": [4.0, None],
        "b": [True, None],
        "full": [True, False],
        "t": [None, pandas.Timestamp("2020-01-02")],
        "s": ["NA", None],
        "s_1": ["007", "null"],
        "Column8": ["q", "q"],
    }


def test_parquet_is_cut_between_row_groups_only(tmp_path: Path) -> None:
    table = pandas.DataFrame({"n": range(100), "s": ["x"] * 100})
    table.to_parquet(tmp_path / "groups.parquet", row_group_size=10)
    many = frames(TabularInput("data", (str(tmp_path / "groups.parquet"),), format="parquet"), mini_batch_size=1)
    assert [len(batch) for batch in many] == [10] * 10
    assert pandas.concat(many, ignore_index=True).equals(table)
    table.to_parquet(tmp_path / "single.parquet")
    single = frames(TabularInput("data", (str(tmp_path / "single.parquet"),), format="parquet"), mini_batch_size=1)
    assert [len(batch) for batch in single] == [100]


def test_json_lines(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("".join(f'{{"n": {n}, "s": "r{n}"}}\n' for n in range(20)))
    batches = frames(TabularInput("data", (str(tmp_path),), format="json_lines"), mini_batch_size=64)
    assert len(batches) > 2
    assert [tuple(row) for batch in batches for row in batch.itertuples(index=False)] == [
        (n, f"r{n}") for n in range(20)
    ]


def test_a_header_alone_has_no_rows_but_columns(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n")
    (frame,) = frames(TabularInput("data", (str(tmp_path),)))
    assert (list(frame.columns), len(frame)) == (["a", "b"], 0)


def test_queue_hands_over_what_was_cut_and_keeps_the_error(tmp_path: Path) -> None:
    def broken() -> Iterator[MiniBatch]:
        yield MiniBatch({"files": ["a"]}, 1)
        yield MiniBatch({"files": []}, None)
        raise InputError("gone")

    queue = Queue(tmp_path / "queue")
    assert queue.take() is None
    queue.fill(broken())
    assert isinstance(queue.error, InputError)
    queue = Queue(tmp_path / "queue")
    queue.fill(iter([MiniBatch({"files": ["a b"]}, 1), MiniBatch({"x": 1}, None)]))
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    assert (first.index, first.total, first.line) == (0, 1, b'0 1 {"files": ["a b"]}\n')
    assert (second.index, second.total) == (1, None)
    assert queue.is_exhausted
    assert (queue.created, queue.items) == (2, 1)
