"""A table appears whole or not at all, wherever it is put."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from upath import UPath

from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.errors import BadRows, DestinationError
from airflow_provider_amlbatch.results.format import ResultFormat

#: 6 MB of long names: two blocks.
ROWS = 30_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "parallel_run_step.txt"
    path.write_text("".join(f"{number:0200}.csv: {'cat' if number % 3 else 'dog'}\n" for number in range(ROWS)))
    return path


@pytest.fixture
def store() -> Iterator[Any]:
    folder = UPath("memory://results-test/folder")
    yield folder
    if folder.exists():
        folder.fs.rm(folder.path, recursive=True)


def names(folder: Any) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_reader_never_sees_half_a_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "table.parquet"
    collect(source, target)
    before = target.read_bytes()
    seen: list[bool] = []
    collect(source, target, progress=lambda rows, size: seen.append(target.read_bytes() == before))
    assert len(seen) > 1
    assert all(seen)
    assert names(target.parent) == ["table.parquet"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_failure_leaves_the_old_file_and_nothing_else(source: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / "out" / f"table.{suffix}"
    target.parent.mkdir()
    target.write_text("old")
    with source.open("a") as file:
        file.write("broken\n")
    with pytest.raises(BadRows):
        collect(source, target)
    assert target.read_text() == "old"
    assert names(target.parent) == [target.name]


def test_an_object_store_gets_the_file_by_rename(source: Path, store: Any) -> None:
    collected = collect(source, store.joinpath("table.parquet"))
    assert names(store) == ["table.parquet"]
    with store.joinpath("table.parquet").open("rb") as file:
        assert len(pd.read_parquet(file)) == ROWS
    assert collected.path == "memory://results-test/folder/table.parquet"


class Full:
    """A path in a store that fails while it is written."""

    def __init__(self, path: Any) -> None:
        self.path = path
        self.name, self.parent = path.name, self

    def joinpath(self, *parts: str) -> Any:
        raise OSError("no space left")

    def open(self, mode: str) -> Any:
        raise OSError("no space left")

    def exists(self) -> bool:
        return False

    def mkdir(self, **options: bool) -> None:
        """Do nothing."""


def test_a_store_that_fails_is_left_without_the_file(source: Path, store: Any) -> None:
    with pytest.raises(OSError, match="no space"):
        collect(source, Full(store.joinpath("table.parquet")))
    assert names(store) == []


def test_partitions_appear_together(source: Path, tmp_path: Path, store: Any) -> None:
    target = tmp_path / "table"
    collect(source, target, partition_by=["prediction"])
    assert names(target) == ["_AMLBATCH", "prediction=cat", "prediction=dog"]
    frame = pd.read_parquet(target)
    assert frame["prediction"].value_counts().to_dict() == {"cat": 20_000, "dog": 10_000}
    with pytest.raises(DestinationError, match="partition_by"):
        collect(source, tmp_path / "other", partition_by=["label"])
    assert not (tmp_path / "other").exists()
    collect(source, store.joinpath("table"), partition_by=["prediction"])
    assert "_SUCCESS" in names(store.joinpath("table"))


def put(folder: Path, pairs: dict[str, str]) -> Path:
    path = folder / "few.txt"
    path.write_text("".join(f"{name}: {label}\n" for name, label in pairs.items()))
    return path


def partitions(folder: Any) -> dict[str, str]:
    """Read a partitioned table of a store file by file; a name that two files hold is an error."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.parquet"):
        with path.open("rb") as file:
            more = dict.fromkeys(pd.read_parquet(file)["name"], path.parent.name.removeprefix("prediction="))
        assert not found.keys() & more.keys()
        found |= more
    return found


BEFORE, AFTER = {"a": "cat", "b": "dog"}, {"a": "cat", "b": "cat", "c": "owl"}


def test_a_partitioned_table_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "out" / "table"
    for pairs in (BEFORE, AFTER):
        collect(put(tmp_path, pairs), target, partition_by=["prediction"])
        assert partitions(target) == pairs
        assert names(target.parent) == ["table"]
    broken = put(tmp_path, {"a": "cat", "b": "dog\nbroken"})
    with pytest.raises(BadRows):
        collect(broken, target, format=ResultFormat.lines(), partition_by=["prediction"])
    assert partitions(target) == AFTER


def test_a_partitioned_table_of_a_store_takes_the_place_of_an_earlier_or_unfinished_one(
    tmp_path: Path, store: Any
) -> None:
    target = store.joinpath("table")
    for pairs in (BEFORE, AFTER):
        collect(put(tmp_path, pairs), target, partition_by=["prediction"])
        assert partitions(target) == pairs
        assert {"_AMLBATCH", "_SUCCESS"} <= set(names(target))
        assert names(store) == ["table"]
    target.joinpath("_SUCCESS").unlink()  # as if the worker had died while it put the files in place
    collect(put(tmp_path, BEFORE), target, partition_by=["prediction"])
    assert partitions(target) == BEFORE
    assert "_SUCCESS" in names(target)


@pytest.mark.parametrize("local", [True, False])
def test_a_folder_that_is_not_ours_is_kept(tmp_path: Path, store: Any, local: bool) -> None:
    target = (tmp_path if local else store).joinpath("table")
    for name in ("notes.txt", "_SUCCESS"):
        target.mkdir(parents=True, exist_ok=True)
        with target.joinpath(name).open("wb") as file:
            file.write(b"mine")
        with pytest.raises(DestinationError, match=r"table exists, and _AMLBATCH in it does not tell"):
            collect(put(tmp_path, BEFORE), target, partition_by=["prediction"])
    assert names(target) == ["_SUCCESS", "notes.txt"]
    assert names(target.parent) == (["few.txt", "table"] if local else ["table"])


class Failing:
    """A path in a store where no second file can be renamed."""

    renames = 0

    def __init__(self, path: Any) -> None:
        self.path, self.name = path, path.name

    @property
    def parent(self) -> Failing:
        return Failing(self.path.parent)

    def joinpath(self, *parts: str) -> Failing:
        return Failing(self.path.joinpath(*parts))

    def rename(self, target: Failing) -> None:
        Failing.renames += 1
        if Failing.renames > 1:
            raise OSError("the store went away")
        self.path.rename(target.path)

    def open(self, mode: str) -> Any:
        return self.path.open(mode)

    def exists(self) -> bool:
        return bool(self.path.exists())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.path, name)


def test_the_earlier_table_of_a_store_stays_whole_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, store: Any
) -> None:
    target = store.joinpath("table")
    collect(put(tmp_path, BEFORE), target, partition_by=["prediction"])
    with pytest.raises(OSError, match="the store went away"):
        collect(put(tmp_path, AFTER), Failing(target), partition_by=["prediction"])
    assert Failing.renames == 2
    assert partitions(target) == BEFORE
    assert "_SUCCESS" in names(target)
    assert names(store) == ["table"]


def test_a_url_as_a_string_and_an_unknown_ending_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="ObjectStoragePath"):
        collect(source, "abfs://container/table.parquet")
    with pytest.raises(DestinationError, match=r"table\.xlsx"):
        collect(source, tmp_path / "table.xlsx")
    assert collect(source, f"file://{tmp_path}/table.bin", output="csv").path == f"{tmp_path}/table.bin"
