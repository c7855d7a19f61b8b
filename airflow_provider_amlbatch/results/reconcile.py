"""What rows are compared with (:class:`Reconcile`), and what the comparison found (:class:`Reconciliation`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from airflow_provider_amlbatch.aml.words import counted
from airflow_provider_amlbatch.results.errors import FormatError

#: What is compared of a path: its last part, that without its ending, or all of it.
Match = Literal["name", "stem", "path"]
#: What becomes of rows that repeat a key.
Keep = Literal["all", "first", "last", "error"]
#: What becomes of rows whose key is no input.
OnExtra = Literal["warn", "error"]

#: Names one by one, or in Arrow arrays.
Names = Iterable[Any]

#: Names that a report shows.
SHOWN = 20
_COUNTED = ("distinct", "duplicates", "dropped", "rejected", "inputs", "missing", "extra")


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

    :param inputs: names or paths of the inputs, or a function that lists them anew: they are gone through while rows
        are read, and again when something is missing. Arrow arrays of strings, or a list of such arrays, take the least
        time.
    :param input_column: the column that names the input; the first one when None.
    :param match: how both are compared: ``name`` (last part of the path), ``stem`` (that without its ending) or
        ``path`` (exactly, as it must be when inputs in several folders have one name).
    :param dedupe_on: columns that make rows duplicates of each other; the input column when None.
    :param keep: what becomes of duplicates: ``all`` (they are counted), ``first``, ``last`` or ``error``; None: they
        are not looked for, which saves time.
    :param require_complete: True when each input needs a row, or the fraction of inputs that do. Without ``inputs`` the
        job's own counts say how many there were and how many of them failed.
    :param on_extra: what becomes of a row whose key is no input: ``warn`` (they are counted) or ``error``.
    :param job: what the job counted itself.
    :param listing: what messages call the place where the inputs are listed.
    """

    inputs: Names | Callable[[], Names] | None = None
    input_column: str | None = None
    match: Match = "name"
    dedupe_on: tuple[str, ...] | None = None
    keep: Keep | None = "all"
    require_complete: bool | float = False
    on_extra: OnExtra = "warn"
    job: JobCounts | None = None
    listing: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.dedupe_on, str):
            raise FormatError(f"dedupe_on must be a list of columns, not the one string {self.dedupe_on!r}")
        for name, choices in (("match", Match), ("keep", Keep), ("on_extra", OnExtra)):
            said = getattr(self, name)
            if said not in get_args(choices) and not (name == "keep" and said is None):
                raise FormatError(f"{name} must be one of {', '.join(get_args(choices))}, not {said!r}")
        if isinstance(self.inputs, Iterator):
            raise FormatError("inputs are gone through more than once: hand in a list, or a function that lists them")
        if not 0 <= self.require_complete <= 1:
            raise FormatError(f"require_complete must be True, False or a fraction, not {self.require_complete!r}")


@dataclass(frozen=True)
class Reconciliation:
    """What the comparison found. Counts of inputs are None when none were given.

    :param rows: rows read, duplicates among them.
    :param distinct: distinct keys; None when they were not counted.
    :param duplicates: rows beyond the first of their key.
    :param dropped: duplicates that were left out.
    :param rejected: rows that could not be read.
    :param inputs: distinct names of inputs.
    :param missing: inputs without a row.
    :param extra: keys that are no input.
    :param ambiguous: inputs beyond the first of their name: other paths, but the same for ``match``.
    :param listing: where the inputs were listed.
    """

    rows: int
    distinct: int | None = None
    duplicates: int = 0
    dropped: int = 0
    rejected: int = 0
    inputs: int | None = None
    missing: int | None = None
    extra: int | None = None
    ambiguous: int | None = None
    duplicates_first: tuple[str, ...] = ()
    missing_first: tuple[str, ...] = ()
    extra_first: tuple[str, ...] = ()
    ambiguous_first: tuple[str, ...] = ()
    listing: str | None = None
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
        inputs, missing, repeated = self.inputs or 0, self.missing or 0, counted(self.duplicates, "row")
        found = [
            (self.inputs == 0, self.emptiness()),
            (self.ambiguous, self.ambiguity()),
            (self.duplicates, f"{repeated} with a repeated key{first_few(self.duplicates_first)}"),
            (self.missing, f"{missing:,} of {inputs:,} inputs without a row{first_few(self.missing_first)}"),
            (self.extra, f"{counted(self.extra or 0, 'key')} without an input{first_few(self.extra_first)}"),
            (self.rejected, f"{counted(self.rejected, 'row')} left out as unreadable"),
            (job.failed_items, f"the job counts {counted(job.failed_items or 0, 'failed item')}"),
        ]
        seen = self.rows + self.rejected
        if job.rows is not None and job.rows != seen:
            found.append((1, f"the job wrote {job.rows:,} rows, but {seen:,} were read"))
        left = seen - self.dropped
        if job.succeeded_items is not None and job.succeeded_items > left:
            read = "rows were read" if not self.dropped else "different rows were read"
            found.append((1, f"the job counts {job.succeeded_items:,} succeeded items, but only {left:,} {read}"))
        return [text for count, text in found if count]

    def emptiness(self) -> str:
        """Say where no input was found."""
        return f"no input was found in {self.listing or 'the listing'}"

    def ambiguity(self) -> str:
        """Say which inputs cannot be told apart by their names."""
        number = self.ambiguous or 0
        return (
            f"{counted(number, 'input')} {'has' if number == 1 else 'have'} the name of another one"
            f"{first_few(self.ambiguous_first)}; match='path' tells them apart"
        )

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-safe values, the sentences of :meth:`problems` with them."""
        return asdict(self) | {"problems": self.problems()}


def first_few(names: Sequence[str]) -> str:
    """Show some names in brackets; nothing when there are none."""
    if not names:
        return ""
    return f" ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
