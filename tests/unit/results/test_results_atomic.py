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
    assert names(target) == ["prediction=cat", "prediction=dog"]
    frame = pd.read_parquet(target)
    assert frame["prediction"].value_counts().to_dict() == {"cat": 20_000, "dog": 10_000}
    with pytest.raises(DestinationError, match="exists"):
        collect(source, target, partition_by=["prediction"])
    with pytest.raises(DestinationError, match="partition_by"):
        collect(source, tmp_path / "other", partition_by=["label"])
    assert not (tmp_path / "other").exists()
    collect(source, store.joinpath("table"), partition_by=["prediction"])
    assert "_SUCCESS" in names(store.joinpath("table"))


def test_a_url_as_a_string_and_an_unknown_ending_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="ObjectStoragePath"):
        collect(source, "abfs://container/table.parquet")
    with pytest.raises(DestinationError, match=r"table\.xlsx"):
        collect(source, tmp_path / "table.xlsx")
    assert collect(source, f"file://{tmp_path}/table.bin", output="csv").path == f"{tmp_path}/table.bin"
