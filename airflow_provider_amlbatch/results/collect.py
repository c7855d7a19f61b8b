"""Collect: from the files that a job wrote to one table, with its figures."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

from airflow_provider_amlbatch.aml.words import counted
from airflow_provider_amlbatch.results.arrays import Ordinals
from airflow_provider_amlbatch.results.compare import Findings, Reconciler
from airflow_provider_amlbatch.results.destination import PathLike, as_path, written_whole
from airflow_provider_amlbatch.results.doubles import without
from airflow_provider_amlbatch.results.errors import BadRow, BadRows, EmptyResult, SchemaMismatch, WrongGuess
from airflow_provider_amlbatch.results.format import Layout, ResultFormat, arrow_type
from airflow_provider_amlbatch.results.parse import MAX_ROW_BYTES
from airflow_provider_amlbatch.results.reconcile import Reconcile, Reconciliation
from airflow_provider_amlbatch.results.reject import Rejected
from airflow_provider_amlbatch.results.sources import Source, Sources, as_sources, batches, joined, layout_of
from airflow_provider_amlbatch.results.write import Output, json_safe, output_of, writer

log = logging.getLogger(__name__)

#: Called now and then with rows and bytes read so far.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Collected:
    """What was collected.

    :param path: where the table lies: a path, or the URL of an object.
    :param rows: rows of the table.
    :param columns: Arrow type names by column.
    :param head: the first rows as JSON-safe values by column.
    :param format: how the text was read.
    :param rejected: rows that could not be read and were left out.
    :param rejected_path: JSON lines with each of them; None when there are none.
    :param reconciliation: None when it was not asked for.
    :param seconds: time by part: ``detect``, ``read`` (waiting for parsed rows), ``write``, ``reconcile``, ``total``.
    :param bytes_read: bytes of the files.
    """

    path: str
    rows: int
    columns: dict[str, str]
    head: list[dict[str, Any]]
    format: ResultFormat
    rejected: int = 0
    rejected_path: str | None = None
    reconciliation: Reconciliation | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-safe values, fit for an XCom or an Asset's extra."""
        found = None if self.reconciliation is None else self.reconciliation.to_json()
        safe: dict[str, Any] = json_safe(asdict(self) | {"reconciliation": found})
        return safe


def collect(
    sources: Sources,
    destination: str | os.PathLike[str] | PathLike,
    *,
    format: ResultFormat | None = None,
    output: Output | None = None,
    partition_by: Sequence[str] = (),
    schema: Mapping[str, str] | None = None,
    on_bad_row: Literal["error", "quarantine"] = "error",
    max_row_bytes: int = MAX_ROW_BYTES,
    reconcile: Reconcile | None = None,
    head: int = 10,
    progress: Progress | None = None,
) -> Collected:
    """Read the files that a job wrote into one table, in bounded memory, and put it where it belongs.

    The table appears whole or not at all. A type that was inferred from a sample and proves too narrow for a later row
    (a fraction among whole numbers, a leading zero) makes it start over with the wider type.

    :param sources: local paths, ``ObjectStoragePath`` objects or blobs, one or many; all of one format.
    :param destination: file to write (a folder with ``partition_by``); its ending tells the output.
    :param format: how the rows are written; detected from a sample when None.
    :param output: ``parquet``, ``csv``, ``json_lines`` or ``arrow``, when the destination's ending does not say it.
    :param partition_by: columns whose values become folders of Parquet files.
    :param schema: Arrow type names by column that the table must have.
    :param on_bad_row: ``error``, or ``quarantine``: leave them out, count them, and write them to
        ``<destination>.rejected.jsonl``.
    :param max_row_bytes: a longer row is a bad row; rows that fit a block (4 MB) never are.
    :param reconcile: what to compare the rows with.
    :param head: rows that the answer shows.
    :raises ResultError: whatever is wrong; see :mod:`.errors`. Nothing is left at the destination then.
    """
    if on_bad_row not in ("error", "quarantine"):
        raise SchemaMismatch(f"on_bad_row must be 'error' or 'quarantine', not {on_bad_row!r}")
    clock = _Clock()
    files, target = as_sources(sources), as_path(destination)
    kind = output or ("parquet" if partition_by else output_of(target.name))
    with clock.part("detect"):
        layout = layout_of(files, format)
    while True:
        work = _Work(files, target, layout, kind, tuple(partition_by), max_row_bytes, head, progress, clock)
        try:
            _assert_schema(layout, schema)
            collected = work.run(reconcile, quarantine=on_bad_row == "quarantine")
        except WrongGuess as guess:
            log.info("Starting over: %s", guess)
            layout = layout.with_types(guess.types)
        else:
            _report(collected)
            return collected


