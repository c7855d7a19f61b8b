"""Turn columns of bytes into typed columns, and infer types from samples."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.results.arrays import Mask
from airflow_provider_amlbatch.results.format import ResultFormat

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_ANY_WHOLE = re.compile(r"[+-]?[0-9]+")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_NUMBER = re.compile(r"(?i)[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf(inity)?)")
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = re.compile(_DAY + r"([ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.(?P<fraction>[0-9]{1,9}))?)?")
_ZONED = re.compile(_DAY + r"[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.(?P<fraction>[0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})")

#: Whole numbers up to here are exact as doubles.
_EXACT = 2**53


def infer(values: pa.Array) -> pa.DataType:
    """Return the type that fits all texts of a sample, none of them missing.

    Numbers with leading zeros are names (``007``), and so are whole numbers that a 64-bit integer cannot hold.
    """
    if not len(values) or _any_name_like(values):
        return pa.string()
    if _all(_WHOLE, values):
        return pa.int64()
    if _all(_NUMBER, values):
        whole = values.filter(pc.match_substring_regex(values, _whole_text(_ANY_WHOLE))).to_pylist()
        return pa.string() if any(abs(int(value)) > _EXACT for value in whole) else pa.float64()
    if pc.all(pc.is_in(values, pa.array(["True", "False"]))).as_py():
        return pa.bool_()
    for pattern, zone in ((_TIME, None), (_ZONED, "UTC")):
        if _all(pattern, values):
            found = map(pattern.fullmatch, values.to_pylist())
            longest = max(len(match["fraction"] or "") for match in found if match)
            return pa.timestamp("ns" if longest > 6 else "us", zone)
    return pa.string()


def _all(pattern: re.Pattern[str], values: pa.Array) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, _whole_text(pattern))).as_py())


def _whole_text(pattern: re.Pattern[str]) -> str:
    return rf"\A(?:{pattern.pattern})\z"


def _any_name_like(values: pa.Array) -> bool:
    numbered = values.filter(pc.match_substring_regex(values, rf"\A(?:{_LEADING_ZERO.pattern})"))
    other = pc.or_(pc.match_substring(numbered, "."), pc.match_substring_regex(numbered, rf"\A{_DAY}"))
    return bool(pc.any(pc.invert(other)).as_py())


def missing_words(form: ResultFormat) -> list[str]:
    """The texts that stand for a missing value in columns that are not strings.

    ``str(None)`` for list elements; ``nan`` stays a NaN of a float.
    """
    return ["", "None"] if form.kind == "lines" else [""]


def texts(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Decode UTF-8; rows that are not UTF-8 come back by number, with a null in their place."""
    try:
        return column.cast(pa.string()), []
    except pa.ArrowInvalid:
        bad = _failing(column, pa.string(), 0)
        return _nulled(column, bad).cast(pa.string()), bad


def typed(column: pa.Array, dtype: pa.DataType, form: ResultFormat) -> tuple[pa.Array, list[int]]:
    """Convert a string column; rows that do not convert come back by number, with a null in their place."""
    if pa.types.is_string(dtype):
        return column, []
    if pa.types.is_large_string(dtype) or pa.types.is_dictionary(dtype):
        return column.cast(dtype), []
    try:
        return pc.cast(column, dtype), []
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.is_in(trimmed, pa.array(missing_words(form))), None, trimmed)
    try:
        return pc.cast(trimmed, dtype), []
    except pa.ArrowInvalid:
        bad = _failing(trimmed, dtype, 0)
        return pc.cast(_nulled(trimmed, bad), dtype), bad


def header_rows(strings: list[pa.Array], header: Sequence[str]) -> Mask:
    """Find rows that repeat the header: with ``header: true`` in settings.json each mini-batch writes its own."""
    same: Mask = np.ones(len(strings[0]), bool)
    for column, name in zip(strings, header, strict=True):
        same &= pc.equal(pc.fill_null(column, ""), name).to_numpy(zero_copy_only=False)
    return same


def wider(value: str, dtype: pa.DataType) -> str | None:
    """Name the type that an inferred column should have had, seeing this value; None when the value is just wrong."""
    if not pa.types.is_integer(dtype):
        return None
    if _LEADING_ZERO.match(value) or re.fullmatch(r"[+-]?[0-9]+", value):
        return "string"
    return "double" if _NUMBER.fullmatch(value) else None


def has_leading_zeros(column: pa.Array) -> bool:
    """Tell whether any number of a string column has leading zeros; blanks around it may hide them."""
    length = pc.binary_length(column)
    positive = pc.and_(pc.starts_with(column, "0"), pc.greater(length, 1))
    negative = pc.and_(pc.starts_with(column, "-0"), pc.greater(length, 2))
    return bool(pc.any(pc.or_(positive, negative)).as_py()) or bool(pc.any(pc.starts_with(column, " ")).as_py())


def leading_zeros(column: pa.Array) -> list[int]:
    """Return the rows of a string column whose numbers have leading zeros."""
    found = pc.match_substring_regex(column, r"^\s*[+-]?0[0-9]")
    rows: list[int] = np.flatnonzero(pc.fill_null(found, False).to_numpy(zero_copy_only=False)).tolist()
    return rows


def _failing(column: pa.Array, dtype: pa.DataType, start: int) -> list[int]:
    """Find the rows that do not convert by halving: a handful of casts when few rows are bad."""
    try:
        column.cast(dtype)
    except pa.ArrowInvalid:
        if len(column) == 1:
            return [start]
        half = len(column) // 2
        return _failing(column[:half], dtype, start) + _failing(column[half:], dtype, start + half)
    return []


def _nulled(column: pa.Array, rows: list[int]) -> pa.Array:
    chosen: Mask = np.zeros(len(column), bool)
    chosen[rows] = True
    return pc.if_else(pa.array(chosen), None, column)
