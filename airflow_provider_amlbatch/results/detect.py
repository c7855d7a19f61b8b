"""Find out from a sample how rows are written, and complete a format to a layout."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.results import convert
from airflow_provider_amlbatch.results.blocks import record_end, shown
from airflow_provider_amlbatch.results.errors import BadRow, BadRows, EmptyResult, FormatError, FormatNotDetected
from airflow_provider_amlbatch.results.fields import BYTE_ORDER_MARK, cut, first_record
from airflow_provider_amlbatch.results.format import Layout, ResultFormat, arrow_type

#: How an object with a name in it begins, in JSON or in Python.
_OBJECT = re.compile(rb"""\{\s*["'}]""")
#: Bytes of each of the samples: the beginning, the middle and the end of a file.
SAMPLE_SIZE = 64 << 10
#: Records of a sample that are looked at to detect a format.
RECORDS = 200


def samples(stream: BinaryIO, size: int | None) -> list[bytes]:
    """Take whole lines from the beginning of a stream and, where it can seek and is long, its middle and end.

    :param size: length in bytes; None when it is not known.
    """
    found = [_whole_lines(stream.read(SAMPLE_SIZE), stream)]
    if size is not None and size > 4 * SAMPLE_SIZE and stream.seekable():
        for start in (size // 2, size - SAMPLE_SIZE):
            stream.seek(start)
            data = stream.read(SAMPLE_SIZE)
            found.append(data[data.find(b"\n") + 1 : data.rfind(b"\n") + 1])
    if not found[0]:
        raise EmptyResult("The output is empty: there is not a single row")
    return found


def detect(sample: bytes) -> ResultFormat:
    """Detect how the rows of a sample are written.

    An opening brace at the start of each line: JSON objects. A colon and a space in each line outside quotes: lines.
    Else the delimiter (space, comma, tab, semicolon, bar) that gives each record the same number of fields, more than
    one: rows. A colon in each line: lines. Else whole lines.

    :raises FormatNotDetected: lines are neither; the message shows them.
    """
    if _are_objects(sample.splitlines()[:RECORDS]):
        return ResultFormat.json_lines()
    lines = sample.decode("utf-8", "replace").splitlines()[:RECORDS]
    bare = [_without_quoted(line) for line in lines]
    if all(": " in line for line in bare):
        return ResultFormat.lines(":")
    counts: dict[str, dict[int, int]] = {}
    for delimiter in (" ", ",", "\t", ";", "|"):
        found = _widths(sample, delimiter)
        counts[delimiter] = found
        if len(found) == 1 and next(iter(found)) > 1:
            return ResultFormat.rows(delimiter)
    if all(":" in line for line in bare):
        return ResultFormat.lines(":")
    if not any(delimiter in line for line in bare for delimiter in ":,\t;| "):
        return ResultFormat.lines(None)
    raise FormatNotDetected(_not_detected(lines, counts))


def complete(form: ResultFormat, found: Sequence[bytes], source: str = "", *, whole: bool = False) -> Layout:
    """Find the columns and types that the format leaves open.

    :param found: samples of whole lines, the first one from the beginning of the file.
    :param whole: True when the first sample is all of the file.
    :raises BadRows: the first sample has not a single row that fits the format.
    :raises EmptyResult: there is a header and no row.
    :raises FormatError: the header has another number of columns than the format.
    """
    first = found[0].removeprefix(BYTE_ORDER_MARK) if form.kind == "csv" else found[0]
    header = first_record(first, form.delimiter) if form.header else ()
    if header and form.columns and len(header) != len(form.columns):
        raise FormatError(
            f"columns names {len(form.columns)} of them ({', '.join(form.columns)}), but the header has {len(header)} "
            f"({', '.join(header)}): name as many"
        )
    columns = form.columns or (ResultFormat.rows(" ", header).columns if header else None) or _numbered(form, first)
    values: list[list[pa.Array]] = [[] for _ in columns]
    bad: list[BadRow] = []
    rows = 0
    for number, sample in enumerate([first, *found[1:]]):
        if not sample or (number and form.quoted and b'"' in sample):
            continue  # a sample from the middle may begin inside a quoted field
        pieces = cut(sample, form, len(columns))
        bad += pieces.bad if number == 0 else []
        strings = [_decoded(column) for column in pieces.columns]
        if header:
            is_row = pa.array(~convert.header_rows(strings, header))
            strings = [column.filter(is_row) for column in strings]
        rows += len(strings[0])
        for texts, column in zip(values, strings, strict=True):
            texts.append(column.drop_null())
    found_texts = [pa.concat_arrays([pa.array([], pa.string()), *texts]) for texts in values]
    if bad and not any(map(len, found_texts)):
        shown_rows = [replace(row, source=source) for row in bad[:10]]
        raise BadRows(f"Not one row fits {form.kind} separated by {form.delimiter!r}, columns {columns}:", shown_rows)
    if whole and not rows:
        raise EmptyResult(f"{source or 'The output'} has a header and not a single row")
    types = _types(form, columns, found_texts)
    return Layout(form, types, frozenset(name for name in columns if name not in form.dtypes), header)


def _types(form: ResultFormat, columns: Sequence[str], values: Sequence[pa.Array]) -> Mapping[str, pa.DataType]:
    ignored = pa.array(convert.missing_words(form))
    types = {}
    for number, (name, texts) in enumerate(zip(columns, values, strict=True)):
        if name in form.dtypes:
            types[name] = arrow_type(form.dtypes[name])
        elif form.kind == "lines" and number == 0 and len(columns) > 1:
            types[name] = pa.string()
        else:
            trimmed = pc.utf8_trim_whitespace(texts)
            types[name] = convert.infer(trimmed.filter(pc.invert(pc.is_in(trimmed, ignored))))
    return types


def _numbered(form: ResultFormat, sample: bytes) -> tuple[str, ...]:
    return tuple(f"column_{number}" for number in range(len(first_record(sample, form.delimiter))))


def _decoded(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        values = column.to_pylist()
        return pa.array([value and value.decode("utf-8", "replace") for value in values], pa.string())


def _are_objects(lines: Sequence[bytes]) -> bool:
    """Whether the lines are JSON objects.

    :raises FormatNotDetected: they look like objects of Python; other texts in braces are none of this.
    """
    if not all(_OBJECT.match(line) for line in lines):
        return False
    for line in lines:
        try:
            json.loads(line)
        except ValueError as error:
            raise FormatNotDetected(
                "The first lines begin as objects do, but are not one JSON object each: let the script return "
                "json.dumps(...), or say the format, for example ResultFormat.lines(None, ['prediction']). "
                f"{error}: {shown(line)[:120]!r}"
            ) from None
    return True


def _widths(sample: bytes, delimiter: str) -> dict[int, int]:
    """Count fields: the first record (from 1) with each width."""
    text = sample[: record_end(sample, quoted=True) or len(sample)].decode("utf-8", "replace")
    found: dict[int, int] = {}
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1):
            found.setdefault(len(fields), number)
            if number == RECORDS:
                break
    except csv.Error:
        found[0] = number + 1 if found else 1
    return found


def _without_quoted(line: str) -> str:
    return "".join(line.split('"')[::2])


def _not_detected(lines: list[str], counts: dict[str, dict[int, int]]) -> str:
    found = "; ".join(
        f"{delimiter!r}: " + ", ".join(f"{width} fields first in record {at}" for width, at in widths.items())
        for delimiter, widths in counts.items()
        if len(widths) > 1
    )
    head = "\n  ".join(f"line {number}: {shown(line.encode())[:120]!r}" for number, line in enumerate(lines[:5], 1))
    return (
        "The format is not to be seen from the first lines; say it, for example "
        f"ResultFormat.lines(delimiter=':', columns=['name', 'prediction']). Fields by delimiter: {found}\n  {head}"
    )


def _whole_lines(data: bytes, stream: BinaryIO) -> bytes:
    """Cut a sample after its last line end; read on when not even one line is in it."""
    while b"\n" not in data and len(data) < 16 * SAMPLE_SIZE:
        more = stream.read(SAMPLE_SIZE)
        if not more:
            return data
        data += more
    return data[: record_end(data, quoted=True) or data.rfind(b"\n") + 1] or data
