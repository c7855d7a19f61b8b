"""Cut a block of text into columns of bytes, row by row accounted for: the exact way, for samples and odd blocks.

The quick way (:mod:`.quick`) hands a block over to this one whenever it meets anything unusual.
"""

from __future__ import annotations

import csv as standard_csv
import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.blocks import Block, shown
from airflow_provider_amlbatch.results.errors import BadRow, FormatError
from airflow_provider_amlbatch.results.format import ResultFormat

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Control characters that may stand in for a carriage return, which pyarrow would take for a line end.
_STAND_INS = tuple(bytes([code]) for code in (0x1A, 0x1F, 0x1E, 0x1D, 0x1C, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0E, 0x0F))

#: pyarrow 23's ``binary_slice`` fails on some arrays ("Negative buffer resize"), so slices are replaced by nothing.
_TO_END = 2**31 - 1


@dataclass(frozen=True)
class Fields:
    """A block cut into columns.

    :param columns: binary arrays, a row each; a null is a missing value.
    :param lines: for each row its first line, relative to the block, from 1.
    :param bad: rows that could not be cut, their lines relative to the block.
    """

    columns: list[pa.Array]
    lines: Ordinals
    bad: list[BadRow]


def cut(block: Block, form: ResultFormat, width: int) -> Fields:
    """Cut a block into ``width`` columns."""
    return cut_rows(block, form, width) if form.quoted else cut_lines(block, form, width)


def cut_lines(block: Block, form: ResultFormat, width: int) -> Fields:
    """Cut lines at their last (or first) ``width - 1`` delimiters."""
    lines = line_array(block)
    numbers = np.arange(1, len(lines) + 1)
    if form.delimiter is None:
        return Fields([_without_line_end(lines)], numbers, [])
    parts = pc.split_pattern(lines, form.delimiter.encode(), max_splits=width - 1, reverse=form.split == "right")
    found = pc.list_value_length(parts)
    fits = pc.equal(found, width)
    bad = []
    if not pc.all(fits).as_py():
        wrong = np.flatnonzero(~fits.to_numpy(zero_copy_only=False))
        for row in wrong.tolist():
            reason = f"{found[row].as_py() - 1} of {width - 1} delimiters {form.delimiter!r}"
            bad.append(BadRow(row + 1, reason, shown(lines[row].as_py())))
        parts, numbers = parts.filter(fits), np.delete(numbers, wrong)
    values = parts.flatten()
    rows = np.arange(0, len(values), width)
    columns = [values.take(pa.array(rows + column)) for column in range(width)]
    columns[-1] = _without_line_end(columns[-1])
    if form.strip:
        columns[1:] = [_without_first_space(column) for column in columns[1:]]
    return Fields(columns, numbers, bad)


def cut_rows(block: Block, form: ResultFormat, width: int) -> Fields:
    """Cut quoted records; quoted line ends and lone carriage returns stay in their fields."""
    text, stand_in = hide_carriage_returns(block, form)
    starts = record_starts(text)
    # pyarrow removes a byte order mark at the start of what it reads; here it is data.
    whole = BYTE_ORDER_MARK + text if text.startswith(BYTE_ORDER_MARK) else text
    wrong: dict[int, csv.InvalidRow] = {}

    def skip(row: csv.InvalidRow) -> str:
        wrong[row.number - 1] = row
        return "skip"

    names = [str(column) for column in range(width)]
    table = csv.read_csv(
        pa.py_buffer(whole),
        read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=len(whole) + 1),
        parse_options=csv.ParseOptions(
            delimiter=form.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), null_values=[""], strings_can_be_null=True
        ),
    ).combine_chunks()
    columns = [_whole(table.column(name)) for name in names]
    lines, ends = starts.lines, np.append(starts.offsets[1:], len(text))
    records = [text[start:end] for start, end in zip(starts.offsets, ends, strict=True)] if wrong or width > 1 else []
    kept: Mask = np.ones(len(lines), bool)
    bad = []
    for number, record in enumerate(records):
        if number in wrong:
            reason = f"{wrong[number].actual_columns} fields instead of {width}"
        elif width > 1 and record in (b"\n", b"\r\n", b""):
            reason = f"an empty line instead of {width} fields"
        else:
            continue
        kept[number] = False
        bad.append(BadRow(int(lines[number]), reason, shown(record)))
    if bad:
        parsed = np.setdiff1d(np.arange(len(lines)), list(wrong))
        columns = [column.filter(pa.array(kept[parsed])) for column in columns]
    if stand_in:
        columns = [pc.replace_substring(column, stand_in, b"\r") for column in columns]
    return Fields(columns, lines[kept], bad)


@dataclass(frozen=True)
class Starts:
    """Where the records of a block start: byte offsets, and line numbers from 1."""

    offsets: Ordinals
    lines: Ordinals


def record_starts(block: Block) -> Starts:
    """Find the records of a quoted block: line ends after an even number of quotes."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    quotes = np.searchsorted(np.flatnonzero(data == ord('"')), ends)
    real = quotes % 2 == 0
    offsets = np.concatenate([[0], ends[real] + 1])
    lines = np.concatenate([[1], np.flatnonzero(real) + 2])
    keep = offsets < len(block)
    return Starts(offsets[keep], lines[keep])


def first_record(block: Block, delimiter: str | None) -> tuple[str, ...]:
    """Return the fields of the first record of a quoted block.

    :raises FormatError: a field is longer than names may be (128 KB).
    """
    start = quotes = 0
    while end := block.find(b"\n", start) + 1:
        quotes += block.count(b'"', start, end)
        if quotes % 2 == 0:
            break
        start = end
    record = block[: end or len(block)].decode("utf-8", "replace").rstrip("\r\n")
    try:
        return tuple(next(standard_csv.reader(io.StringIO(record, newline=""), delimiter=delimiter or " "), [""]))
    except standard_csv.Error as error:
        raise FormatError(f"The first record cannot be read: {error}; say header=False and columns") from None


def line_array(block: Block) -> pa.Array:
    """Return the lines of a block, their line ends with them, without copying the text."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    if not len(ends) or ends[-1] != len(block):
        ends = np.append(ends, len(block))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)])


def hide_carriage_returns(block: Block, form: ResultFormat) -> tuple[Block, bytes | None]:
    """Replace carriage returns that are data by a character that does not occur, so that pyarrow keeps them.

    pandas writes a lone carriage return without quotes. In files that scripts write themselves it ends lines.

    :returns: the text, and the character (None when nothing was replaced).
    """
    if form.kind == "csv" or b"\r" not in block:
        return block, None
    stand_in = next(char for char in _STAND_INS if char not in block)
    return block.replace(b"\r", stand_in), stand_in


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _without_line_end(column: pa.Array) -> pa.Array:
    ended = pc.ends_with(column, b"\n")
    return pc.if_else(ended, pc.binary_replace_slice(column, -1, _TO_END, b""), column)


def _without_first_space(column: pa.Array) -> pa.Array:
    spaced = pc.starts_with(column, b" ")
    if not pc.any(spaced).as_py():
        return column
    return pc.if_else(spaced, pc.binary_replace_slice(column, 0, 1, b""), column)
