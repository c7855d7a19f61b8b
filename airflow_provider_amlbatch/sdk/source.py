"""The folder with the scoring code: which of its files belong to a snapshot, and their digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathspec

_CHUNK = 1 << 20


def files(folder: Path) -> Iterator[Path]:
    """Walk the files that a snapshot of the folder takes, in a fixed order.

    As on Azure, ``.amlignore`` says what to leave out; ``.gitignore`` is read only where there is no ``.amlignore``,
    and only the one at the top of the folder. Byte-code caches are left out too: they change from run to run, and
    nobody's result depends on them.

    :param folder: the source folder.
    """
    ignored = _ignore_rules(folder)
    for parent, directories, names in os.walk(folder, followlinks=True):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        if ignored is not None:
            # An ignored folder is not entered at all, so a rule that takes one of its files back has no effect.
            directories[:] = [
                name for name in directories if not ignored.match_file(_relative(folder, Path(parent, name)))
            ]
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not (ignored is not None and ignored.match_file(_relative(folder, path))):
                yield path


def digest(folder: Path) -> str:
    """Compute SHA-256 over names and content of the files that a snapshot takes. Times and modes do not count.

    :param folder: the source folder.
    """
    return digest_of(folder, files(folder))


def digest_of(folder: Path, paths: Iterable[Path]) -> str:
    """Compute SHA-256 over names and content of some files of a folder.

    :param paths: the files, in the order in which they count.
    """
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{_relative(folder, path)}\0{file_digest(path)}\n".encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a file's content, as hexadecimal digits.

    :param path: the file.
    """
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            content.update(chunk)
    return content.hexdigest()


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _ignore_rules(folder: Path) -> pathspec.PathSpec | None:
    import pathspec

    for name in (".amlignore", ".gitignore"):
        rules = folder / name
        if rules.is_file():
            return pathspec.PathSpec.from_lines("gitwildmatch", rules.read_text().splitlines())
    return None
