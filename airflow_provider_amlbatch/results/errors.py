"""What can go wrong while results are collected.

::

    ResultError                 a branch of aml.errors.AzureMLBatchError
    ├── FormatError             the text is not what the format says
    │   ├── FormatNotDetected   no format fits the sample
    │   ├── BadRows             rows that cannot be read; ``rows`` holds the first of them
    │   ├── WrongGuess          a type seen in the sample does not hold for the rest
    │   └── SchemaMismatch      columns or types are not the asserted ones
    ├── EmptyResult             there is nothing to collect
    ├── DestinationError        the table cannot be put where it was asked for
    ├── DownloadError           a blob could not be fetched
    │   ├── BlobMissing         it does not exist
    │   ├── BlobChanged         it changed while it was read
    │   ├── BlobCorrupt         its length or MD5 is not the promised one
    │   └── UnsafeName          its name leads out of the target folder
    └── ReconciliationError     the rows are not what the job and its inputs promise
        ├── AmbiguousInputs     several inputs have the name that rows are matched by
        ├── DuplicateKeys
        ├── ExtraKeys
        └── IncompleteResult
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_amlbatch.aml.errors import AzureMLBatchError


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read.

    :param line: its first line in the file, counted from 1.
    :param reason: what is wrong with it.
    :param text: its beginning, at most 1,000 characters.
    :param source: name of the file.
    """

    line: int
    reason: str
    text: str
    source: str = ""

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 120 else f"{self.text[:120]}…"
        place = f"{self.source} line" if self.source else "line"
        return f"{place} {self.line}: {self.reason}: {shown!r}"


class ResultError(AzureMLBatchError):
    """Raised when results cannot be collected as asked."""


class FormatError(ResultError):
    """Raised when a text is not what its format says."""


class FormatNotDetected(FormatError):
    """Raised when no format fits the sample of a text."""


class BadRows(FormatError):
    """Raised when rows cannot be read and ``on_bad_row`` is ``"error"``.

    :param message: what was expected.
    :param rows: the first of them.
    """

    def __init__(self, message: str, rows: Sequence[BadRow]) -> None:
        self.rows = tuple(rows)
        super().__init__("\n  ".join([message, *map(str, self.rows)]))


class WrongGuess(FormatError):
    """Raised when a type that was inferred from the sample does not hold for a later row.

    :param types: the type that would hold, by column.
    """

    def __init__(self, types: Mapping[str, str], row: BadRow) -> None:
        self.types = dict(types)
        super().__init__(
            f"The type of {', '.join(types)} was inferred from a sample, but a later row does not fit; "
            f"say dtypes={self.types!r}. {row}"
        )


class SchemaMismatch(FormatError):
    """Raised when columns or types are not the asserted ones."""


class EmptyResult(ResultError):
    """Raised when there is not a single row to collect."""


class DestinationError(ResultError):
    """Raised when the table cannot be put where it was asked for."""


class DownloadError(ResultError):
    """Raised when a blob could not be fetched."""


class BlobMissing(DownloadError):
    """Raised when a blob does not exist."""


class BlobChanged(DownloadError):
    """Raised when a blob changed while it was read."""


class BlobCorrupt(DownloadError):
    """Raised when length or MD5 of what arrived are not the promised ones."""


class UnsafeName(DownloadError):
    """Raised when a blob's name leads out of the target folder."""


class ReconciliationError(ResultError):
    """Raised when the rows are not what the job and its inputs promise."""


class AmbiguousInputs(ReconciliationError):
    """Raised when several inputs have one name, and what is asked for needs them told apart."""


class DuplicateKeys(ReconciliationError):
    """Raised when keys occur twice and ``keep`` is ``"error"``."""


class ExtraKeys(ReconciliationError):
    """Raised when rows have keys that are no input and ``on_extra`` is ``"error"``."""


class IncompleteResult(ReconciliationError):
    """Raised when inputs have no row, or none is listed at all, and ``require_complete`` asks for them."""
