"""Rows that repeat a key: which they are, and the table without them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.hashes import Hashes, hash_keys
from airflow_provider_amlbatch.results.keys import member
from airflow_provider_amlbatch.results.reconcile import SHOWN


class Doubles:
    """The rows whose hash occurs more than once, told apart by a second, independent hash.

    Two keys that share both hashes are one in 10^38; memory is 24 bytes for each row that shares its key.
    """

    def __init__(self, repeated: Hashes) -> None:
        self._repeated = repeated
        self._first: list[Hashes] = []
        self._second: list[Hashes] = []
        self._ordinals: list[Ordinals] = []
        self._examples: dict[str, int] = {}
        self._sorted: tuple[Ordinals, Ordinals] | None = None

    def add(self, start: int, hashes: Hashes, keys: pa.RecordBatch) -> None:
        """Take rows from ordinal ``start`` on."""
        mine = member(hashes, self._repeated)
        if not mine.any():
            return
        chosen = keys.filter(pa.array(mine))
        self._first.append(hashes[mine])
        self._second.append(hash_keys(chosen.columns, 1))
        self._ordinals.append(start + np.flatnonzero(mine))
        for row in chosen.slice(0, SHOWN).to_pylist():
            if len(self._examples) < SHOWN:
                self._examples.setdefault(", ".join(map(str, row.values())), 0)

    def to_drop(self, keep: str | None) -> Ordinals:
        """The rows to leave out, sorted."""
        if keep in (None, "all", "error") or not self._ordinals:
            return np.empty(0, np.int64)
        if self._sorted is None:
            first, second = np.concatenate(self._first), np.concatenate(self._second)
            ordinals = np.concatenate(self._ordinals)
            order = np.lexsort((ordinals, second, first))
            same = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
            ordered = ordinals[order]
            self._sorted = np.sort(ordered[1:][same]), np.sort(ordered[:-1][same])
        return self._sorted[0] if keep == "first" else self._sorted[1]

    def examples(self) -> tuple[str, ...]:
        """Some of the keys."""
        return tuple(self._examples)


def without(batch: pa.RecordBatch, start: int, drop: Ordinals) -> pa.RecordBatch:
    """Leave the dropped rows out of a batch whose first row has ordinal ``start``."""
    low, high = (int(np.searchsorted(drop, at)) for at in (start, start + batch.num_rows))
    if low == high:
        return batch
    kept: Mask = np.ones(batch.num_rows, bool)
    kept[drop[low:high] - start] = False
    return batch.filter(pa.array(kept))
