"""Where a file of rows may be cut. A mini-batch never crosses the end of a file.

Inferred: the service only says that the size is approximate. Here a text file is cut into
``ceil(size / mini_batch_size)`` byte ranges, and each cut moves to the next end of a record. Row groups of a Parquet
file are joined as long as they fit, by their size before compression; a file without content makes no mini-batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_amlbatch.emulator.engine import records
from airflow_provider_amlbatch.emulator.engine.job import TabularInput

#: Encodings in which a byte 0x0A is not always the end of a line: such files are not cut.
_WIDE_ENCODINGS = ("utf16", "utf32", "utf-16", "utf-32")


def cut(source: TabularInput, path: str, first_path: str, size: int | None) -> Iterator[dict[str, Any]]:
    """Cut one file into the parts that a worker reads.

    :param first_path: the first file of the input, which may be the only one with a header.
    :param size: approximate bytes of a part; None for the whole file.
    """
    if source.format == "parquet":
        yield from _row_groups(path, size)
        return
    header = source.options.get("header", "every_file") if source.format == "delimited" else "none"
    has_header = header == "every_file" or (header == "first_file" and path == first_path)
    names_from = {"every_file": path, "first_file": first_path}.get(header)
    for start, end in _byte_ranges(source, path, size):
        yield {
            "path": path,
            "start": start,
            "end": end,
            "names_from": names_from,
            "has_header": has_header and start == 0,
        }


def within(
    source: TabularInput, parts: Iterator[dict[str, Any]], start: int, stop: int | None
) -> Iterator[dict[str, Any]]:
    """Cut parts down to a window of all their rows; that takes reading what lies before its end.

    :param start: the first row that counts.
    :param stop: the row behind the last one, or None.
    """
    seen = 0
    for part in parts:
        if stop is not None and seen >= stop:
            return
        length = records.count({"format": source.format, "options": source.options}, [part])
        first, last = max(start - seen, 0), length if stop is None else min(stop - seen, length)
        if first < last:
            yield {**part, "rows": [first, last]}
        seen += length


def _byte_ranges(source: TabularInput, path: str, size: int | None) -> Iterator[tuple[int, int]]:
    length = Path(path).stat().st_size
    if length == 0:
        return
    wide = str(source.options.get("encoding", "utf8")).lower().startswith(_WIDE_ENCODINGS)
    if size is None or wide or length <= size:
        yield 0, length
        return
    start = 0
    with open(path, "rb") as file:
        ends = _quoted_ends(file, size) if source.options.get("support_multi_line") else _ends(file, size, length)
        for end in ends:
            if end > start:
                yield start, end
                start = end
    if start < length:
        yield start, length


def _ends(file: BinaryIO, size: int, length: int) -> Iterator[int]:
    for cut_at in range(size, length, size):
        file.seek(cut_at - 1)  # a cut just behind a record end stays where it is
        file.readline()
        yield file.tell()


def _quoted_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Find record ends in text whose quoted fields may hold line ends; that takes reading from the start."""
    position, quoted, next_cut = 0, False, size
    for line in file:
        position += len(line)
        quoted ^= line.count(b'"') % 2 == 1
        if not quoted and position >= next_cut:
            yield position
            next_cut = (position // size + 1) * size


def _row_groups(path: str, size: int | None) -> Iterator[dict[str, Any]]:
    """Join neighbouring row groups up to the size; one group is never cut."""
    from pyarrow import parquet

    metadata = parquet.ParquetFile(path).metadata
    groups: list[int] = []
    held = 0
    for index in range(metadata.num_row_groups):
        bytes_of_group = metadata.row_group(index).total_byte_size
        if groups and size is not None and held + bytes_of_group > size:
            yield {"path": path, "row_groups": groups}
            groups, held = [], 0
        groups.append(index)
        held += bytes_of_group
    if groups:
        yield {"path": path, "row_groups": groups}
