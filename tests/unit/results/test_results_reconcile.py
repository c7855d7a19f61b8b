"""Rows against inputs and counts: compared with what plain Python sets and dicts say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.results.collect import Collected, collect
from airflow_provider_amlbatch.results.errors import DuplicateKeys, ExtraKeys, FormatError, IncompleteResult
from airflow_provider_amlbatch.results.format import ResultFormat
from airflow_provider_amlbatch.results.hashes import hash_keys, hash_names
from airflow_provider_amlbatch.results.keys import KeySet
from airflow_provider_amlbatch.results.reconcile import JobCounts, Match, Reconcile


def run(folder: Path, pairs: list[tuple[str, int]], rules: Reconcile, suffix: str = "parquet") -> Collected:
    source = folder / "parallel_run_step.txt"
    source.write_text("".join(f"{name}: {value}\n" for name, value in pairs))
    form = ResultFormat.lines(columns=["name", "value"])
    return collect(source, folder / f"out.{suffix}", format=form, reconcile=rules)


@pytest.fixture
def pairs() -> list[tuple[str, int]]:
    """A shuffled result of 150,000 rows: 40 keys missing, 3 extra, 500 rows repeated with other values."""
    rows = [(f"f{number}.csv", number) for number in range(40, 150_000)]
    rows += [(f"extra{number}.csv", number) for number in range(3)]
    rows += [(f"f{number * 17 + 40}.csv", -number) for number in range(500)]
    random.Random(5).shuffle(rows)
    return rows


def inputs() -> list[str]:
    return [f"images/2026/f{number}.csv" for number in range(150_000)]


@pytest.mark.parametrize("keep", ["all", "first", "last"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_is_missing_extra_and_twice(tmp_path: Path, pairs: list[tuple[str, int]], keep: str, suffix: str) -> None:
    job = JobCounts(total_items=150_000, succeeded_items=149_960, failed_items=40, rows=len(pairs))
    collected = run(tmp_path, pairs, Reconcile(inputs, keep=keep, job=job), suffix)  # type: ignore[arg-type]
    found = collected.reconciliation
    assert found is not None
    assert (found.rows, found.distinct, found.duplicates) == (150_463, 149_963, 500)
    assert (found.inputs, found.missing, found.extra) == (150_000, 40, 3)
    assert found.missing_first == tuple(f"f{number}.csv" for number in range(20))
    assert set(found.extra_first) == {"extra0.csv", "extra1.csv", "extra2.csv"}
    assert found.complete == pytest.approx(149_960 / 150_000)
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
    with pytest.raises(DuplicateKeys, match=r"1 rows repeat a key of name \(a\.csv\)"):
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
    with pytest.raises(IncompleteResult, match=r"75\.00% of the inputs.*1 of 4 inputs have no row \(d\.csv\)"):
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
    assert "1 keys are no input ((no name))" in found.problems()
    rules = Reconcile(require_complete=True, job=JobCounts(total_items=2))
    with pytest.raises(IncompleteResult, match=r"50\.00%"):
        collect(source, tmp_path / "out.csv", format=form, reconcile=rules)


def test_rows_that_no_input_explains_can_be_an_error(tmp_path: Path) -> None:
    rows, names = [("a.csv", 1), ("b.csv", 2), ("z.csv", 3)], ["in/a.csv", "in/b.csv"]
    rules = Reconcile(names, require_complete=True, on_extra="error")
    with pytest.raises(ExtraKeys, match=r"1 keys are no input \(z\.csv\)"):
        run(tmp_path, rows, rules)
    assert not (tmp_path / "out.parquet").exists()
    assert run(tmp_path, rows[:2], rules).rows == 2
    assert run(tmp_path, rows, replace(rules, on_extra="warn")).rows == 3
    with pytest.raises(IncompleteResult, match=r"no row \(b\.csv\)\. 1 keys are no input \(z\.csv\)"):
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
        parts = list(keys.parts())
    repeated = np.concatenate([part.repeated for part in parts])
    counts = Counter(key for batch in batches for key in batch)
    wanted = [pa.array([key for key, count in counts.items() if count > 1], pa.string())]
    assert set(repeated.tolist()) == set(hash_keys(wanted).tolist())
    hashes = np.concatenate([part.hashes for part in parts])
    assert len(hashes) == len(counts)
    assert (np.diff(hashes.astype(object)) > 0).all()


def test_no_two_short_keys_share_a_hash() -> None:
    bytes_of_ascii = [chr(code) for code in range(128)]
    keys = ["\0" * zeros + text for zeros in range(7) for text in ("", *bytes_of_ascii)]
    keys += [first + second for first in bytes_of_ascii for second in bytes_of_ascii]
    distinct = sorted(set(keys))
    for seed in (0, 1):
        assert len(set(hash_keys([pa.array(distinct)], seed).tolist())) == len(distinct)


def cut(path: str, match: Match) -> str:
    name = path if match == "path" else path.rpartition("/")[2]
    return name.rpartition(".")[0] or name if match == "stem" else name


paths = st.lists(st.text("ab/.", max_size=14), max_size=20)
in_one_folder = st.lists(st.text("ab.", min_size=1, max_size=3).map(lambda name: f"a/b.b/{name}"), max_size=20)


@settings(deadline=None, max_examples=200)
@given(st.one_of(paths, in_one_folder), st.sampled_from(["name", "stem", "path"]))
def test_a_name_hashes_as_what_is_left_of_it(listed: list[str], match: Match) -> None:
    found = hash_names(pa.array(["x", *listed], pa.string()).slice(1), match)
    assert found.tolist() == hash_keys([pa.array([cut(path, match) for path in listed], pa.string())]).tolist()


@pytest.mark.parametrize("keys", [["name"], ["name", "value"]])
def test_arrow_arrays_are_listings_too(tmp_path: Path, keys: list[str]) -> None:
    pairs = [(f"f{number}.csv", number) for number in range(0, 300_000, 2)]
    names = pa.array([f"in/f{number}.csv" for number in range(300_000)])
    wanted = {f"f{number}.csv" for number in range(1, 40, 2)}
    listings = [
        names,
        pa.chunked_array([names[:7], names[7:]]),
        lambda: iter([names[:7], names[7:]]),
        names.to_pylist(),
    ]
    for inputs in listings:
        found = run(tmp_path, pairs, Reconcile(inputs, dedupe_on=tuple(keys))).reconciliation
        assert found is not None
        assert (found.inputs, found.missing, found.extra, found.duplicates) == (300_000, 150_000, 0, 0)
        assert set(found.missing_first) == wanted


def test_a_listing_that_fails_fails_the_task(tmp_path: Path) -> None:
    def listing() -> Iterator[str]:
        yield "a"
        raise OSError("the listing broke")

    with pytest.raises(OSError, match="the listing broke"):
        run(tmp_path, [("a", 1)], Reconcile(listing))
    assert not (tmp_path / "out.parquet").exists()


def test_a_hash_depends_on_the_key_alone_and_tells_similar_keys_apart() -> None:
    keys = [f"{folder}{number}" for folder in ("", "a" * 300, "ü/") for number in range(30_000)]
    together = hash_keys([pa.array(keys)])
    alone = np.concatenate([hash_keys([pa.array([key])]) for key in keys[:50]])
    assert (together[:50] == alone).all()
    assert len(set(together.tolist())) == len(keys)
    assert not set(together.tolist()) & set(hash_keys([pa.array(keys)], 1).tolist())
    pair = [pa.array(["a", "ab"]), pa.array(["bc", "c"])]
    assert len(set(hash_keys(pair).tolist())) == 2
