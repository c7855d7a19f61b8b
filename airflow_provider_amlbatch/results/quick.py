"""Read one block of text into a record batch: pyarrow's CSV reader, and :mod:`.fields` where that gives up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airflow_provider_amlbatch.results import convert
from airflow_provider_amlbatch.results.arrays import Mask
from airflow_provider_amlbatch.results.blocks import Block, count, pairs, shown
from airflow_provider_amlbatch.results.errors import BadRow
from airflow_provider_amlbatch.results.fields import BYTE_ORDER_MARK, cut, hide_carriage_returns
from airflow_provider_amlbatch.results.format import Layout


@dataclass(frozen=True)
class Parsed:
    """What a block holds.

    :param bad: rows left out; their lines are relative to the block, from 1.
    :param lines: line ends in the block.
    :param wider: types that inferred columns should have had, with a row that shows it.
    """

    batch: pa.RecordBatch
    bad: list[BadRow]
    lines: int
    wider: dict[str, tuple[str, BadRow]] = field(default_factory=dict)


def parse_block(block: Block, layout: Layout) -> Parsed:
    """Read a block of whole records."""
    batch = _quickly(block, layout)
    if batch is None:
        return _exactly(block, layout)
    lines = count(block, b"\n") if layout.format.quoted and b'"' in block else batch.num_rows
    return Parsed(batch, [], lines)


def _quickly(block: Block, layout: Layout) -> pa.RecordBatch | None:
    """Let pyarrow read the block; None when that might not be exact, or does not succeed."""
    form = layout.format
    if not _is_plain(block, layout):
        return None
    lines = form.kind == "lines"
    text, stand_in = (block, None) if lines else hide_carriage_returns(block, form)
    if text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text  # pyarrow removes one at the start of what it reads; here it is data
    late = _converted_late(layout)
    types = {name: pa.string() if name in late else dtype for name, dtype in layout.types.items()}
    try:
        columns = _read(text, layout, types)
    except pa.ArrowInvalid:
        return None
    for number, (name, dtype) in enumerate(layout.types.items()):
        if lines and number and form.strip and pa.types.is_string(columns[number].type):
            columns[number] = _without_first_space(columns[number])
        if stand_in and pa.types.is_string(dtype):
            columns[number] = pc.replace_substring(columns[number], stand_in.decode(), "\r")
        if name in late:
            if pa.types.is_integer(dtype) and convert.has_leading_zeros(columns[number]):
                return None
            columns[number], bad = convert.typed(columns[number], dtype, form)
            if bad:
                return None
    if layout.header and _holds_header(columns, layout):
        return None
    return pa.RecordBatch.from_arrays(columns, schema=layout.schema)


def _is_plain(block: Block, layout: Layout) -> bool:
    """Tell whether pyarrow's reader can be trusted with the block."""
    delimiter = layout.format.delimiter
    if delimiter is None or len(delimiter) != 1 or not delimiter.isascii():
        return False
    if layout.format.kind == "lines" and (delimiter in '"\r' or b"\r" in block):
        return False
    if len(layout.types) == 1:
        return True
    return not block.startswith(b"\n") and not len(pairs(block, b"\n\n"))  # for pyarrow: rows of missing values


def _read(text: Block, layout: Layout, types: dict[str, pa.DataType]) -> list[pa.Array]:
    form = layout.format
    lines = form.kind == "lines"
    missing = convert.missing_words(form)
    table = csv.read_csv(
        pa.py_buffer(text),
        read_options=csv.ReadOptions(column_names=layout.columns, use_threads=False, block_size=len(text) + 1),
        parse_options=csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char=False if lines else '"',
            newlines_in_values=not lines and b'"' in text,
            ignore_empty_lines=False,
        ),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[*missing, *(f" {word}" for word in missing)] if lines else missing,
            strings_can_be_null=not lines,
        ),
    )
    return [_one(column) for column in table.columns]


def _exactly(block: Block, layout: Layout) -> Parsed:
    form = layout.format
    pieces = cut(block, form, len(layout.types))
    ok: Mask = np.ones(len(pieces.lines), bool)
    reasons: dict[int, str] = {}
    wider: dict[str, tuple[str, BadRow]] = {}
    arrays = []
    strings = []
    for name, column in zip(layout.columns, pieces.columns, strict=True):
        decoded, broken = convert.texts(column)
        reasons |= dict.fromkeys(broken, f"{name} is not UTF-8")
        strings.append(decoded)
    if layout.header:
        ok &= ~convert.header_rows(strings, layout.header)
    for (name, dtype), decoded in zip(layout.types.items(), strings, strict=True):
        array, failed = convert.typed(decoded, dtype, form)
        if name in layout.inferred and pa.types.is_integer(dtype):
            failed = sorted({*failed, *convert.leading_zeros(decoded)})
        for row in failed:
            if not ok[row]:
                continue
            value = decoded[row].as_py()
            reason = f"{name}={value[:60]!r} is no {dtype}"
            better = convert.wider(value.strip(), dtype) if name in layout.inferred else None
            if better and wider.get(name, ("double",))[0] != "string":
                wider[name] = (better, BadRow(int(pieces.lines[row]), reason, value))
            reasons.setdefault(row, reason)
        arrays.append(array)
    bad = list(pieces.bad)
    if reasons:
        bad += [
            BadRow(int(pieces.lines[row]), reason, _text(pieces.columns, row, form.delimiter))
            for row, reason in reasons.items()
            if ok[row]
        ]
        ok[list(reasons)] = False
    batch = pa.RecordBatch.from_arrays(arrays, schema=layout.schema)
    if not ok.all():
        batch = batch.filter(pa.array(ok))
    return Parsed(batch, sorted(bad, key=lambda row: row.line), block.count(b"\n"), wider)


def _converted_late(layout: Layout) -> set[str]:
    """Columns that are read as strings first.

    Inferred integers, because pyarrow's reader takes ``007`` for 7; and in lines what it does not convert when a space
    precedes the value.
    """
    found = {name for name in layout.inferred if pa.types.is_integer(layout.types[name])}
    if layout.format.kind == "lines":
        found |= {
            name
            for name, dtype in layout.types.items()
            if not (pa.types.is_string(dtype) or pa.types.is_integer(dtype) or pa.types.is_floating(dtype))
        }
    return found


def _holds_header(columns: list[pa.Array], layout: Layout) -> bool:
    texts = [(column, name) for column, name in zip(columns, layout.header, strict=True) if column.type == pa.string()]
    return bool(texts) and all(pc.any(pc.equal(column, name)).as_py() for column, name in texts)


def _without_first_space(column: pa.Array) -> pa.Array:
    spaced = pc.starts_with(column, " ")
    if not pc.any(spaced).as_py():
        return column
    return pc.if_else(spaced, pc.utf8_slice_codeunits(column, 1), column)


def _text(columns: list[pa.Array], row: int, delimiter: str | None) -> str:
    values = [column[row].as_py() or b"" for column in columns]
    return shown((delimiter or " ").encode().join(values))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])
