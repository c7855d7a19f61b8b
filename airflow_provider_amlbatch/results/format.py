"""What collated text looks like: :class:`ResultFormat`, and :class:`Layout` once columns and types are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_amlbatch.results.errors import FormatError

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["lines", "rows", "csv", "json_lines", "parquet"]
Split = Literal["right", "left"]

#: File name endings of outputs that scripts write themselves (``summary_only``).
KIND_OF_SUFFIX: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".csv": "csv",
}

#: What separates fields unless it is said.
_DELIMITER = {"lines": ":", "rows": " ", "csv": ","}


@dataclass(frozen=True)
class ResultFormat:
    """How rows are written. Build one with :meth:`lines`, :meth:`rows`, :meth:`csv` or :meth:`from_settings`.

    :param kind: ``lines`` (one list element a line, nothing quoted), ``rows`` (records of a DataFrame, minimal
        quoting), ``csv`` (rows of a complete CSV file), ``json_lines`` or ``parquet``.
    :param delimiter: what separates fields; None with ``lines`` means that the whole line is the one value.
    :param columns: names of the columns; None means: from the header, or chosen.
    :param split: for ``lines``: the side from which fields are split when a line holds more delimiters than needed.
    :param header: True when the first record names the columns.
    :param strip: for ``lines``: remove one space after each delimiter.
    :param dtypes: Arrow type names by column (``string``, ``int64``, ``double``, ``bool``, ``timestamp[us]``, ...);
        the others are inferred from a sample.
    """

    kind: Kind
    delimiter: str | None = None
    columns: tuple[str, ...] | None = None
    split: Split = "right"
    header: bool = False
    strip: bool = True
    dtypes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind in ("rows", "csv") and (
            self.delimiter is None
            or len(self.delimiter) != 1
            or not self.delimiter.isascii()
            or self.delimiter in '"\r\n'
        ):
            raise FormatError(f"delimiter of {self.kind} must be one ASCII character, not {self.delimiter!r}")
        if self.kind == "lines" and self.delimiter is not None and (not self.delimiter or "\n" in self.delimiter):
            raise FormatError(f"delimiter of lines must be text without a line end, or None, not {self.delimiter!r}")
        if self.split not in ("right", "left"):
            raise FormatError(f"split must be 'right' or 'left', not {self.split!r}")
        if self.columns is not None:
            object.__setattr__(self, "columns", _names(self.columns))
        for name in self.dtypes:
            if self.columns is not None and name not in self.columns:
                raise FormatError(f"dtypes names the column {name!r}, but columns are {', '.join(self.columns)}")

    @classmethod
    def lines(
        cls,
        delimiter: str | None = ":",
        columns: Sequence[str] | None = None,
        *,
        split: Split = "right",
        strip: bool = True,
        dtypes: Mapping[str, str] | None = None,
    ) -> ResultFormat:
        """Describe what a script's list becomes: ``str(element)`` a line.

        Without ``columns`` there are two, ``name`` and ``prediction`` (or ``prediction`` alone without delimiter).
        The first of several columns is a string unless ``dtypes`` says otherwise: it names the input.
        """
        if columns is None:
            columns = ("prediction",) if delimiter is None else ("name", "prediction")
        if delimiter is None and len(tuple(columns)) != 1:
            raise FormatError(f"Lines without a delimiter have one column, not {', '.join(columns)}")
        return cls("lines", delimiter, tuple(columns), split, strip=strip, dtypes=dict(dtypes or {}))

    @classmethod
    def rows(
        cls,
        delimiter: str = " ",
        columns: Sequence[str] | None = None,
        *,
        header: bool = False,
        dtypes: Mapping[str, str] | None = None,
    ) -> ResultFormat:
        """Describe what a script's DataFrame becomes: a record a row, minimal quoting, missing values empty."""
        names = None if columns is None else tuple(columns)
        return cls("rows", delimiter, names, header=header, dtypes=dict(dtypes or {}))

    @classmethod
    def csv(
        cls,
        delimiter: str = ",",
        columns: Sequence[str] | None = None,
        *,
        header: bool = True,
        dtypes: Mapping[str, str] | None = None,
    ) -> ResultFormat:
        """Describe CSV files that a script wrote itself: any line end, the last one may lack it."""
        names = None if columns is None else tuple(columns)
        return cls("csv", delimiter, names, header=header, dtypes=dict(dtypes or {}))

    @classmethod
    def json_lines(cls, dtypes: Mapping[str, str] | None = None) -> ResultFormat:
        """Describe files with one JSON object a line."""
        return cls("json_lines", dtypes=dict(dtypes or {}))

    @classmethod
    def parquet(cls) -> ResultFormat:
        """Describe Parquet files."""
        return cls("parquet")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], columns: Sequence[str] | None = None) -> ResultFormat:
        """Describe DataFrame rows as ``parallel_run_step.settings.json`` beside the entry script makes them.

        :param settings: the parsed file: ``{"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", ...}}}``.
        :param columns: names of all columns, the index first when it is written.
        :raises FormatError: an option that changes the text in a way that is not read here.
        """
        options = dict(settings.get("append_row", {}).get("pandas.DataFrame.to_csv", {}))
        delimiter = options.pop("sep", " ")
        header = bool(options.pop("header", False))
        options.pop("index", None)  # the index is one more column: it needs no other reading
        if options:
            raise FormatError(f"parallel_run_step.settings.json: to_csv options not read here: {', '.join(options)}")
        return cls.rows(delimiter, columns, header=header)

    @classmethod
    def described(
        cls,
        kind: Kind | None = None,
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        header: bool | None = None,
        dtypes: Mapping[str, str] | None = None,
    ) -> ResultFormat | None:
        """Make a format of what a user says of it; None when that is nothing and a sample is to tell.

        :param kind: ``lines`` when delimiter or columns are said without it.
        :raises FormatError: if the arguments do not go together.
        """
        if kind is None and delimiter is None and columns is None:
            if header is not None or dtypes:
                raise FormatError("header and dtypes need kind: say how the rows are written.")
            return None
        said: Kind = kind or "lines"
        return cls(
            said,
            delimiter if delimiter is not None else _DELIMITER.get(said),
            None if columns is None else tuple(columns),
            header=header if header is not None else said == "csv",
            dtypes=dict(dtypes or {}),
        )

    @property
    def is_text(self) -> bool:
        """True when the rows are delimited text."""
        return self.kind in ("lines", "rows", "csv")

    @property
    def quoted(self) -> bool:
        """True when fields may be quoted, so that a record may span lines."""
        return self.kind in ("rows", "csv")


