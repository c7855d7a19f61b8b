"""Compare rows with what they should be: the inputs, the job's own counts, and one row a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice, repeat
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_amlbatch.results.arrays import Mask, Ordinals
from airflow_provider_amlbatch.results.errors import DuplicateKeys, FormatError, IncompleteResult
from airflow_provider_amlbatch.results.keys import Hashes, KeySet, Match, hash_keys, hash_names, may_be_path

#: Names that a report shows.
SHOWN = 20
_CHUNK = 1 << 17
_NONE: Hashes = np.empty(0, np.uint64)
_COUNTED = ("distinct", "duplicates", "dropped", "rejected", "inputs", "missing", "extra")

#: Names one by one, or in Arrow arrays.
Names = Iterable[Any]


@dataclass(frozen=True)
class JobCounts:
    """What the job says of itself: metrics or report of the step run. None means: not known.

    :param rows: rows that it wrote.
    """

    total_items: int | None = None
    succeeded_items: int | None = None
    failed_items: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Reconcile:
    """What to compare, and what to do about it.

    :param inputs: names or paths of the inputs, or a function that lists them anew: they are gone through twice, the
        first time while rows are read. Arrow arrays of strings, or a list of such arrays, take the least time.
    :param input_column: the column that names the input; the first one when None.
    :param match: how both are compared: ``name`` (last part of the path), ``stem`` (that without its ending) or
        ``path`` (exactly).
    :param dedupe_on: columns that make rows duplicates of each other; the input column when None.
    :param keep: what becomes of duplicates: ``all`` (they are counted), ``first``, ``last`` or ``error``; None: they
        are not looked for, which saves time.
    :param require_complete: True when each input needs a row, or the fraction of inputs that do.
    """

    inputs: Names | Callable[[], Names] | None = None
    input_column: str | None = None
    match: Match = "name"
    dedupe_on: tuple[str, ...] | None = None
    keep: Literal["all", "first", "last", "error"] | None = "all"
    require_complete: bool | float = False
    job: JobCounts | None = None

    def __post_init__(self) -> None:
        if isinstance(self.dedupe_on, str):
            raise FormatError(f"dedupe_on must be a list of columns, not the one string {self.dedupe_on!r}")
        if not 0 <= self.require_complete <= 1:
            raise FormatError(f"require_complete must be True, False or a fraction, not {self.require_complete!r}")
        if self.require_complete and self.inputs is None and (self.job is None or self.job.total_items is None):
            raise FormatError("require_complete needs inputs= or the job's total_items to compare with")


@dataclass(frozen=True)
class Reconciliation:
    """What the comparison found. Counts of inputs are None when none were given.

    :param rows: rows read, duplicates among them.
    :param distinct: distinct keys; None when they were not counted.
    :param duplicates: rows beyond the first of their key.
    :param dropped: duplicates that were left out.
    :param rejected: rows that could not be read.
    :param missing: inputs without a row.
    :param extra: keys that are no input.
    """

    rows: int
    distinct: int | None = None
    duplicates: int = 0
    dropped: int = 0
    rejected: int = 0
    inputs: int | None = None
    missing: int | None = None
    extra: int | None = None
    duplicates_first: tuple[str, ...] = ()
    missing_first: tuple[str, ...] = ()
    extra_first: tuple[str, ...] = ()
    job: JobCounts | None = None
    complete: float | None = None

    def counts(self) -> dict[str, int]:
        """What is known, under names for people."""
        job = self.job or JobCounts()
        found = {name.capitalize(): getattr(self, name) for name in _COUNTED}
        found |= {"Items of the job": job.total_items, "Failed items": job.failed_items}
        uncounted = {"Duplicates", "Dropped"} if self.distinct is None else set()
        return {name: count for name, count in found.items() if count is not None and name not in uncounted}

    def problems(self) -> list[str]:
        """Say in sentences what is not as it should be; empty when all is well."""
        job = self.job or JobCounts()
        inputs, missing = self.inputs or 0, self.missing or 0
        found = [
            (self.duplicates, f"{self.duplicates:,} rows repeat a key{_first(self.duplicates_first)}"),
            (
                self.missing,
                f"{missing:,} of {inputs:,} inputs have no row{_first(self.missing_first)}",
            ),
            (self.extra, f"{self.extra or 0:,} keys are no input{_first(self.extra_first)}"),
            (self.rejected, f"{self.rejected:,} rows could not be read and were left out"),
            (job.failed_items, f"the job counts {job.failed_items or 0:,} failed items"),
        ]
        seen = self.rows + self.rejected
        if job.rows is not None and job.rows != seen:
            found.append((1, f"the job wrote {job.rows:,} rows, but {seen:,} were read"))
        left = seen - self.dropped
        if job.succeeded_items is not None and job.succeeded_items > left:
            read = "rows were read" if not self.dropped else "different rows were read"
            found.append((1, f"the job counts {job.succeeded_items:,} succeeded items, but only {left:,} {read}"))
        return [text for count, text in found if count]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-safe values, the sentences of :meth:`problems` with them."""
        return asdict(self) | {"problems": self.problems()}


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
        self._same = self._key == [self._input_column]
        self._counts_keys = rules.keep is not None or (bool(rules.require_complete) and rules.inputs is None)
        # Hashes that are both key and name of a row are held once.
        self._both, self._keys, self._names, self._rows = KeySet(), KeySet(), KeySet(), 0
        self._wanted, self._closed = KeySet(), False
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
        hashes = self._hash_key(batch) if self._counts_keys else None
        if self._rules.inputs is None:
            if hashes is not None:
                self._keys.add(hashes)
            return
        raw = _as_texts(batch.column(self._input_column))
        same = self._same and (self._rules.match == "path" or not (self._rules.match == "stem" or may_be_path(raw)))
        if hashes is not None and same:
            self._both.add(hashes)
            return
        if hashes is not None:
            self._keys.add(hashes)
        self._names.add(hash_names(raw, self._rules.match))

    def finish(self, reread: Callable[[], Iterator[pa.RecordBatch]], rejected: int = 0) -> Findings:
        """Compare.

        :param reread: goes through the same rows again; called only when there is something to name.
        :raises DuplicateKeys: there are duplicates and ``keep`` is ``error``.
        :raises IncompleteResult: fewer inputs than ``require_complete`` have a row.
        """
        distinct, repeated, inputs = self._compare()
        doubles, extra_first = _Doubles(repeated), list[str]()
        if len(repeated) or len(inputs.extra):
            start = 0
            for batch in reread():
                doubles.add(start, self._hash_key(batch), batch.select(self._key))
                extra_first += self._extra_names(batch, inputs.extra, extra_first)
                start += batch.num_rows
        drop = doubles.to_drop(self._rules.keep)
        known = self._rules.inputs is not None
        found = Reconciliation(
            rows=self._rows,
            distinct=(self._rows - len(doubles.to_drop("first")) if len(repeated) else distinct)
            if self._counts_keys
            else None,
            duplicates=len(doubles.to_drop("first")),
            dropped=len(drop),
            rejected=rejected,
            inputs=inputs.total if known else None,
            missing=inputs.missing_total if known else None,
            extra=len(inputs.extra) if known else None,
            duplicates_first=doubles.examples(),
            missing_first=inputs.missing_first,
            extra_first=tuple(extra_first),
            job=self._rules.job,
            complete=self._complete(inputs, distinct),
        )
        self._judge(found)
        return Findings(found, drop)

    def _judge(self, found: Reconciliation) -> None:
        if self._rules.keep == "error" and found.duplicates:
            raise DuplicateKeys(
                f"{found.duplicates:,} rows repeat a key of {', '.join(self._key)}{_first(found.duplicates_first)}; "
                "a ParallelRunStep may write rows twice when it retries: say keep='first' to leave them out"
            )
        needed = float(self._rules.require_complete)
        if needed and (found.complete is None or found.complete < needed):
            raise IncompleteResult(
                f"The result is not complete: {found.complete or 0:.2%} of the inputs have a row, {needed:.2%} are "
                f"required. {'. '.join(found.problems())}"
            )

    def _complete(self, inputs: _Inputs, distinct: int) -> float | None:
        if self._rules.inputs is not None:
            return 1 - inputs.missing_total / inputs.total if inputs.total else 1.0
        total = self._rules.job.total_items if self._rules.job else None
        if total is None:
            return None
        return min(1.0, distinct / total) if total else 1.0

    def _hash_key(self, batch: pa.RecordBatch, seed: int = 0) -> Hashes:
        return hash_keys([batch.column(name) for name in self._key], seed)

    def _compare(self) -> tuple[int, Hashes, _Inputs]:
        """Count distinct keys, find those that repeat, and compare names with the inputs, in one walk."""
        if self._listing is not None:
            self._listing.result()
        # Usually a key is a name.
        one_bag = self._keys.is_empty and self._names.is_empty
        names = repeat(None) if one_bag else self._names.parts(self._both)
        distinct, total, repeated, missing, extra = 0, 0, [_NONE], [_NONE], [_NONE]
        for keys, others, want in zip(self._keys.parts(self._both), names, self._wanted.parts(), strict=False):
            have = (others or keys).hashes
            distinct += len(keys.hashes)
            repeated.append(keys.repeated)
            total += len(want.hashes)
            if self._listing is None or np.array_equal(want.hashes, have):
                continue
            lost = want.hashes[~_member(want.hashes, have)]
            missing.append(lost)
            if len(have) > len(want.hashes) - len(lost):
                extra.append(have[~_member(have, want.hashes)])
        every_lost = np.concatenate(missing)
        first = tuple(islice(self._named(every_lost), SHOWN))
        return distinct, np.concatenate(repeated), _Inputs(total, len(every_lost), first, np.concatenate(extra))

    def _hash_inputs(self) -> None:
        for names in self._input_names():
            if self._closed:
                return
            self._wanted.add(hash_names(names, self._rules.match))

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
                texts = _as_texts(array)
                yield from (texts.slice(start, _CHUNK) for start in range(0, len(texts), _CHUNK))

    def _named(self, hashes: Hashes) -> Iterator[str]:
        if not len(hashes):
            return
        for names in self._input_names():
            lost = names.filter(pa.array(_member(hash_names(names, self._rules.match), hashes)))
            yield from matched(lost, self._rules.match).to_pylist()

    def _extra_names(self, batch: pa.RecordBatch, extra: Hashes, found: list[str]) -> list[str]:
        if not len(extra) or len(found) >= SHOWN:
            return []
        names = _as_texts(batch.column(self._input_column))
        names = names.filter(pa.array(_member(hash_names(names, self._rules.match), extra)))
        here = matched(names, self._rules.match).unique().to_pylist()
        return [name for name in here if name not in found][: SHOWN - len(found)]


