"""Quarantine: rows that could not be read, counted and kept beside the table."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from typing import Any

from airflow_provider_amlbatch.results.destination import PathLike, written_whole
from airflow_provider_amlbatch.results.errors import BadRow

#: Bad rows that messages show.
SHOWN = 10


class Rejected:
    """Bad rows, spooled to a temporary file until :meth:`keep` puts them beside the table."""

    def __init__(self, target: PathLike) -> None:
        self._target: Any = target.parent.joinpath(f"{target.name}.rejected.jsonl")
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", prefix="amlbatch-rejected-")  # noqa: SIM115
        self.count = 0
        self.first: list[BadRow] = []
        self.path: str | None = None

    def __enter__(self) -> Rejected:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: BadRow) -> None:
        """Take a row."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(row)
        self._file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

    def keep(self) -> None:
        """Write the rows beside the table; without any, remove what an earlier run left there."""
        if not self.count:
            if self._target.exists():
                self._target.unlink()
            return
        self._file.seek(0)
        with written_whole(self._target) as path, path.open("w", encoding="utf-8") as out:
            while piece := self._file.read(1 << 20):
                out.write(piece)
        self.path = str(self._target)
