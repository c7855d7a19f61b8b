"""Hash keys and names of rows to 64 bits each, whole columns at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.results.arrays import Mask
from airflow_provider_amlbatch.results.errors import FormatError
from airflow_provider_amlbatch.results.reconcile import Match

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_Offsets = np.ndarray[Any, np.dtype[np.int32]]

#: Longer keys are hashed one by one.
_LONG = 256
#: Rows that are hashed at once: what is derived from them fits the processor's cache.
_PIECE = 1 << 14

_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_NULLS = (np.uint64(0x8EBC6AF09C88C6E3), np.uint64(0x589965CC75374CC3))
#: Its multiples up to 9 differ in their highest byte, which is free in texts of fewer than 8 bytes: no two short texts
#: of different lengths become one word, as they would if the length itself were mixed in ("" and "\x01").
_LENGTH = np.uint64(0xA0761D6478BD642F)
_SLASH, _DOT = ord("/"), ord(".")


def hash_keys(columns: Sequence[pa.Array], seed: int = 0) -> Hashes:
    """Hash the rows of one or more columns to 64 bits each.

    The hash is not for adversaries; two seeds give independent hashes, so that a collision in one can be told.
    """
    total = _hash_column(columns[0], seed, _spans)
    for column in columns[1:]:
        _mix(total)
        total ^= _hash_column(column, seed, _spans)
    return total


def hash_names(names: pa.Array, match: Match) -> Hashes:
    """Hash what is compared of paths; what has nothing to cut off hashes as :func:`hash_keys` does."""
    if match == "path":
        return hash_keys([names])
    return _hash_column(names, 0, lambda texts: _last_parts(texts, stem=match == "stem"))


def matched(names: pa.Array, match: Match) -> pa.Array:
    """Reduce paths to the part that is compared."""
    if match == "path":
        return names
    if may_be_path(names):
        names = pc.replace_substring_regex(names, r"^(?s:.*)/", "")
    return pc.replace_substring_regex(names, r"(?s:(.))\.[^.]*$", r"\1") if match == "stem" else names


def as_texts(column: pa.Array) -> pa.Array:
    """Write values as texts, as they are hashed.

    :raises FormatError: the values are none that can be compared.
    """
    if pa.types.is_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FormatError(f"Values of type {column.type} cannot be keys: name other columns to compare") from None


def may_be_path(names: pa.Array) -> bool:
    """Tell whether there is a slash in a string column."""
    pieces = (as_texts(names.slice(start, _PIECE)) for start in range(0, len(names), _PIECE))
    return any(_found(_spans(piece).content, _SLASH).any() for piece in pieces)


@dataclass(frozen=True)
class _Spans:
    """Texts as spans of bytes. At least eight bytes precede the first of them."""

    content: _Bytes
    starts: _Offsets
    lengths: _Offsets
    nulls: Mask | None


def _hash_column(column: pa.Array, seed: int, spans: Callable[[pa.Array], _Spans]) -> Hashes:
    hashes: Hashes = np.empty(len(column), np.uint64)
    for start in range(0, len(column), _PIECE):
        texts = as_texts(column.slice(start, _PIECE))
        _hash(spans(texts), seed, hashes[start : start + _PIECE])
    return hashes


def _spans(texts: pa.Array) -> _Spans:
    _, offset_buffer, data = texts.buffers()
    offsets: _Offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    if first >= 8:
        content = np.frombuffer(data, np.uint8)[first - 8 : last]
    else:
        content = np.zeros(last - first + 8, np.uint8)
        if last > first:
            content[8:] = np.frombuffer(data, np.uint8)[first:last]
    nulls = pc.is_null(texts).to_numpy(zero_copy_only=False) if texts.null_count else None
    return _Spans(content, offsets[:-1] - np.int32(first - 8), np.diff(offsets), nulls)


def _last_parts(texts: pa.Array, *, stem: bool) -> _Spans:
    """Find the spans of what follows their last slash, and for stems to what precedes the last dot of that."""
    spans = _spans(texts)
    starts, ends = spans.starts, spans.starts + spans.lengths
    slashes = _found(spans.content, _SLASH)
    if folder := _common_folder(texts, int(spans.lengths.min()), int(np.count_nonzero(slashes))):
        starts = starts + np.int32(folder)
    else:
        starts = np.maximum(starts, _last(slashes, starts, ends) + np.int32(1))
    if stem:
        last = _last(_found(spans.content, _DOT), starts, ends)
        ends = np.where(last > starts, last, ends)
    return _Spans(spans.content, starts, ends - starts, spans.nulls)


def _found(content: _Bytes, byte: int) -> Mask:
    """Mark a byte of the texts."""
    found: Mask = content == byte
    found[:8] = False
    return found


def _last(found: Mask, starts: _Offsets, ends: _Offsets) -> _Offsets:
    """Return the last place before each end that is marked; what lies before the start, or -1, when there is none."""
    each, rest = divmod(int(np.count_nonzero(found)), len(starts))
    if not each:
        return _latest(np.flatnonzero(found), ends)
    if not rest and (step := _step(starts)):  # often names have one length, and the marks the same places in all
        places = starts[0] + np.flatnonzero(found[starts[0] : ends[0]])
        inside = len(places) == each and places[-1] - starts[0] < (ends - starts).min()
        if inside and all(found[place::step][: len(starts)].all() for place in places):
            in_step: _Offsets = np.arange(len(starts), dtype=np.int32) * np.int32(step) + np.int32(places[-1])
            return in_step
    marks = np.flatnonzero(found)
    if not rest and (marks[0::each] >= starts).all() and (marks[each - 1 :: each] < ends).all():
        last: _Offsets = marks[each - 1 :: each].astype(np.int32)
        return last
    return _latest(marks, ends)


def _latest(marks: np.ndarray[Any, np.dtype[np.int64]], ends: _Offsets) -> _Offsets:
    latest: _Offsets = np.append(-1, marks)[np.searchsorted(marks, ends)].astype(np.int32)
    return latest


def _common_folder(texts: pa.Array, shortest: int, slashes: int) -> int:
    """Return how many bytes the folder takes that all paths lie in and none leaves, 0 when there is no such folder."""
    if not slashes or not texts[0].is_valid:
        return 0
    folder, slash, _ = texts[0].as_py().rpartition("/")
    size = len((folder + slash).encode())
    if not slash or shortest <= size or slashes != (folder.count("/") + 1) * len(texts):
        return 0
    return size if pc.all(pc.starts_with(texts, folder + slash)).as_py() else 0


def _hash(spans: _Spans, seed_number: int, hashes: Hashes) -> None:
    """Mix the words of 8 bytes of each span, the last of them overlapping the one before, into ``hashes``."""
    starts, lengths, seed = spans.starts, spans.lengths, _SEEDS[seed_number]
    words: Hashes = np.ndarray((len(spans.content) - 7,), np.uint64, spans.content, strides=(1,))
    shortest, longest = int(lengths.min()), int(lengths.max())
    step = _step(starts) if shortest == longest else 0

    def words_at(offset: int) -> Hashes:
        if step:  # texts of one length at equal distances are strides of the content: nothing has to be looked up
            strided: Hashes = words[int(starts[0]) + offset :: step][: len(starts)]
            return strided
        found: Hashes = words[starts + np.int32(offset)]
        return found

    hashes[:] = words_at(longest - 8) if step else words[starts + (lengths - np.int32(8))]
    if shortest < 8:  # bytes of the neighbour precede a short text: shift them out
        foreign = np.clip(8 - lengths, 0, 8).astype(np.uint64) * np.uint64(8)
        hashes[:] = np.where(foreign > 63, np.uint64(0), hashes >> np.minimum(foreign, np.uint64(63)))
    hashes ^= (lengths + np.int32(1)).astype(np.uint64) * _LENGTH
    hashes *= seed
    for at in range(0, min(longest, _LONG) - 8, 8):
        if shortest > at + 8:
            _mix(hashes)
            hashes ^= words_at(at)
            hashes *= seed
            continue
        inner = np.flatnonzero(lengths > at + 8)
        some = hashes[inner]
        _mix(some)
        hashes[inner] = (some ^ words[starts[inner] + np.int32(at)]) * seed
    long = np.flatnonzero(lengths > _LONG)
    if len(long):
        whole = [spans.content[starts[row] : starts[row] + lengths[row]] for row in long]
        digests = b"".join(hashlib.blake2b(key.data, digest_size=8).digest() for key in whole)
        hashes[long] ^= np.frombuffer(digests, np.uint64) * seed
    if spans.nulls is not None:
        hashes[spans.nulls] = _NULLS[seed_number]
    _mix(hashes)


def _step(starts: _Offsets) -> int:
    """Return the distance of texts that are equally far apart, 0 when they are not."""
    if len(starts) == 1:
        return 1
    distances = np.diff(starts)
    step = int(distances[0])
    return step if step > 0 and bool((distances == step).all()) else 0


def _mix(hashes: Hashes) -> None:
    """Let each bit bear on all of them: after a product with an odd number, only the lower ones bear on the higher."""
    hashes.byteswap(inplace=True)
    hashes *= _MIX
