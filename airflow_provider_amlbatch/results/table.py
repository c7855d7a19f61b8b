"""Results in memory: as an Arrow table, or as a pandas DataFrame.

Everything that :func:`.collect.collect` does happens on the way. The rows go through a temporary Arrow file, which the
table is mapped from: its pages can be dropped and read again, so that a table may be larger than memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from airflow_provider_amlbatch.results.collect import Collected, collect
from airflow_provider_amlbatch.results.errors import DestinationError
from airflow_provider_amlbatch.results.sources import Sources

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

#: Arguments of ``collect`` that are about files to write.
_ABOUT_FILES = ("output", "partition_by")


def collect_table(sources: Sources, **options: Any) -> tuple[pa.Table, Collected]:
    """Read the files that a job wrote into an Arrow table.

    :param options: further arguments of :func:`.collect.collect`.
    :return: the table, and what was found while it was made.
    :raises ResultError: as :func:`.collect.collect`.
    """
    return in_memory(lambda path: collect(sources, path, **checked(options)))


def collect_frame(sources: Sources, **options: Any) -> tuple[pd.DataFrame, Collected]:
    """Read the files that a job wrote into a DataFrame, as :func:`collect_table` does. All of it is in memory."""
    table, collected = collect_table(sources, **options)
    return as_frame(table), collected


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Make a DataFrame; whole numbers stay whole where some are missing (``Int64``)."""
    import pandas as pd

    types = {pa.int64(): pd.Int64Dtype()} if any(_has_gaps(column) for column in table.columns) else {}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame


def in_memory(write: Callable[[Path], T]) -> tuple[pa.Table, T]:
    """Read a table that ``write`` puts into an Arrow file; the file is gone when the table is."""
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder:
        path = Path(folder, "table.arrow")
        answer = write(path)
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all(), answer


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Refuse arguments that need a file.

    :raises DestinationError: if there is one.
    """
    wrong = [name for name in _ABOUT_FILES if options.get(name)]
    wrong += ["on_bad_row='quarantine'"] if options.get("on_bad_row") == "quarantine" else []
    if wrong:
        raise DestinationError(f"{wrong[0]} is about files, and a table in memory has none: collect to a file instead.")
    return options


def _has_gaps(column: pa.ChunkedArray) -> bool:
    return bool(column.type == pa.int64() and column.null_count)
