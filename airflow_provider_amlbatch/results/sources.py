"""The files that results are read from, whatever their kind, as record batches of one schema."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_amlbatch.results.detect import complete, detect, samples
from airflow_provider_amlbatch.results.errors import BadRow, EmptyResult, FormatError, SchemaMismatch
from airflow_provider_amlbatch.results.format import KIND_OF_SUFFIX, Layout, ResultFormat, arrow_type
from airflow_provider_amlbatch.results.json_lines import json_batches, json_schema
from airflow_provider_amlbatch.results.parse import MAX_ROW_BYTES, parse

#: Record batches of fewer rows are joined to some of so many.
_JOINED_ROWS = 1 << 14
#: Rows of a record batch read from Parquet.
_BATCH_ROWS = 1 << 17


class Source(Protocol):
    """A file to read: ``pathlib.Path``, ``ObjectStoragePath``, ``UPath`` or a blob (:class:`.download.BlobSource`)."""

    @property
    def name(self) -> str:
        """Name of the file: for messages, and its ending tells the kind."""

    def open(self, mode: str) -> Any:
        """Open it for reading. It is opened again when a second look is needed."""


#: What callers may hand in.
Sources = str | os.PathLike[str] | Source | Sequence[str | os.PathLike[str] | Source]


def as_sources(sources: Sources) -> list[Source]:
    """Make a list of sources: strings are local paths, one source is a list of one.

    :raises EmptyResult: there is none.
    """
    one = isinstance(sources, (str, os.PathLike)) or hasattr(sources, "open")
    many = [sources] if one else list(cast("Sequence[Source]", sources))
    if not many:
        raise EmptyResult("There is no file to collect: the output is missing or no name matches")
    return [cast("Source", item if hasattr(item, "open") else Path(cast("str", item))) for item in many]


def layout_of(files: Sequence[Source], form: ResultFormat | None) -> Layout:
    """Find columns and types of the rows from the first file that has any.

    Files that end with ``.parquet``, ``.jsonl`` or ``.csv`` are taken for what they are named when no format is said.

    :raises EmptyResult: no file has any.
    """
    if form is None:
        form = _named_format(files[0].name)
    for source in files:
        try:
            return _layout(source, form)
        except EmptyResult:
            continue
    raise EmptyResult(f"There is not a single row in {_names(files)}")


def batches(
    source: Source,
    layout: Layout,
    *,
    reject: Callable[[BadRow], None] | None,
    read: Callable[[int], None],
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Read one file.

    :param reject: called with each row that cannot be read; None means that such rows are errors.
    :param read: called with the number of bytes of each piece read.
    """
    with source.open("rb") as stream:
        if layout.format.is_text:
            yield from parse(
                _Counted(stream, read),
                layout,
                source=source.name,
                reject=reject,
                max_row_bytes=max_row_bytes,
            )
        elif layout.format.kind == "json_lines":
            found = json_batches(_Counted(stream, read), source.name, layout, max_row_bytes)
            yield from _fitting(found, source.name, layout)
        else:
            yield from _fitting(_parquet_batches(stream, source.name, read), source.name, layout)


def joined(found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join small record batches: a million small files are not to become as many row groups."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in found:
        if not held and batch.num_rows >= _JOINED_ROWS:
            yield batch
            continue
        held.append(batch)
        rows += batch.num_rows
        if rows >= _JOINED_ROWS:
            yield pa.concat_batches(held)
            held, rows = [], 0
    if held:
        yield pa.concat_batches(held)


def _named_format(name: str) -> ResultFormat | None:
    match KIND_OF_SUFFIX.get(PurePath(name).suffix.lower()):
        case "parquet":
            return ResultFormat.parquet()
        case "json_lines":
            return ResultFormat.json_lines()
        case "csv":
            return ResultFormat.csv()
        case _:
            return None


def _layout(source: Source, form: ResultFormat | None) -> Layout:
    with source.open("rb") as stream:
        if form is not None and form.kind == "parquet":
            return _layout_of_schema(form, _parquet(stream, source.name).schema_arrow)
        if form is not None and form.kind == "json_lines":
            return _layout_of_schema(form, json_schema(stream, source.name))
        found = samples(stream, _size(source))
        try:
            form = form or detect(found[0])
            if form.is_text:
                whole = stream.seekable() and stream.seek(0, os.SEEK_END) == len(found[0])
                return complete(form, found, source.name, whole=whole)
        except FormatError as error:
            error.add_note(f"While looking at {source.name}")
            raise
    return _layout(source, form)


def _layout_of_schema(form: ResultFormat, schema: pa.Schema) -> Layout:
    types = {field.name: field.type for field in schema}
    said = {name: arrow_type(dtype) for name, dtype in form.dtypes.items()}
    return Layout(form, types | said, frozenset(types) - frozenset(said))


def _fitting(found: Iterator[pa.RecordBatch], name: str, layout: Layout) -> Iterator[pa.RecordBatch]:
    for batch in found:
        if batch.schema.names != layout.columns:
            raise SchemaMismatch(f"{name} has the columns {batch.schema.names}, but the first file {layout.columns}")
        try:
            yield batch.cast(layout.schema) if batch.schema != layout.schema else batch
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaMismatch(f"{name} does not have the types of the first file: {error}") from None


def _parquet(stream: Any, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except pa.ArrowInvalid as error:
        raise FormatError(f"{name} is no complete Parquet file: {error}") from None


def _parquet_batches(stream: Any, name: str, read: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    for batch in _parquet(stream, name).iter_batches(batch_size=_BATCH_ROWS):
        read(batch.nbytes)
        yield batch


class _Counted:
    """A stream that tells how much is read from it."""

    def __init__(self, stream: Any, read: Callable[[int], None]) -> None:
        self._stream, self._tell = stream, read

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._tell(len(data))
        return data

    def readinto(self, buffer: memoryview) -> int:
        size: int = self._stream.readinto(buffer)
        self._tell(size)
        return size


def _size(source: Any) -> int | None:
    if isinstance(source, Path):
        return source.stat().st_size
    size = getattr(source, "size", None)
    return size if isinstance(size, int) else None


def _names(files: Sequence[Source]) -> str:
    return ", ".join(source.name for source in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
