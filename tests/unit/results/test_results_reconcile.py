"""Rows against inputs and counts: compared with what plain Python sets and dicts say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.results.collect import Collected, collect
from airflow_provider_amlbatch.results.errors import (
    AmbiguousInputs,
    DuplicateKeys,
    ExtraKeys,
    FormatError,
    IncompleteResult,
)
from airflow_provider_amlbatch.results.format import ResultFormat
from airflow_provider_amlbatch.results.hashes import hash_keys
from airflow_provider_amlbatch.results.keys import PARTS, KeySet
from airflow_provider_amlbatch.results.reconcile import JobCounts, Reconcile


def run(folder: Path, pairs: list[tuple[str, int]], rules: Reconcile, suffix: str = "parquet") -> Collected:
    source = folder / "parallel_run_step.txt"
    source.write_text("".join(f"{name}: {value}\n" for name, value in pairs))
    form = ResultFormat.lines(columns=["name", "value"])
    return collect(source, folder / f"out.{suffix}", format=form, reconcile=rules)


def name(number: int) -> str:
    return f"f{number:0200}.csv"


@pytest.fixture
def pairs() -> list[tuple[str, int]]:
    """A shuffled result of 30,000 rows, two blocks: 40 keys missing, 3 extra, 500 rows repeated with other values."""
    rows = [(name(number), number) for number in range(40, 30_000)]
    rows += [(f"extra{number}.csv", number) for number in range(3)]
    rows += [(name(number * 17 + 40), -number) for number in range(500)]
    random.Random(5).shuffle(rows)
    return rows


def inputs() -> list[str]:
    return [f"images/2026/{name(number)}" for number in range(30_000)]


@pytest.mark.parametrize("keep", ["all", "first", "last"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_is_missing_extra_and_twice(tmp_path: Path, pairs: list[tuple[str, int]], keep: str, suffix: str) -> None:
    job = JobCounts(total_items=30_000, succeeded_items=29_960, failed_items=40, rows=len(pairs))
    collected = run(tmp_path, pairs, Reconcile(inputs, keep=keep, job=job), suffix)  # type: ignore[arg-type]
    found = collected.reconciliation
    assert found is not None
    assert (found.rows, found.distinct, found.duplicates) == (30_463, 29_963, 500)
    assert (found.inputs, found.missing, found.extra) == (30_000, 40, 3)
    assert found.missing_first == tuple(name(number) for number in range(20))
    assert set(found.extra_first) == {"extra0.csv", "extra1.csv", "extra2.csv"}
    assert found.complete == pytest.approx(29_960 / 30_000)
    assert len(found.problems()) == 4
    expected = pairs
    if keep == "first":
        expected = list({name: (name, value) for name, value in reversed(pairs)}.values())[::-1]
        kept: dict[str, int] = {}
        expected = [row for row in pairs if kept.setdefault(row[0], row[1]) == row[1]]
    if keep == "last":
        last = dict(pairs)
        expected = [row for row in pairs if last[row[0]] == row[1]]
    reader = pd.read_parquet if suffix == "parquet" else pd.read_csv
    frame = reader(collected.path)
    assert list(zip(frame["name"], frame["value"], strict=True)) == expected
    assert (collected.rows, found.dropped) == (len(expected), len(pairs) - len(expected))
    assert collected.to_json()["reconciliation"]["missing"] == 40


def test_duplicates_can_be_an_error_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(DuplicateKeys, match=r"1 row with a repeated name \(a\.csv\)"):
        run(tmp_path, [("a.csv", 1), ("b.csv", 2), ("a.csv", 1)], Reconcile(keep="error"))
    assert [path.name for path in tmp_path.iterdir()] == ["parallel_run_step.txt"]


def test_rows_are_duplicates_on_the_columns_that_are_named(tmp_path: Path) -> None:
    rules = Reconcile(dedupe_on=("name", "value"), keep="first")
    collected = run(tmp_path, [("a.csv", 1), ("a.csv", 2), ("a.csv", 1), ("a/a.csv", 1)], rules)
    assert [tuple(row.values()) for row in collected.head] == [("a.csv", 1), ("a.csv", 2), ("a/a.csv", 1)]
    with pytest.raises(FormatError, match="'label'"):
        run(tmp_path, [("a", 1)], Reconcile(dedupe_on=("label",)))


@pytest.mark.parametrize(("required", "complete"), [(True, False), (0.9, False), (0.75, True), (False, True)])
def test_completeness_is_required_by_fraction(tmp_path: Path, required: bool | float, complete: bool) -> None:
    rows = [("x/a.csv", 1), ("b.csv", 2), ("c.csv", 3)]
    rules = Reconcile(["in/a.csv", "in/b.csv", "in/c.csv", "in/d.csv"], require_complete=required)
    if complete:
        assert run(tmp_path, rows, rules).rows == 3
        return
    with pytest.raises(IncompleteResult, match=r"75\.00% of the inputs.*1 of 4 inputs without a row \(d\.csv\)"):
        run(tmp_path, rows, rules)
    assert not (tmp_path / "out.parquet").exists()


def test_completeness_without_a_listing_uses_the_items_of_the_job(tmp_path: Path) -> None:
    with pytest.raises(IncompleteResult, match=r"50\.00%"):
        run(tmp_path, [("a", 1)], Reconcile(require_complete=True, job=JobCounts(total_items=2)))
    with pytest.raises(FormatError, match="needs inputs= or"):
        run(tmp_path, [("a", 1)], Reconcile(require_complete=True))


@pytest.mark.parametrize(
    ("rows", "failed", "complete"),
    [
        ([("x/a", 1), ("y/a", 1)], 0, 1.0),  # no listing says that a folder is nothing: two items
        ([("a", 1), ("a", 2)], 0, 0.5),  # rows differ, and still one of the items has none
        ([("a", 1), ("b", 1)], 1, 0.5),  # an item failed, although two keys came
        ([("a", 1), ("b", 1), ("c", 1)], None, 1.0),
    ],
)
def test_items_of_the_job_count_names_of_inputs_whatever_rows_repeat(
    tmp_path: Path, rows: list[tuple[str, int]], failed: int | None, complete: float
) -> None:
    rules = Reconcile(
        dedupe_on=("name", "value"), require_complete=0.4, job=JobCounts(total_items=2, failed_items=failed)
    )
    for keep in ("all", None):
        found = run(tmp_path, rows, replace(rules, keep=keep)).reconciliation
        assert found is not None
        assert found.complete == complete
    with pytest.raises(IncompleteResult) if complete < 1 else nullcontext():
        run(tmp_path, rows, replace(rules, require_complete=True))


def test_a_row_without_a_name_is_no_input(tmp_path: Path) -> None:
    source = tmp_path / "parallel_run_step.txt"
    source.write_text("a 1\n 2\n")
    form = ResultFormat.rows(" ", ["name", "value"])
    found = collect(source, tmp_path / "out.csv", format=form, reconcile=Reconcile(["a", "b"])).reconciliation
    assert found is not None
    assert (found.missing, found.extra, found.extra_first) == (1, 1, ("(no name)",))
    assert "1 key without an input ((no name))" in found.problems()
    rules = Reconcile(require_complete=True, job=JobCounts(total_items=2))
    with pytest.raises(IncompleteResult, match=r"50\.00%"):
        collect(source, tmp_path / "out.csv", format=form, reconcile=rules)


def test_rows_that_no_input_explains_can_be_an_error(tmp_path: Path) -> None:
    rows, names = [("a.csv", 1), ("b.csv", 2), ("z.csv", 3)], ["in/a.csv", "in/b.csv"]
    rules = Reconcile(names, require_complete=True, on_extra="error")
    with pytest.raises(ExtraKeys, match=r"1 key without an input \(z\.csv\)"):
        run(tmp_path, rows, rules)
    assert not (tmp_path / "out.parquet").exists()
    assert run(tmp_path, rows[:2], rules).rows == 2
    assert run(tmp_path, rows, replace(rules, on_extra="warn")).rows == 3
    with pytest.raises(IncompleteResult, match=r"without a row \(b\.csv\)\. 1 key without an input \(z\.csv\)"):
        run(tmp_path, [rows[0], rows[2]], rules)
    with pytest.raises(FormatError, match="on_extra='error' needs inputs="):
        run(tmp_path, rows, Reconcile(on_extra="error"))


@pytest.mark.parametrize(("name", "said"), [("keep", "frist"), ("match", "suffix"), ("on_extra", "ignore")])
def test_a_word_that_is_none_of_the_choices_is_refused(name: str, said: str) -> None:
    with pytest.raises(FormatError, match=f"{name} must be one of .*, not '{said}'"):
        Reconcile(**{name: said})  # type: ignore[arg-type]


@pytest.mark.parametrize(("match", "missing"), [("name", 1), ("stem", 0), ("path", 2)])
def test_names_are_matched_by_last_part_stem_or_path(tmp_path: Path, match: str, missing: int) -> None:
    rules = Reconcile(["in/a.csv", "in/b.tar.gz"], match=match)  # type: ignore[arg-type]
    found = run(tmp_path, [("out/a.csv", 1), ("b.tar", 2), ("b.tar.txt", 3)], rules).reconciliation
    assert found is not None
    assert found.missing == missing


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=30), max_size=8), st.integers(1, 40))
def test_a_key_set_counts_as_a_counter_does(batches: list[list[str | None]], run_size: int) -> None:
    with KeySet(run=run_size, held=3 * run_size) as keys:
        for batch in batches:
            keys.add(hash_keys([pa.array(["before", *batch], pa.string()).slice(1)]))
        with ThreadPoolExecutor(2) as pool:
            keys.arrange(pool)
        parts = [keys.part(number) for number in range(PARTS)]
    repeated = np.concatenate([part.repeated for part in parts])
    counts = Counter(key for batch in batches for key in batch)
    wanted = [pa.array([key for key, count in counts.items() if count > 1], pa.string())]
    assert set(repeated.tolist()) == set(hash_keys(wanted).tolist())
    hashes = np.concatenate([part.hashes for part in parts])
    assert len(hashes) == len(counts)
    assert (np.diff(hashes.astype(object)) > 0).all()


@pytest.mark.parametrize("kind", ["array", "chunks", "function", "large", "list", "set"])
def test_listings_of_all_kinds(tmp_path: Path, kind: str) -> None:
    total = 140_000  # more than are hashed at once
    names = pa.array([f"in/f{number}.csv" for number in range(total)])
    listing: Any = {
        "array": names,
        "chunks": pa.chunked_array([names[:7], names[7:]]),
        "function": lambda: iter([names[:7], names[7:]]),
        "large": names.cast(pa.large_string()),
        "list": names.to_pylist(),
        "set": set(names.to_pylist()),
    }[kind]
    every = [(f"f{number}.csv", number) for number in range(total)]
    whole = run(tmp_path, every, Reconcile(listing, require_complete=True, on_extra="error")).reconciliation
    assert whole is not None
    assert (whole.inputs, whole.distinct, whole.missing, whole.extra) == (total, total, 0, 0)
    for keys in ("name",), ("name", "value"):
        found = run(tmp_path, every[::2], Reconcile(listing, dedupe_on=keys)).reconciliation
        assert found is not None
        assert (found.inputs, found.missing, found.extra, found.duplicates) == (total, total // 2, 0, 0)
        assert set(found.missing_first) < {f"f{number}.csv" for number in range(1, total, 2)}
        assert len(found.missing_first) == 20


def test_as_many_rows_as_inputs_are_not_taken_for_all_of_them(tmp_path: Path) -> None:
    rows = [("a", 1), ("d", 1), ("d", 2)]
    found = run(tmp_path, rows, Reconcile(["a", "b", "c"], keep="all")).reconciliation
    assert found is not None
    assert (found.rows, found.missing_first, found.extra_first, found.duplicates) == (3, ("b", "c"), ("d",), 1)


@pytest.mark.parametrize("required", [True, 0.01])
@pytest.mark.parametrize("listing", [[], lambda: iter(()), pa.array([], pa.string())])
def test_no_input_at_all_is_no_complete_result(tmp_path: Path, listing: Any, required: bool | float) -> None:
    rules = Reconcile(listing, listing="store/in/*.csv", require_complete=required, job=JobCounts(total_items=1))
    with pytest.raises(IncompleteResult, match=r"no input was found in store/in/\*\.csv"):
        run(tmp_path, [("a.csv", 1)], rules)
    assert not (tmp_path / "out.parquet").exists()
    found = run(tmp_path, [("a.csv", 1)], replace(rules, require_complete=False)).reconciliation
    assert found is not None
    assert (found.inputs, found.missing, found.extra, found.complete) == (0, 0, 1, None)
    assert found.problems()[0] == "no input was found in store/in/*.csv"


#: Three folders with a part-0, one of them listed twice; two names of their own, one of them listed twice.
PARTS_OF_FOLDERS = ["d/1/part-0.csv", "d/2/part-0.csv", "d/3/part-0.csv", "d/2/part-0.csv", "x.csv", "x.csv", "d/y.csv"]


@pytest.mark.parametrize("rows", [["part-0.csv"], ["part-0.csv", "x.csv", "y.csv"], ["z.csv"]])
@pytest.mark.parametrize("kind", ["list", "function", "array"])
def test_inputs_of_one_name_in_several_folders_are_told(tmp_path: Path, rows: list[str], kind: str) -> None:
    array = pa.array(PARTS_OF_FOLDERS)
    listing: Any = {"list": PARTS_OF_FOLDERS, "function": lambda: iter([array[:3], array[3:]]), "array": array}[kind]
    found = run(tmp_path, [(name, 1) for name in rows], Reconcile(listing)).reconciliation
    assert found is not None
    distinct = {*PARTS_OF_FOLDERS}
    names = {path.rpartition("/")[2] for path in distinct}
    assert (found.inputs, found.missing) == (len(names), len(names - {*rows}))
    assert found.ambiguous == len(distinct) - len(names) == 2
    assert found.problems()[0] == "2 inputs have the name of another one (part-0.csv); match='path' tells them apart"
    assert set(found.missing_first) == names - {*rows}
    assert len(found.missing_first) == len({*found.missing_first})


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (Reconcile(require_complete=0.5), "require_complete needs inputs that can be told apart, but 1 input has the"),
        (Reconcile(keep="first"), "keep='first' needs inputs that can be told apart"),
        (Reconcile(keep="last"), r"part-0\.csv\); match='path' tells them apart"),
        (Reconcile(keep="error"), "keep='error' needs"),
    ],
)
def test_what_needs_inputs_told_apart_fails_where_they_are_not(tmp_path: Path, rules: Reconcile, told: str) -> None:
    inputs, rows = ["d/1/part-0.csv", "d/2/part-0.csv"], [("part-0.csv", 1), ("part-0.csv", 2)]
    with pytest.raises(AmbiguousInputs, match=told):
        run(tmp_path, rows, replace(rules, inputs=inputs))
    assert not (tmp_path / "out.parquet").exists()
    whole = [(path, number) for number, path in enumerate(inputs)]
    found = run(tmp_path, whole, replace(rules, inputs=inputs, match="path")).reconciliation
    assert found is not None
    assert (found.inputs, found.ambiguous, found.dropped, found.complete) == (2, 0, 0, 1.0)


@pytest.mark.parametrize(
    "rows",
    [
        [("a/x.csv", 1), ("b/x.csv", 2), ("b/x.csv", 2)],
        [("x.csv", 1), ("c.csv", 2), ("c.csv", 2)],
    ],
    ids=["rows with whole paths", "duplicates of another name"],
)
def test_duplicates_that_are_nobody_elses_rows_are_dropped(tmp_path: Path, rows: list[tuple[str, int]]) -> None:
    inputs = ["a/x.csv", "b/x.csv", "d/c.csv"]
    found = run(tmp_path, rows, Reconcile(inputs, keep="first")).reconciliation
    assert found is not None
    assert (found.rows - found.dropped, found.ambiguous) == (2, 1)


def test_one_input_that_is_listed_twice_is_one(tmp_path: Path) -> None:
    rules = Reconcile(["d/a.csv", "d/b.csv", "d/a.csv"], keep="first", require_complete=True)
    found = run(tmp_path, [("a.csv", 1), ("b.csv", 2), ("a.csv", 3)], rules).reconciliation
    assert found is not None
    assert (found.inputs, found.ambiguous, found.dropped, found.complete) == (2, 0, 1, 1.0)


def test_a_listing_that_is_gone_after_one_look_is_refused() -> None:
    with pytest.raises(FormatError, match="more than once: hand in a list, or a function"):
        Reconcile(iter(["a"]))


def test_a_listing_that_fails_fails_the_task(tmp_path: Path) -> None:
    def listing() -> Iterator[str]:
        yield "a"
        raise OSError("the listing broke")

    with pytest.raises(OSError, match="the listing broke"):
        run(tmp_path, [("a", 1)], Reconcile(listing))
    assert not (tmp_path / "out.parquet").exists()
