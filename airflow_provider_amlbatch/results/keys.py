"""Sets of keys in little memory: 64-bit hashes, sorted runs of them on disk once there are many."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

#: Hashes that are held in memory before they are sorted and written out (32 MB).
RUN = 1 << 22
#: Parts that each run is cut into, by the highest bits of the hash; one part of all runs is in memory at a time.
_PARTS = 64
#: Longer keys are hashed one by one.
_LONG = 256

_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def hash_keys(columns: Sequence[pa.Array], seed: int = 0) -> Hashes:
    """Hash the rows of one or more columns to 64 bits each.

    The hash is not for adversaries; two seeds give independent hashes, so that a collision in one can be told.
    """
    total: Hashes | None = None
    for column in columns:
        hashes = _hash_texts(column if pa.types.is_string(column.type) else column.cast(pa.string()), _SEEDS[seed])
        total = hashes if total is None else _mixed(total * _SEEDS[1 - seed] ^ hashes)
    assert total is not None
    return total


def _hash_texts(texts: pa.Array, seed: np.uint64) -> Hashes:
    rows = len(texts)
    if not rows:
        return np.empty(0, np.uint64)
    _, offset_buffer, data = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + rows + 1].astype(np.int64)
    first, last = offsets[0], offsets[-1]
    padded = np.zeros(last - first + 8, np.uint8)
    if last > first:
        padded[:-8] = np.frombuffer(data, np.uint8)[first:last]
    words = np.lib.stride_tricks.as_strided(padded[:8].view(np.uint64), (len(padded) - 7,), (1,))
    starts, lengths = offsets[:-1] - first, np.diff(offsets)
    hashes = lengths.astype(np.uint64) * seed
    shortest, longest = int(lengths.min()), int(lengths.max())
    for at in range(0, min(longest, _LONG), 8):
        word = words[np.minimum(starts + at, len(words) - 1)]
        if shortest < at + 8:
            unused = np.clip(at + 8 - lengths, 0, 8).astype(np.uint64) * np.uint64(8)
            word = np.where(unused >= 64, np.uint64(0), word << np.minimum(unused, np.uint64(63)))
            hashes = np.where(lengths > at, _mixed((hashes ^ word) * seed), hashes)
        else:
            hashes = _mixed((hashes ^ word) * seed)
    long = np.flatnonzero(lengths > _LONG)
    if len(long):
        whole = [padded[starts[row] : starts[row] + lengths[row]].tobytes() for row in long]
        digests = b"".join(hashlib.blake2b(key, digest_size=8).digest() for key in whole)
        hashes[long] ^= np.frombuffer(digests, np.uint64) * seed
    if texts.null_count:
        hashes = np.where(pc.is_null(texts).to_numpy(zero_copy_only=False), seed, hashes)
    return _mixed(hashes)


def _mixed(hashes: Hashes) -> Hashes:
    hashes = hashes ^ (hashes >> _HALF)
    hashes *= _MIX
    return hashes


@dataclass(frozen=True)
class Part:
    """Distinct hashes of one part of the key space, sorted, and how often each occurs."""

    hashes: Hashes
    counts: np.ndarray[Any, np.dtype[np.int64]]


class KeySet:
    """A bag of hashes that grows without bound in bounded memory. Close it to free its file."""

    def __init__(self, run: int = RUN) -> None:
        self._run, self._held, self._pending = run, 0, list[Hashes]()
        self._file = tempfile.TemporaryFile(prefix="amlbatch-keys-")  # noqa: SIM115  closed by close()
        self._runs: list[np.ndarray[Any, np.dtype[np.int64]]] = []  # of each run, where its parts begin and end
        self._written = 0

    def __enter__(self) -> KeySet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    def add(self, hashes: Hashes) -> None:
        """Add hashes."""
        self._pending.append(hashes)
        self._held += len(hashes)
        if self._held >= self._run:
            self._flush()

    def parts(self) -> Iterator[Part]:
        """Go through all distinct hashes, in order, a part at a time."""
        self._flush()
        for number in range(_PARTS):
            found = [self._read(*run[number : number + 2]) for run in self._runs]
            hashes = found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.uint64), *found])
            if len(found) > 1:
                hashes.sort()
            first = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]))
            yield Part(hashes[first], np.diff(first, append=len(hashes)))

    def _flush(self) -> None:
        if not self._held:
            return
        run = np.concatenate(self._pending)
        self._pending, self._held = [], 0
        run.sort()
        bounds = np.searchsorted(run, np.arange(1, _PARTS, dtype=np.uint64) << np.uint64(58))
        self._runs.append(self._written + np.concatenate([[0], bounds, [len(run)]]))
        self._file.seek(8 * self._written)
        self._file.write(run.data)
        self._written += len(run)

    def _read(self, start: int, end: int) -> Hashes:
        self._file.seek(8 * int(start))
        found: Hashes = np.frombuffer(self._file.read(8 * int(end - start)), np.uint64)
        return found
