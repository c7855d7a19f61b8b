"""Joining the rows of all workers into the one file of ``append_row``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20


def collate(parts: Mapping[Path, int], target: Path, lose_every: int = 0) -> None:
    """Write the rows of all workers into one file, which appears as a whole.

    Inferred: a file of an earlier run in its place is replaced.

    :param parts: the temporary files, and how many bytes of each belong to mini-batches that were answered for: a
        worker may have died after it wrote and before it said so.
    :param lose_every: leave out one line of so many, as it happened on Azure when processes wrote over each other; 0
        for none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            headers = sorted(path.with_name(path.name + ".header") for path in parts)
            header = next((path for path in headers if path.exists()), None)
            if header is not None:
                file.write(header.read_bytes())
            out = _Losing(file, lose_every) if lose_every else file
            for path in sorted(parts):
                _copy(path, parts[path], out)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    for path in parts:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".header").unlink(missing_ok=True)


class _Losing:
    """A file that loses one line of so many."""

    def __init__(self, file: BinaryIO, every: int) -> None:
        self._file, self._every, self._line = file, every, 1

    def write(self, block: bytes) -> None:
        """Write the lines of a block, which may begin and end within one."""
        for piece in BytesIO(block):
            if self._line % self._every:
                self._file.write(piece)
            self._line += piece.endswith(b"\n")


def _copy(path: Path, length: int, target: BinaryIO | _Losing) -> None:
    if length == 0:
        return
    with open(path, "rb") as source:
        while length > 0:
            block = source.read(min(length, _BLOCK))
            if not block:
                raise OSError(f"{path} is {length} bytes shorter than its worker said.")
            target.write(block)
            length -= len(block)
