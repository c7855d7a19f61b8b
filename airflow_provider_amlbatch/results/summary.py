"""Look rather than read: counts or a histogram of a column, as text and as a chart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json

from airflow_provider_amlbatch.results.destination import PathLike, as_path, is_local, written_whole
from airflow_provider_amlbatch.results.errors import FormatError, ResultError
from airflow_provider_amlbatch.results.format import KIND_OF_SUFFIX

#: Bars of a histogram, and values that are shown as classes.
BARS = 20
#: A column with more distinct values than this is not counted value by value.
_MOST_DISTINCT = 10_000


@dataclass(frozen=True)
class Distribution:
    """How the values of a column are spread.

    :param labels: classes, most frequent first, or the ranges of a histogram.
    :param counts: rows of each.
    :param others: rows of classes that are not shown.
    :param missing: rows without a value.
    """

    column: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    rows: int
    others: int = 0
    missing: int = 0

    def as_text(self, width: int = 40) -> str:
        """Draw bars of text."""
        label_width = max([len(label) for label in self.labels], default=0)
        most = max(self.counts, default=1) or 1
        lines = [f"{self.column}: {self.rows:,} rows"]
        for label, count in zip(self.labels, self.counts, strict=True):
            bar = "█" * max(round(width * count / most), 1 if count else 0)
            lines.append(f"  {label:>{label_width}} {count:>12,} {bar}".rstrip())
        lines += [
            f"  {name}: {count:,}" for name, count in (("others", self.others), ("missing", self.missing)) if count
        ]
        return "\n".join(lines)


def distribution(table: str | os.PathLike[str] | PathLike, column: str | None = None) -> Distribution:
    """Count the values of a column of a Parquet, CSV, JSON lines or Arrow file, in bounded memory.

    Numbers with more than :data:`BARS` distinct values become a histogram, other columns classes.

    :param table: a local path, or an ``ObjectStoragePath``.
    :param column: the last column when None.
    :raises FormatError: there is no such column.
    """
    rows = _Rows(as_path(table), column)
    counts: Counter[object] | None = Counter()
    total, missing, low, high = 0, 0, np.inf, -np.inf
    for values in rows:
        total += len(values)
        missing += values.null_count
        if rows.numeric:
            finite = _finite(values)
            low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
        if counts is not None:
            counted = pc.value_counts(values.drop_null())
            counts.update(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
            counts = None if len(counts) > _MOST_DISTINCT else counts
    if rows.numeric and low < high and (counts is None or len(counts) > BARS):
        return _histogram(rows, total, missing, float(low), float(high))
    if counts is None:
        text = f"more than {_MOST_DISTINCT:,} different values"
        return Distribution(rows.column, (text,), (total - missing,), total, 0, missing)
    shown = counts.most_common(BARS)
    others = total - missing - sum(count for _, count in shown)
    labels = tuple(_label(value) for value, _ in shown)
    return Distribution(rows.column, labels, tuple(count for _, count in shown), total, others, missing)


def write_chart(table: str | os.PathLike[str] | PathLike, chart: str | Path, column: str | None = None) -> Path:
    """Draw the distribution of a column as a PNG.

    :param chart: file to write; returned.
    :raises ResultError: matplotlib is not installed.
    """
    found = distribution(table, column)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ResultError("A chart needs matplotlib: pip install matplotlib") from None
    height = max(2.5, 0.3 * len(found.labels) + 1.2)
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(found.labels)), found.counts, color="#0078d4")
    axes.set_yticks(range(len(found.labels)), [label[:40] for label in found.labels])
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    axes.set_title(f"{found.column}: {found.rows:,} rows")
    axes.spines[["top", "right"]].set_visible(False)
    path = Path(chart)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    return path


class _Rows:
    """One column of a file, as arrays; it can be gone through again."""

    def __init__(self, table: Any, column: str | None) -> None:
        suffix = PurePath(table.name).suffix.lower()
        kind = "arrow" if suffix == ".arrow" else KIND_OF_SUFFIX.get(suffix, "parquet")
        self._table = ds.dataset(
            table if is_local(table) else table.path,
            filesystem=None if is_local(table) else table.fs,
            format={"json_lines": "json"}.get(kind, kind),
            partitioning="hive" if table.is_dir() else None,
        )
        names = self._table.schema.names
        self.column = names[-1] if column is None else column
        if self.column not in names:
            raise FormatError(f"{table.name} has no column {self.column!r}, but {', '.join(names)}")
        dtype = self._table.schema.field(self.column).type
        self.numeric = pa.types.is_integer(dtype) or pa.types.is_floating(dtype)
        self._nested = pa.types.is_nested(dtype)

    def __iter__(self) -> Iterator[pa.Array]:
        for batch in self._table.to_batches(columns=[self.column], batch_readahead=2, fragment_readahead=1):
            if batch.num_rows:
                values = batch.column(0)
                yield pa.array(map(str, values.to_pylist()), pa.string()) if self._nested else values


def _histogram(rows: _Rows, total: int, missing: int, low: float, high: float) -> Distribution:
    edges = np.linspace(low, high, BARS + 1)
    counts: np.ndarray[tuple[int], np.dtype[np.int64]] = np.zeros(BARS, np.int64)
    for values in rows:
        counts += np.histogram(_finite(values), edges)[0]
    digits = f".{max(3, int(np.ceil(np.log10(max(abs(low), abs(high), 1) * BARS / (high - low)))) + 2)}g"
    labels = tuple(f"{start:{digits}} – {end:{digits}}" for start, end in pairwise(edges))
    others = total - missing - int(counts.sum())
    return Distribution(rows.column, labels, tuple(counts.tolist()), total, others, missing)


def _finite(values: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers = values.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite: np.ndarray[tuple[int], np.dtype[np.float64]] = numbers[np.isfinite(numbers)]
    return finite


def _label(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
