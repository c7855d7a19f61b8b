"""Write record batches to a file: Parquet, CSV, JSON lines or Arrow; or to Parquet files by partition."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import csv

from airflow_provider_amlbatch.results.errors import DestinationError

Output = Literal["parquet", "csv", "json_lines", "arrow"]

_OUTPUT_OF_SUFFIX: dict[str, Output] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".arrow": "arrow",
}

#: Rows of a Parquet row group.
ROW_GROUP_ROWS = 1 << 20
#: A column is dictionary-encoded when at most this part of its first rows, so many, is distinct.
_REPEATED, _LOOKED_AT = 0.5, 1 << 14


class Writer(Protocol):
    """Something that takes record batches."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""


def output_of(name: str) -> Output:
    """Tell the kind of file from its name.

    :raises DestinationError: the ending says nothing.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in _OUTPUT_OF_SUFFIX:
        raise DestinationError(
            f"destination {name!r}: end it with {', '.join(_OUTPUT_OF_SUFFIX)}, or say output='parquet', 'csv', "
            "'json_lines' or 'arrow'"
        )
    return _OUTPUT_OF_SUFFIX[suffix]


@contextmanager
def writer(path: Path, schema: pa.Schema, output: Output, partition_by: Sequence[str] = ()) -> Iterator[Writer]:
    """Open a writer of rows of ``schema``; the file is complete when the block ends.

    :param partition_by: columns whose values become folders (``label=cat/``) of Parquet files; ``path`` is a folder.
    """
    if partition_by:
        unknown = [name for name in partition_by if name not in schema.names]
        if unknown or output != "parquet":
            raise DestinationError(
                f"partition_by={list(partition_by)!r} needs Parquet and columns of the table: {', '.join(schema.names)}"
            )
        yield _Partitions(path, partition_by)
        return
    kinds: dict[Output, type[_Parquet] | type[_Csv] | type[_JsonLines] | type[_Arrow]]
    kinds = {"parquet": _Parquet, "csv": _Csv, "json_lines": _JsonLines, "arrow": _Arrow}
    made = kinds[output](path, schema)
    try:
        yield made
    finally:
        made.close()


class _Parquet:
    """One Parquet file: zstd, row groups of :data:`ROW_GROUP_ROWS`, encoded while more rows are being parsed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, self._schema, compression="zstd", use_dictionary=_repeated_columns(batch)
            )
        self._writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)

    def close(self) -> None:
        """Write the footer."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._writer.close()


class _Csv:
    """CSV with a header; strings are quoted, missing values are empty."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        for field in schema:
            if pa.types.is_nested(field.type) or not _is_text(field.type):
                raise DestinationError(f"CSV has no way to write {field.name} {field.type}: take Parquet or JSON lines")
        self._writer = csv.CSVWriter(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class _JsonLines:
    """One JSON object a row; NaN and infinity, which JSON lacks, become null."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._names = schema.names
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False).encode

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        columns = [[json_safe(value) for value in column.to_pylist()] for column in batch.columns]
        names, encode = self._names, self._encode
        rows = zip(*columns, strict=True)
        self._file.write("".join([encode(dict(zip(names, row, strict=True))) + "\n" for row in rows]))

    def close(self) -> None:
        """Flush."""
        self._file.close()


class _Arrow:
    """One Arrow IPC file, which can be mapped into memory as it is."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._file.close()


class _Partitions:
    """Parquet files in one folder per value; a batch adds a file to each folder that it has rows for."""

    def __init__(self, path: Path, by: Sequence[str]) -> None:
        self._path, self._by, self._parts = path, list(by), 0
        path.mkdir()

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        ds.write_dataset(
            batch,
            self._path,
            format="parquet",
            file_options=ds.ParquetFileFormat().make_write_options(compression="zstd"),
            partitioning=self._by,
            partitioning_flavor="hive",
            basename_template=f"part-{self._parts:05d}-{{i}}.parquet",
            existing_data_behavior="overwrite_or_ignore",
        )
        self._parts += 1


def json_safe(value: Any) -> Any:
    """Return a value that JSON has: NaN and infinity become None, times and bytes text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return str(value)


def _is_text(dtype: pa.DataType) -> bool:
    return not (pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) or pa.types.is_fixed_size_binary(dtype))


def _repeated_columns(batch: pa.RecordBatch) -> list[str] | bool:
    """Columns worth a dictionary: building one for distinct names costs time and space."""
    first = batch.slice(0, _LOOKED_AT)
    found = [
        name
        for name, column in zip(first.schema.names, first.columns, strict=True)
        if not (pa.types.is_floating(column.type) or pa.types.is_nested(column.type))
        and pc.count_distinct(column).as_py() <= _REPEATED * max(1, first.num_rows)
    ]
    return found or False
