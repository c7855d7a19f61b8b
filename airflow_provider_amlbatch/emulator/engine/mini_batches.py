"""Cutting the inputs of a parallel step into mini-batches, and the queue on disk that holds them until their turn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.emulator.engine import tabular
from airflow_provider_amlbatch.emulator.engine.job import FileInput, Input, ParallelSettings, TabularInput
from airflow_provider_amlbatch.emulator.engine.partitions import PartitionFormat
from airflow_provider_amlbatch.emulator.engine.paths import InputError, expand

#: Seconds in which new mini-batches may stay in the writer's buffer.
_FLUSH_INTERVAL = 0.02


@dataclass(frozen=True)
class MiniBatch:
    """One piece of the input.

    :param payload: what the worker needs to make the argument of ``run()``.
    :param total: items in it; None if only reading it tells.
    """

    payload: dict[str, Any]
    total: int | None


def cut(inputs: Sequence[Input], settings: ParallelSettings) -> Iterator[MiniBatch]:
    """Cut the inputs, one after the other: a mini-batch never mixes two inputs.

    :raises InputError: if an input is missing, or is not partitioned by the keys.
    """
    if settings.rank_mini_batch_count is not None:
        # Inferred: an empty mini-batch counts as one item, or append_row would never have anything to append.
        yield from (MiniBatch({"files": []}, 1) for _ in range(settings.rank_mini_batch_count))
        return
    for number, source in enumerate(inputs):
        if settings.partition_keys:
            yield from _by_key(number, source, settings.partition_keys)
        elif isinstance(source, FileInput):
            yield from _by_count(source, settings.mini_batch_size)
        else:
            yield from _by_bytes(number, source, settings.mini_batch_size)


def _by_count(source: FileInput, size: int) -> Iterator[MiniBatch]:
    paths = _files(source)
    while files := list(islice(paths, size)):
        yield MiniBatch({"files": files}, len(files))


def _by_bytes(number: int, source: TabularInput, size: int) -> Iterator[MiniBatch]:
    parts = _parts(source, size)
    if source.window is not None:
        parts = tabular.within(source, parts, *source.window)
    for part in parts:
        yield MiniBatch({"input": number, "parts": [part]}, None)


def _by_key(number: int, source: Input, keys: tuple[str, ...]) -> Iterator[MiniBatch]:
    template = _partition_format(source, keys)
    groups: dict[str, list[str]] = {}
    if isinstance(source, TabularInput) and source.window is not None:
        raise InputError(
            f"The input {source.name!r} is a part of the rows of a dataset, and has no partitions any more."
        )
    for path in _files(source):
        values = template.values(path)
        groups.setdefault(json.dumps({key: values[key] for key in keys}), []).append(path)
    first_path = next(iter(groups.values()))[0] if groups else ""
    for key, paths in groups.items():
        payload = {"key": json.loads(key)}
        if isinstance(source, FileInput):
            yield MiniBatch({"files": paths, "input": number, **payload}, len(paths))
        else:
            parts = [part for path in paths for part in _parts_of(source, path, first_path, None)]
            yield MiniBatch({"input": number, "parts": parts, **payload}, None)


def _files(source: Input) -> Iterator[str]:
    paths = expand(source.patterns)
    return islice(paths, *source.window) if isinstance(source, FileInput) and source.window else paths


def _partition_format(source: Input, keys: tuple[str, ...]) -> PartitionFormat:
    if source.partition_format is None:
        raise InputError(
            f"The input {source.name!r} is not partitioned, so partition_keys={list(keys)} cannot be used."
        )
    template = PartitionFormat.parse(source.partition_format)
    if unknown := [key for key in keys if key not in template.columns]:
        raise InputError(
            f"partition_keys={list(keys)} names {unknown}, but the input {source.name!r} is partitioned by "
            f"{list(template.columns)}."
        )
    return template


def _parts(source: TabularInput, size: int | None) -> Iterator[dict[str, Any]]:
    first_path = None
    for path in expand(source.patterns):
        first_path = first_path or path
        yield from _parts_of(source, path, first_path, size)


def _parts_of(source: TabularInput, path: str, first_path: str, size: int | None) -> Iterator[dict[str, Any]]:
    columns = {}
    if source.partition_format is not None:
        columns = PartitionFormat.parse(source.partition_format).values(path)
    for part in tabular.cut(source, path, first_path, size):
        yield {**part, "columns": columns}


@dataclass(frozen=True)
class Task:
    """A mini-batch in the queue.

    :param line: ``<index> <total, or -1> <payload as JSON>`` and a line end: what the worker is sent.
    :param tries: how often it was handed out, this time included.
    :param is_duplicate: it was answered for already and is delivered again.
    """

    index: int
    total: int | None
    line: bytes
    tries: int = 1
    is_duplicate: bool = False


class Queue:
    """Mini-batches from a thread that cuts them, through a file, to the loop that hands them out.

    The file keeps memory flat: a million mini-batches wait on disk, and the total is known long before the end.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._writer = open(path, "wb")  # noqa: SIM115
        self._reader = open(path, "rb")  # noqa: SIM115
        self._taken = 0
        self._closed = False
        self.created = 0
        self.items = 0
        self.finished = False
        self.error: Exception | None = None

    def fill(self, mini_batches: Iterator[MiniBatch]) -> None:
        """Write all mini-batches; an error while cutting is kept in ``error``."""
        created = items = 0
        next_flush = 0.0
        try:
            for created, mini_batch in enumerate(mini_batches, start=1):
                total = -1 if mini_batch.total is None else mini_batch.total
                items += max(total, 0)
                self._writer.write(b"%d %d %s\n" % (created - 1, total, json.dumps(mini_batch.payload).encode()))
                if self._closed:
                    return
                if time.monotonic() > next_flush:
                    self._publish(created, items)
                    next_flush = time.monotonic() + _FLUSH_INTERVAL
            self._publish(created, items)
        except Exception as error:  # the loop that takes decides what it means
            self.error = error
        finally:
            self._writer.close()
            self.finished = True

    def _publish(self, created: int, items: int) -> None:
        self._writer.flush()
        self.items = items
        self.created = created  # last: what is counted can be read

    def take(self) -> Task | None:
        """Take the next mini-batch, or None if there is none now."""
        if self._taken >= self.created:
            return None
        line = self._reader.readline()
        self._taken += 1
        index, total, _ = line.split(b" ", 2)
        return Task(int(index), None if total == b"-1" else int(total), line)

    def close(self) -> None:
        """Let go of the file, and cut no more."""
        self._closed = True
        self._reader.close()

    @property
    def is_exhausted(self) -> bool:
        """Whether every mini-batch was created and taken."""
        return self.finished and self._taken >= self.created