@dataclass(frozen=True)
class _Inputs:
    total: int = 0
    missing_total: int = 0
    missing_first: tuple[str, ...] = ()
    extra: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))


class _Doubles:
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
        mine = _member(hashes, self._repeated)
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


def matched(names: pa.Array, match: Match) -> pa.Array:
    """Reduce paths to the part that is compared."""
    if match == "path":
        return names
    if pc.any(pc.match_substring(names, "/")).as_py():
        names = pc.replace_substring_regex(names, r"^(?s:.*)/", "")
    return pc.replace_substring_regex(names, r"(.)\.[^.]*$", r"\1") if match == "stem" else names


def without(batch: pa.RecordBatch, start: int, drop: Ordinals) -> pa.RecordBatch:
    """Leave the dropped rows out of a batch whose first row has ordinal ``start``."""
    low, high = (int(np.searchsorted(drop, at)) for at in (start, start + batch.num_rows))
    if low == high:
        return batch
    kept: Mask = np.ones(batch.num_rows, bool)
    kept[drop[low:high] - start] = False
    return batch.filter(pa.array(kept))


def _as_texts(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _member(hashes: Hashes, of: Hashes) -> Mask:
    """Tell which hashes are in a sorted set."""
    if not len(of):
        return np.zeros(len(hashes), bool)
    at = np.minimum(np.searchsorted(of, hashes), len(of) - 1)
    found: Mask = of[at] == hashes
    return found


def _first(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