@dataclass
class _Work:
    """One attempt with one layout."""

    files: list[Source]
    target: PathLike
    layout: Layout
    output: Output
    partition_by: tuple[str, ...]
    max_row_bytes: int
    head: int
    progress: Progress | None
    clock: _Clock
    rows: int = 0
    bytes_read: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)

    def run(self, rules: Reconcile | None, *, quarantine: bool) -> Collected:
        """Write, compare, write again when rows are to be left out, and let the table appear."""
        findings: Findings | None = None
        with ExitStack() as stack:
            path = stack.enter_context(written_whole(self.target))
            rejected = stack.enter_context(Rejected(self.target))
            reconciler = None if rules is None else stack.enter_context(Reconciler(rules, self.layout.columns))
            self._write(path, self._read(rejected.add if quarantine else None), reconciler)
            if not self.rows:
                raise EmptyResult(f"There is not a single row in {', '.join(item.name for item in self.files[:3])}")
            if rejected.count > self.rows:
                raise BadRows(f"{rejected.count:,} rows do not fit, only {self.rows:,} do:", rejected.first)
            if reconciler is not None:
                with self.clock.part("reconcile"):
                    findings = reconciler.finish(self._reread, rejected.count)
                if len(findings.drop):
                    self._write_again(path, findings.drop)
            rejected.keep()
        return Collected(
            path=str(self.target),
            rows=self.rows,
            columns={name: str(dtype) for name, dtype in self.layout.types.items()},
            head=[json_safe(row) for row in self.first],
            format=self.layout.format,
            rejected=rejected.count,
            rejected_path=rejected.path,
            reconciliation=findings.reconciliation if findings else None,
            seconds=self.clock.seconds(),
            bytes_read=self.bytes_read,
        )

    def _write(self, path: Any, rows: Iterator[pa.RecordBatch], reconciler: Reconciler | None) -> None:
        """Write rows; keys are hashed in a thread of their own meanwhile."""
        pending: Future[None] | None = None
        self.rows, self.first = 0, []
        schema, clock = self.layout.schema, self.clock
        with ThreadPoolExecutor(1, "keys") as pool, writer(path, schema, self.output, self.partition_by) as out:
            while (batch := clock.timed("read", next, rows, None)) is not None:
                if reconciler is not None:
                    if pending is not None:
                        clock.timed("reconcile", pending.result)
                    pending = pool.submit(reconciler.add, batch)
                if len(self.first) < self.head:
                    self.first += batch.slice(0, self.head - len(self.first)).to_pylist()
                self.rows += batch.num_rows
                clock.timed("write", out.write, batch)
                if self.progress:
                    self.progress(self.rows, self.bytes_read)
            if pending is not None:
                clock.timed("reconcile", pending.result)

    def _write_again(self, path: Any, drop: Ordinals) -> None:
        if path.is_dir():
            for part in sorted(path.rglob("*"), reverse=True):
                part.rmdir() if part.is_dir() else part.unlink()
            path.rmdir()
        self._write(path, self._without(drop), None)

    def _without(self, drop: Ordinals) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in self._reread():
            kept = without(batch, start, drop)
            start += batch.num_rows
            if kept.num_rows:
                yield kept

    def _read(self, reject: Callable[[BadRow], None] | None) -> Iterator[pa.RecordBatch]:
        self.bytes_read = 0
        return self._batches(reject, self._count)

    def _reread(self) -> Iterator[pa.RecordBatch]:
        return self._batches(_ignore, _ignore)

    def _batches(
        self, reject: Callable[[BadRow], None] | None, read: Callable[[int], None]
    ) -> Iterator[pa.RecordBatch]:
        return joined(
            batch
            for source in self.files
            for batch in batches(source, self.layout, reject=reject, read=read, max_row_bytes=self.max_row_bytes)
        )

    def _count(self, size: int) -> None:
        self.bytes_read += size


class _Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self._started, self._parts = time.perf_counter(), dict[str, float]()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + time.perf_counter() - started

    def timed(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        with self.part(name):
            return call(*args)

    def seconds(self) -> dict[str, float]:
        total = time.perf_counter() - self._started
        return {name: round(value, 4) for name, value in {**self._parts, "total": total}.items()}


def _assert_schema(layout: Layout, schema: Mapping[str, str] | None) -> None:
    if schema is None:
        return
    wanted = {name: arrow_type(dtype) for name, dtype in schema.items()}
    if list(wanted.items()) != list(layout.types.items()):
        raise SchemaMismatch(f"The rows have {_shown(layout.types)}, but schema asks for {_shown(wanted)}")


def _shown(types: Mapping[str, pa.DataType]) -> str:
    return "(" + ", ".join(f"{name} {dtype}" for name, dtype in types.items()) + ")"


def _report(collected: Collected) -> None:
    log.info(
        "Collected %s rows (%s bytes read) to %s in %.2f s",
        f"{collected.rows:,}",
        f"{collected.bytes_read:,}",
        collected.path,
        collected.seconds["total"],
    )
    if collected.rejected:
        log.warning("%s left out as unreadable: see %s", counted(collected.rejected, "row"), collected.rejected_path)
    for problem in collected.reconciliation.problems() if collected.reconciliation else ():
        log.warning("Reconciliation: %s", problem)


def _ignore(_: object) -> None:
    return None
