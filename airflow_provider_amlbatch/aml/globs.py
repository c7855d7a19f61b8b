"""What a path or glob of blobs stands for, by the rule that datasets go by."""

from __future__ import annotations

import re
from collections.abc import Callable

_WILDCARD = re.compile(r"[*?]")
_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def as_glob(path: str) -> str:
    """Take a folder for all files below it, from the container's root: ``/p/`` is ``p/**``, and ``""`` is ``**``."""
    path = path.lstrip("/")
    if _WILDCARD.search(path):
        return path
    folder = path.rstrip("/")
    return f"{folder}/**" if folder else "**"


def fixed_part(glob: str) -> str:
    """Return what all names begin with that the glob stands for: what precedes its first wildcard."""
    return _WILDCARD.split(glob, maxsplit=1)[0]


def is_file_of(glob: str) -> Callable[[str], bool]:
    """Make a function that tells whether the glob stands for a name.

    ``*`` and ``?`` stay within one folder, ``**`` crosses folders; other characters, brackets included, stand for
    themselves. A name that ends with a slash marks a folder and is no file.
    """
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    regex = "".join(_REGEX.get(piece, re.escape(piece)) for piece in pieces)
    matches = re.compile(regex, re.DOTALL).fullmatch
    return lambda name: not name.endswith("/") and matches(name) is not None
