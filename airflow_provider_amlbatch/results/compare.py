"""Compare rows with what they should be: the inputs, the job's own counts, and one row a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.aml.words import counted
from airflow_provider_amlbatch.results.arrays import Ordinals
from airflow_provider_amlbatch.results.doubles import Doubles
from airflow_provider_amlbatch.results.errors import (
    AmbiguousInputs,
    DuplicateKeys,
    ExtraKeys,
    FormatError,
    IncompleteResult,
)
from airflow_provider_amlbatch.results.hashes import Hashes, as_texts, hash_keys, hash_names, matched, may_be_path
from airflow_provider_amlbatch.results.keys import PARTS, Fingerprint, KeySet, member
from airflow_provider_amlbatch.results.reconcile import SHOWN, Match, Reconcile, Reconciliation, first_few

_CHUNK = 1 << 17
#: Hashes of rows that stay in memory (64 MB) when a key is a name, as it usually is.
_HELD = 8 << 20
#: Threads that compare: numpy lets them run side by side.
_THREADS = 2
_NONE: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Findings:
    """The outcome, and which rows are to be left out (sorted ordinals)."""

    reconciliation: Reconciliation
    drop: Ordinals = field(default_factory=lambda: np.empty(0, np.int64))


class Reconciler:
    """Takes all rows once, then says what is wrong with them. Memory does not grow with the rows."""

    def __init__(self, rules: Reconcile, columns: Sequence[str]) -> None:
        self._rules = rules
        self._input_column = rules.input_column or columns[0]
        self._key = list(rules.dedupe_on or [self._input_column])
        unknown = [name for name in [self._input_column, *self._key] if name not in columns]
        if unknown:
            raise FormatError(
                f"dedupe_on and input_column must name columns ({', '.join(columns)}), not {unknown[0]!r}"
            )
        _check_comparable(rules)
        self._same = self._key == [self._input_column]
        self._counts_keys = rules.keep is not None
        self._counts_names = rules.inputs is not None or bool(rules.require_complete)
        self._nameless = False
        # Only a listing may write the name of an input in another way than the rows do.
        self._match: Match = "path" if rules.inputs is None else rules.match
        # Hashes that are both key and name of a row are held once.
        self._both, self._keys, self._names, self._rows = KeySet(held=_HELD), KeySet(), KeySet(), 0
        self._wanted, self._listed, self._closed = KeySet(), Fingerprint(), False
        self._pool = ThreadPoolExecutor(1, "inputs")
        self._listing: Future[None] | None = None

    def __enter__(self) -> Reconciler:
        if self._rules.inputs is not None:
            self._listing = self._pool.submit(self._hash_inputs)
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        self._pool.shutdown()
        for bag in (self._both, self._keys, self._names, self._wanted):
            bag.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        self._rows += batch.num_rows
        raw = as_texts(batch.column(self._input_column))
        self._nameless |= raw.null_count > 0
        if self._counts_keys and self._counts_names and self._same and self._is_whole(raw):
            self._both.add(self._hash_key(batch))
            return
        if self._counts_keys:
            self._keys.add(self._hash_key(batch))
        if self._counts_names:
            self._names.add(hash_names(raw, self._match))

    def finish(self, reread: Callable[[], Iterator[pa.RecordBatch]], rejected: int = 0) -> Findings:
        """Compare.

        :param reread: goes through the same rows again; called only when there is something to name.
        :raises DuplicateKeys: there are duplicates and ``keep`` is ``error``.
        :raises AmbiguousInputs: inputs have one name, and ``require_complete`` or ``keep`` needs them told apart.
        :raises IncompleteResult: fewer inputs than ``require_complete`` have a row, or there is no input at all.
        :raises ExtraKeys: a key is no input, and ``on_extra`` is ``error``.
        """
        compared = self._compare()
        doubles, extra_first = Doubles(compared.repeated), list[str]()
        if len(compared.repeated) or len(compared.extra):
            start = 0
            for batch in reread():
                doubles.add(start, self._hash_key(batch), batch.select(self._key))
                extra_first += self._extra_names(batch, compared.extra, extra_first)
                start += batch.num_rows
        drop, duplicates = doubles.to_drop(self._rules.keep), len(doubles.to_drop("first"))
        known = self._rules.inputs is not None
        ambiguous, their_names = self._ambiguous(compared.shared)
        found = Reconciliation(
            rows=self._rows,
            distinct=self._rows - duplicates if self._counts_keys else None,
            duplicates=duplicates,
            dropped=len(drop),
            rejected=rejected,
            inputs=compared.inputs if known else None,
            missing=len(compared.missing) if known else None,
            extra=len(compared.extra) if known else None,
            ambiguous=ambiguous if known else None,
            duplicates_first=doubles.examples(),
            missing_first=self._first_names(compared.missing),
            extra_first=tuple(extra_first),
            ambiguous_first=self._first_names(their_names),
            listing=self._rules.listing,
            job=self._rules.job,
            complete=self._complete(compared),
        )
        # The key of such a duplicate is a bare name, so it may be another input's row.
        confused = self._same and bool(member(compared.repeated, their_names).any())
        self._judge(found, confused)
        return Findings(found, drop)

    def _judge(self, found: Reconciliation, confused: bool) -> None:
        needed = float(self._rules.require_complete)
        if (found.ambiguous and needed) or (confused and self._rules.keep not in (None, "all")):
            asked = "require_complete" if needed else f"keep={self._rules.keep!r}"
            raise AmbiguousInputs(f"{asked} needs inputs that can be told apart, but {found.ambiguity()}")
        if self._rules.keep == "error" and found.duplicates:
            raise DuplicateKeys(
                f"{counted(found.duplicates, 'row')} with a repeated {', '.join(self._key)}"
                f"{first_few(found.duplicates_first)}; a ParallelRunStep may write rows twice when it retries: "
                "say keep='first' to leave them out"
            )
        if needed and found.inputs == 0:
            raise IncompleteResult(
                f"Nothing tells whether the result is complete: {found.emptiness()}; say where the inputs are, or "
                "leave require_complete out"
            )
        if needed and (found.complete is None or found.complete < needed):
            raise IncompleteResult(
                f"The result is not complete: {found.complete or 0:.2%} of the inputs have a row, {needed:.2%} are "
                f"required. {'. '.join(found.problems())}"
            )
        if self._rules.on_extra == "error" and found.extra:
            raise ExtraKeys(
                f"{counted(found.extra, 'key')} without an input{first_few(found.extra_first)}: rows of another run, "
                "or inputs that are not listed; say on_extra='warn' to let them pass"
            )

    def _complete(self, compared: _Compared) -> float | None:
        """Return the part of the inputs that have a row; by the job's own counts when no listing is there."""
        job = self._rules.job
        if self._rules.inputs is not None:
            return 1 - len(compared.missing) / compared.inputs if compared.inputs else None
        if job is None or job.total_items is None or not self._counts_names:
            return None
        good = min(compared.names - self._nameless, job.total_items - (job.failed_items or 0))
        return good / job.total_items if job.total_items else 1.0

    def _is_whole(self, names: pa.Array) -> bool:
        """Tell whether what is compared of the names is all of them."""
        return self._match == "path" or (self._match == "name" and not may_be_path(names))

    def _hash_key(self, batch: pa.RecordBatch, seed: int = 0) -> Hashes:
        return hash_keys([batch.column(name) for name in self._key], seed)

    def _compare(self) -> _Compared:
        """Count distinct names, find keys that repeat, and compare names with the inputs: one part after another."""
        if self._listing is not None:
            self._listing.result()
        # Usually every key is a name, and every name is there: then one bag tells all that is to be told.
        one_bag = not len(self._keys) and not len(self._names)
        same = self._listing is not None and one_bag and self._both.fingerprint == self._listed
        if not same and len(self._wanted) < self._listed.size:
            self._keep_inputs()
        bags = [self._both] if same else [self._both, self._keys, self._names, self._wanted]

        def compare(number: int) -> _Compared:
            keys = self._keys.part(number, self._both)
            names = keys.hashes if one_bag else self._names.part(number, self._both).hashes
            if self._listing is None or same:
                return _Compared(len(names), keys.repeated, len(names), _NONE, _NONE, keys.repeated if same else _NONE)
            listed = self._wanted.part(number)
            wanted = listed.hashes
            missing, extra = wanted[~member(wanted, names)], names[~member(names, wanted)]
            return _Compared(len(names), keys.repeated, len(wanted), missing, extra, listed.repeated)

        with ThreadPoolExecutor(_THREADS, "compare") as pool:
            for bag in bags:
                bag.arrange(pool)
            parts = list(pool.map(compare, range(PARTS)))
        return _Compared(
            sum(part.names for part in parts),
            np.concatenate([part.repeated for part in parts]),
            sum(part.inputs for part in parts),
            np.concatenate([part.missing for part in parts]),
            np.concatenate([part.extra for part in parts]),
            np.concatenate([part.shared for part in parts]),
        )

    def _hash_inputs(self) -> None:
        for names in self._input_names():
            if self._closed:
                return
            hashes = hash_names(names, self._match)
            self._listed.add(hashes)
            if callable(self._rules.inputs):  # listing anew may cost more than keeping does
                self._wanted.add(hashes)

    def _keep_inputs(self) -> None:
        for names in self._input_names():
            self._wanted.add(hash_names(names, self._match))

    def _input_names(self) -> Iterator[pa.Array]:
        inputs = self._rules.inputs
        listed: Any = inputs() if callable(inputs) else inputs
        if isinstance(listed, pa.Array):
            listed = (listed,)
        names = iter(listed.chunks if isinstance(listed, pa.ChunkedArray) else listed)
        while chunk := list(islice(names, _CHUNK)):
            if not isinstance(chunk[0], pa.Array):
                yield pa.array(chunk, pa.string())
                continue
            for array in chunk:
                yield from (as_texts(array.slice(start, _CHUNK)) for start in range(0, len(array), _CHUNK))

    def _ambiguous(self, shared: Hashes) -> tuple[int, Hashes]:
        """Tell inputs with the name of another one from those that are listed twice.

        Memory is 16 bytes for each input that shares its name.

        :return: how many there are beyond the first of each name, and the hashes of these names, sorted.
        """
        if self._match == "path" or not len(shared):
            return 0, _NONE
        of_names, of_paths = [_NONE], [_NONE]
        for texts in self._input_names():
            hashes = hash_names(texts, self._match)
            mine = member(hashes, shared)
            of_names.append(hashes[mine])
            of_paths.append(hash_names(texts.filter(pa.array(mine)), "path"))
        names, paths = np.concatenate(of_names), np.concatenate(of_paths)
        order = np.lexsort((paths, names))
        names, paths = names[order], paths[order]
        again = names[1:][(names[1:] == names[:-1]) & (paths[1:] != paths[:-1])]
        return len(again), np.unique(again)

    def _first_names(self, hashes: Hashes) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for names in self._input_names() if len(hashes) else ():
            some = names.filter(pa.array(member(hash_names(names, self._match), hashes)))
            found |= dict.fromkeys(matched(some, self._match).unique().to_pylist())
            if len(found) >= SHOWN:
                break
        return tuple(found)[:SHOWN]

    def _extra_names(self, batch: pa.RecordBatch, extra: Hashes, found: list[str]) -> list[str]:
        if not len(extra) or len(found) >= SHOWN:
            return []
        names = as_texts(batch.column(self._input_column))
        names = names.filter(pa.array(member(hash_names(names, self._match), extra)))
        here = pc.fill_null(matched(names, self._match).unique(), "(no name)").to_pylist()
        return [name for name in here if name not in found][: SHOWN - len(found)]


@dataclass(frozen=True)
class _Compared:
    """What the hashes of a part of the key space, or of all of it, tell.

    :param names: distinct names of inputs that rows have.
    :param repeated: keys that occur more than once.
    :param inputs: distinct names that were listed.
    :param missing: those that no row has.
    :param extra: names of rows that were not listed.
    :param shared: names that were listed more than once.
    """

    names: int
    repeated: Hashes
    inputs: int
    missing: Hashes
    extra: Hashes
    shared: Hashes


def _check_comparable(rules: Reconcile) -> None:
    if rules.inputs is not None:
        return
    if rules.on_extra == "error":
        raise FormatError("on_extra='error' needs inputs= to compare with")
    if rules.require_complete and (rules.job is None or rules.job.total_items is None):
        raise FormatError("require_complete needs inputs= or the job's total_items to compare with")
