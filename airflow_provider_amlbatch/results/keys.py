"""Sets of keys in little memory: runs of 64-bit hashes, on disk once there are many, sorted a part at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.hashes import Hashes

#: Hashes that are sorted together (1 MB), in the processor's cache.
RUN = 1 << 17
#: Hashes that stay in memory (24 MB), a multiple of :data:`RUN`; the others go to a file.
HELD = 3 << 20
#: Parts that the key space is cut into, by the highest bits of the hash.
PARTS = 64
_BOUNDS = np.arange(1, PARTS, dtype=np.uint64) << np.uint64(58)


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


@dataclass
class Fingerprint:
    """What tells bags of hashes apart without a look into them: their number, sum and sum of squares modulo 2^64.

    For different bags all three agree less often than two different keys have one hash.
    """

    size: int = 0
    sum: int = 0
    squares: int = 0

    def add(self, hashes: Hashes) -> None:
        """Add hashes, in whatever order."""
        self.size += len(hashes)
        self.sum = (self.sum + int(hashes.sum())) % 2**64
        self.squares = (self.squares + int(hashes.dot(hashes))) % 2**64


class KeySet:
    """A bag of hashes that grows without bound in bounded memory. Close it to free its file."""

    def __init__(self, run: int = RUN, held: int = HELD) -> None:
        # One array for all that stays: fresh memory costs more than what is done with it.
        self._held: Hashes = np.empty(held, np.uint64)
        self._tail: Hashes = np.empty(run, np.uint64)
        self._run, self._size = run, 0
        self._file = tempfile.TemporaryFile(prefix="amlbatch-keys-")  # noqa: SIM115  closed by close()
        self.fingerprint = Fingerprint()
        self._bounds: list[Ordinals] = []

    def __enter__(self) -> KeySet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._size

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    def add(self, hashes: Hashes) -> None:
        """Add hashes."""
        self.fingerprint.add(hashes)
        while len(hashes):
            beyond = self._size - len(self._held)
            room = self._held[self._size :] if beyond < 0 else self._tail[beyond % self._run :]
            some, hashes = hashes[: len(room)], hashes[len(room) :]
            room[: len(some)] = some
            self._size += len(some)
            if beyond >= 0 and len(some) == len(room):
                self._write(self._tail, self._size - self._run)

    def arrange(self, pool: Executor) -> None:
        """Sort runs of hashes, which :meth:`part` needs; nothing can be added any more."""
        self._bounds = list(pool.map(self._sort, range(0, len(self), self._run)))

    def part(self, number: int, *others: KeySet) -> Part:
        """Return one part of the distinct hashes. Threads may ask for different ones.

        :param others: bags whose hashes count as well.
        """
        found = [hashes for bag in (self, *others) for hashes in bag._runs(number)]
        hashes = np.concatenate([np.empty(0, np.uint64), *found])
        hashes.sort()
        repeats = hashes[1:] == hashes[:-1]
        if not repeats.any():
            return Part(hashes)
        first = np.flatnonzero(np.concatenate([[True], ~repeats]))
        distinct = hashes[first]
        return Part(distinct, distinct[np.diff(first, append=len(hashes)) > 1])

    def _sort(self, start: int) -> Ordinals:
        """Sort the run that begins with this hash, and tell where its parts do."""
        run = self._read(start, min(start + self._run, len(self)))
        if self._is_filed(start):
            run = np.sort(run)
            self._write(run, start)
        else:
            run.sort()
        bounds: Ordinals = np.concatenate([[0], np.searchsorted(run, _BOUNDS), [len(run)]])
        return bounds

    def _runs(self, part: int) -> Iterator[Hashes]:
        for number, bounds in enumerate(self._bounds):
            start = number * self._run
            yield self._read(start + int(bounds[part]), start + int(bounds[part + 1]))

    def _read(self, start: int, end: int) -> Hashes:
        beyond = start - len(self._held)
        if beyond < 0:
            return self._held[start:end]
        if not self._is_filed(start):
            return self._tail[beyond % self._run : beyond % self._run + end - start]
        found: Hashes = np.frombuffer(os.pread(self._file.fileno(), 8 * (end - start), 8 * beyond), np.uint64)
        return found

    def _is_filed(self, start: int) -> bool:
        """Tell whether the run that holds this hash is in the file: beyond those held, and whole."""
        beyond = start - len(self._held)
        return beyond >= 0 and beyond // self._run < (self._size - len(self._held)) // self._run

    def _write(self, hashes: Hashes, start: int) -> None:
        data, at = hashes.data.cast("B"), 8 * (start - len(self._held))
        while data:
            size = os.pwrite(self._file.fileno(), data, at)
            data, at = data[size:], at + size
