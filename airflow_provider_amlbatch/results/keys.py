"""Sets of keys in little memory: 64-bit hashes, sorted runs of them on disk once there are many."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.hashes import Hashes

#: Hashes that are sorted together, in the processor's cache (2 MB).
RUN = 1 << 18
#: Hashes that stay in memory; the runs of the others go to a file (32 MB).
HELD = 1 << 22
#: Parts that each run is cut into, by the highest bits of the hash; one part of all runs is in memory at a time.
_PARTS = 64


def member(hashes: Hashes, of: Hashes) -> Mask:
    """Tell which hashes are in a sorted set."""
    if not len(of):
        return np.zeros(len(hashes), bool)
    at = np.minimum(np.searchsorted(of, hashes), len(of) - 1)
    found: Mask = of[at] == hashes
    return found


@dataclass(frozen=True)
class Part:
    """Distinct hashes of one part of the key space, sorted, and those of them that occur more than once."""

    hashes: Hashes
    repeated: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))


class KeySet:
    """A bag of hashes that grows without bound in bounded memory. Close it to free its file."""

    def __init__(self, run: int = RUN, held: int = HELD) -> None:
        self._run, self._pending, self._pending_size = run, list[Hashes](), 0
        self._room, self._runs = held, list[tuple[Hashes | int, Ordinals]]()
        self._file = tempfile.TemporaryFile(prefix="amlbatch-keys-")  # noqa: SIM115  closed by close()
        self._written = 0

    def __enter__(self) -> KeySet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._pending_size and not self._runs

    def add(self, hashes: Hashes) -> None:
        """Add hashes."""
        self._pending.append(hashes)
        self._pending_size += len(hashes)
        if self._pending_size >= self._run:
            self._flush()

    def parts(self, *others: KeySet) -> Iterator[Part]:
        """Go through all distinct hashes, in order, a part at a time.

        :param others: bags whose hashes count as well.
        """
        sets = (self, *others)
        for bag in sets:
            bag._flush()
        for number in range(_PARTS):
            found = [bag._read(where, *bounds[number : number + 2]) for bag in sets for where, bounds in bag._runs]
            hashes = found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.uint64), *found])
            if len(found) > 1:
                hashes.sort()
            repeats = hashes[1:] == hashes[:-1]
            if not repeats.any():
                yield Part(hashes)
                continue
            first = np.flatnonzero(np.concatenate([[True], ~repeats]))
            distinct = hashes[first]
            yield Part(distinct, distinct[np.diff(first, append=len(hashes)) > 1])

    def _flush(self) -> None:
        """Sort what is pending into a run: an array, or the byte at which it begins in the file; and its parts."""
        if not self._pending_size:
            return
        run = np.concatenate(self._pending)
        self._pending, self._pending_size = [], 0
        run.sort()
        inner = np.searchsorted(run, np.arange(1, _PARTS, dtype=np.uint64) << np.uint64(58))
        bounds = np.concatenate([[0], inner, [len(run)]])
        if len(run) <= self._room:
            self._room -= len(run)
            self._runs.append((run, bounds))
            return
        _write(self._file.fileno(), run.data.cast("B"), self._written)
        self._runs.append((self._written, bounds))
        self._written += run.nbytes

    def _read(self, where: Hashes | int, start: int, end: int) -> Hashes:
        if not isinstance(where, int):
            return where[start:end]
        content = os.pread(self._file.fileno(), 8 * int(end - start), where + 8 * int(start))
        found: Hashes = np.frombuffer(content, np.uint64)
        return found


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        size = os.pwrite(file, data, at)
        data, at = data[size:], at + size
