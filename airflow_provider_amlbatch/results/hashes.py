"""Hash keys and names of rows to 64 bits each, whole columns at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.reconcile import Match

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

#: Longer keys are hashed one by one.
_LONG = 256

#: Rows that are hashed at once.
_PIECE = 1 << 14

_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_MIX = np.uint64(0xD6E8FEB86659FD93)
#: Its multiples up to 8 differ in their highest byte, which is free in texts of fewer than 8 bytes: no two short texts
#: of different lengths become one word, as they would if the length itself were mixed in ("" and "\x01").
_LENGTH = np.uint64(0xA0761D6478BD642F)
_HALF = np.uint64(32)


def hash_keys(columns: Sequence[pa.Array], seed: int = 0) -> Hashes:
    """Hash the rows of one or more columns to 64 bits each.

    The hash is not for adversaries; two seeds give independent hashes, so that a collision in one can be told.
    """
    total: Hashes | None = None
    for column in columns:
        hashes = np.concatenate([_hash(_spans(piece), _SEEDS[seed]) for piece in _pieces(column)])
        total = hashes if total is None else _mixed(total * _SEEDS[1 - seed] ^ hashes)
    assert total is not None
    return total


def hash_names(names: pa.Array, match: Match) -> Hashes:
    """Hash what is compared of paths; what has nothing to cut off hashes as :func:`hash_keys` does."""
    if match == "path":
        return hash_keys([names])
    stem = match == "stem"
    hashes: Hashes = np.concatenate([_hash(_last_parts(piece, stem=stem), _SEEDS[0]) for piece in _pieces(names)])
    return hashes


def matched(names: pa.Array, match: Match) -> pa.Array:
    """Reduce paths to the part that is compared."""
    if match == "path":
        return names
    if pc.any(pc.match_substring(names, "/")).as_py():
        names = pc.replace_substring_regex(names, r"^(?s:.*)/", "")
    return pc.replace_substring_regex(names, r"(?s:(.))\.[^.]*$", r"\1") if match == "stem" else names


def as_texts(column: pa.Array) -> pa.Array:
    """Write values as texts, as they are hashed."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def may_be_path(names: pa.Array) -> bool:
    """Tell whether there is a slash in a string column."""
    return bool(pc.any(pc.match_substring(names, "/")).as_py())


def _pieces(column: pa.Array) -> list[pa.Array]:
    """Cut a column so that a piece and what is derived from it fit the processor's cache."""
    texts = as_texts(column)
    return [texts.slice(start, _PIECE) for start in range(0, max(1, len(texts)), _PIECE)]


@dataclass(frozen=True)
class _Spans:
    """Texts as spans of bytes. Eight more bytes than needed stand on either side of the content."""

    content: np.ndarray[Any, np.dtype[np.uint8]]
    starts: Ordinals
    lengths: Ordinals
    nulls: Mask | None


def _spans(texts: pa.Array) -> _Spans:
    rows = len(texts)
    _, offset_buffer, data = texts.buffers()
    if not rows or data is None:
        offsets: Ordinals = np.zeros(rows + 1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + rows + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    content: np.ndarray[Any, np.dtype[np.uint8]] = np.zeros(last - first + 16, np.uint8)
    if last > first:
        content[8:-8] = np.frombuffer(data, np.uint8)[first:last]
    nulls = pc.is_null(texts).to_numpy(zero_copy_only=False) if texts.null_count else None
    return _Spans(content, offsets[:-1] - (first - 8), np.diff(offsets), nulls)


def _last_parts(texts: pa.Array, *, stem: bool) -> _Spans:
    """Find the spans of what follows their last slash, and for stems to what precedes the last dot of that."""
    spans = _spans(texts)
    starts, ends = spans.starts, spans.starts + spans.lengths
    folder = _common_folder(texts, spans)
    slashes = np.empty(0, np.int64) if folder else np.flatnonzero(spans.content == ord("/"))
    starts = starts + folder
    if len(slashes):
        last = np.append(-1, slashes)[np.searchsorted(slashes, ends)]
        starts = np.maximum(starts, last + 1)
    if stem:
        dots = np.flatnonzero(spans.content == ord("."))
        last = np.append(-1, dots)[np.searchsorted(dots, ends)]
        ends = np.where(last > starts, last, ends)
    return _Spans(spans.content, starts, ends - starts, spans.nulls)


def _common_folder(texts: pa.Array, spans: _Spans) -> int:
    """Return how many bytes the folder takes that all paths lie in and none leaves, 0 when there is no such folder."""
    if not len(texts) or not texts[0].is_valid:
        return 0
    folder, slash, _ = texts[0].as_py().rpartition("/")
    size = len((folder + slash).encode())
    if not slash or int(spans.lengths.min()) <= size:
        return 0
    if np.count_nonzero(spans.content == ord("/")) != (folder.count("/") + 1) * len(texts):
        return 0
    return size if pc.all(pc.starts_with(texts, folder + slash)).as_py() else 0


def _hash(spans: _Spans, seed: np.uint64) -> Hashes:
    """Mix the words of 8 bytes of each span, the last of them overlapping the one before."""
    starts, lengths = spans.starts, spans.lengths
    if not len(starts):
        return np.empty(0, np.uint64)
    words = np.lib.stride_tricks.as_strided(spans.content[:8].view(np.uint64), (len(spans.content) - 7,), (1,))
    shortest, longest = int(lengths.min()), int(lengths.max())
    # Texts of one length that lie side by side are strides of the content: nothing has to be looked up.
    apart = int(starts[1] - starts[0]) if len(starts) > 1 else 1
    in_step = shortest == longest and apart > 0 and bool((np.diff(starts) == apart).all())

    def words_at(offset: int | Ordinals) -> Hashes:
        if in_step and isinstance(offset, int):
            strided: Hashes = words[int(starts[0]) + offset :: apart][: len(starts)]
            return strided
        found: Hashes = words[starts + offset]
        return found

    last = words_at(longest - 8 if in_step else lengths - 8)
    if shortest < 8:  # bytes of the neighbour precede a short text: shift them out
        foreign = np.clip(8 - lengths, 0, 8).astype(np.uint64) * np.uint64(8)
        last = np.where(foreign > 63, np.uint64(0), last >> np.minimum(foreign, np.uint64(63)))
    hashes = (last ^ lengths.astype(np.uint64) * _LENGTH) * seed
    for at in range(0, min(longest, _LONG) - 8, 8):
        inner = lengths > at + 8
        if inner.all():
            hashes = _mixed(hashes)
            hashes ^= words_at(at)
            hashes *= seed
        else:
            hashes[inner] = (_mixed(hashes[inner]) ^ words[starts[inner] + at]) * seed
    long = np.flatnonzero(lengths > _LONG)
    if len(long):
        whole = [spans.content[starts[row] : starts[row] + lengths[row]].tobytes() for row in long]
        digests = b"".join(hashlib.blake2b(key, digest_size=8).digest() for key in whole)
        hashes[long] ^= np.frombuffer(digests, np.uint64) * seed
    if spans.nulls is not None:
        hashes[spans.nulls] = _MIX
    return _mixed(hashes)


def _mixed(hashes: Hashes) -> Hashes:
    mixed: Hashes = hashes >> _HALF
    mixed ^= hashes
    mixed *= _MIX
    return mixed