@dataclass(frozen=True)
class Layout:
    """A format with all columns and types known.

    :param inferred: columns whose type comes from a sample, not from the caller.
    :param header: the fields of the header record, which is no row; empty when there is none.
    """

    format: ResultFormat
    types: Mapping[str, pa.DataType]
    inferred: frozenset[str] = frozenset()
    header: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.types)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        import pyarrow as pa

        return pa.schema(list(self.types.items()))

    def with_types(self, types: Mapping[str, str]) -> Layout:
        """The layout with some types replaced."""
        return replace(self, types={**self.types, **{name: arrow_type(dtype) for name, dtype in types.items()}})


def arrow_type(name: str) -> pa.DataType:
    """Read the name of an Arrow type.

    :raises FormatError: no such type.
    """
    import pyarrow as pa

    if name == "str":
        return pa.string()
    try:
        if name.startswith("timestamp[") and name.endswith("]"):
            unit, _, zone = name[len("timestamp[") : -1].partition(", tz=")
            return pa.timestamp(unit, zone or None)
        return pa.type_for_alias(name)
    except ValueError:
        raise FormatError(
            f"dtypes: {name!r} is no type; say string, int64, double, bool, date32 or timestamp[us]"
        ) from None


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise FormatError(f"columns must be a list of names, not the one string {columns!r}")
    names = tuple(columns)
    twice = {name for name in names if names.count(name) > 1}
    if not names or twice:
        raise FormatError(f"columns must be distinct names, at least one, not {list(names)!r}")
    return names
