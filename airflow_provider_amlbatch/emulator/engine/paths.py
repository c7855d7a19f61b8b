"""Which files an input stands for: literal paths, folders and globs, one at a time and in the order of their paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_WILDCARD = re.compile(r"[*?]")


class InputError(ValueError):
    """Raised when an input cannot be read as the step describes it."""


def expand(patterns: Iterable[str]) -> Iterator[str]:
    """Find the files that the patterns stand for.

    Only the names of the folders on the way to the current file are held in memory.

    :param patterns: absolute paths or globs; a folder stands for all files below it. ``*`` and ``?`` stay within one
        folder, ``**`` crosses folders.
    :raises InputError: if a pattern without a wildcard names nothing.
    """
    for pattern in patterns:
        if Path(pattern).is_file():
            yield pattern
        elif Path(pattern).is_dir():
            yield from _files_below(pattern.rstrip("/") + "/", depth=None)
        elif _WILDCARD.search(pattern):
            yield from _matching(pattern)
        else:
            raise InputError(f"The input path {pattern!r} does not exist.")


def _matching(pattern: str) -> Iterator[str]:
    base = pattern[: pattern.rindex("/", 0, _first_wildcard(pattern)) + 1]
    rest = pattern[len(base) :]
    if not Path(base).is_dir():
        return
    depth = None if "**" in rest else rest.count("/")
    matches = re.compile(_glob_regex(rest)).fullmatch
    for path in _files_below(base, depth):
        if matches(path, len(base)):
            yield path


def _first_wildcard(pattern: str) -> int:
    found = _WILDCARD.search(pattern)
    return found.start() if found else len(pattern)


def _files_below(folder: str, depth: int | None) -> Iterator[str]:
    # A folder is sorted with its slash, so that the walk yields the order of the whole paths.
    with os.scandir(folder) as entries:
        names = sorted(entry.name + "/" if entry.is_dir() else entry.name for entry in entries)
    for name in names:
        if not name.endswith("/"):
            yield folder + name
        elif depth is None or depth > 0:
            yield from _files_below(folder + name, None if depth is None else depth - 1)


def _glob_regex(glob: str) -> str:
    """Translate a glob; other characters, brackets included, stand for themselves."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return "".join(parts.get(piece, re.escape(piece)) for piece in pieces)
