"""Put files where they belong, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard, runtime_checkable

from airflow_provider_amlbatch.results.errors import DestinationError

_COPY_SIZE = 8 << 20
#: In a folder that was made here, so that it may be replaced; readers of Parquet pass over names like these.
_MARKER, _MARKER_TEXT = "_AMLBATCH", b"A table of airflow-provider-amlbatch: collecting it anew replaces this folder.\n"
#: In a folder of an object store when all files are there.
_DONE = "_SUCCESS"
#: What the system says when a file cannot grow.
_NO_ROOM = frozenset({ENOSPC, EDQUOT, EFBIG})


@runtime_checkable
class PathLike(Protocol):
    """What a destination offers: ``pathlib.Path``, ``ObjectStoragePath`` and ``UPath`` all do."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    @property
    def parent(self) -> Any:
        """The folder that holds it."""

    def joinpath(self, *parts: str) -> Any:
        """A path below this one."""

    def open(self, mode: str) -> Any:
        """Open the file."""

    def exists(self) -> bool:
        """True when there is something already."""


def as_path(destination: str | os.PathLike[str] | PathLike) -> PathLike:
    """Take local paths as strings too; ``file://`` paths of any kind become local ones.

    :raises DestinationError: a URL as a string, which needs a path object that knows how to get in.
    """
    if isinstance(destination, str) and "://" in destination and not destination.startswith("file://"):
        raise DestinationError(
            f"destination={destination!r} is a URL: hand in an ObjectStoragePath (or UPath), which knows the connection"
        )
    if isinstance(destination, str):
        return Path(destination.removeprefix("file://"))
    if getattr(destination, "protocol", None) in ("", "file", "local"):
        return Path(str(destination.path))  # type: ignore[union-attr]
    return destination if isinstance(destination, PathLike) else Path(destination)


def is_local(path: object) -> TypeGuard[Path]:
    """Whether it is a plain local path. Before universal-pathlib 0.3 a ``UPath`` of any store is a ``Path`` too."""
    return isinstance(path, Path) and not hasattr(path, "fs")


@contextmanager
def written_whole(destination: PathLike) -> Iterator[Path]:
    """Yield a local path to write; when the block ends well its content appears at ``destination`` at once.

    A local file is written beside its destination and renamed. For other stores it is written to a temporary folder
    and copied under another name first, then renamed: a reader never sees half a file. Failure leaves what was there.

    :raises DestinationError: there is no room for it, or its name is taken by a folder that is not ours or by none.
    """
    with room_for(destination):
        if is_local(destination):
            yield from _written_beside(destination)
            return
        with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder:
            local = Path(folder, destination.name)
            yield local
            if local.is_dir():
                _upload_folder(local, destination)
            else:
                _upload(local, destination)


@contextmanager
def room_for(destination: object) -> Iterator[None]:
    """Say in the words of the house that a disk is full.

    :raises DestinationError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DestinationError(
            f"There is no room for {destination}, or for temporary files in {tempfile.gettempdir()}: "
            f"{os.strerror(error.errno)}"
        ) from error


def _written_beside(destination: Path) -> Iterator[Path]:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DestinationError(f"{destination.parent} is no folder to write {destination.name} to") from None
    partial = destination.with_name(_partial(destination.name))
    try:
        yield partial
        if partial.is_dir():
            _replace_folder(partial, destination)
        elif destination.is_dir():
            raise DestinationError(f"{destination} is a folder: a file cannot take its place")
        else:
            partial.replace(destination)
    finally:
        _remove(partial)


def _upload(local: Path, destination: Any) -> None:
    partial = destination.parent.joinpath(_partial(destination.name))
    _make_folder(destination.parent)
    try:
        with local.open("rb") as source, partial.open("wb") as target:
            _copy(source, target)
        partial.rename(destination)
    except BaseException:
        with suppress(Exception):
            partial.unlink()
        raise


def _upload_folder(local: Path, destination: Any) -> None:
    """Upload file by file to a folder beside the destination, and let them take the place of those that are there."""
    _check_replaceable(destination)
    partial = destination.parent.joinpath(_partial(destination.name))
    attempt = uuid.uuid4().hex[:8]
    uploaded: list[tuple[Any, Any]] = []
    try:
        for path in sorted(file for file in local.rglob("*") if file.is_file()):
            *folders, name = path.relative_to(local).parts
            waiting = partial.joinpath(*folders, name)
            # No earlier attempt used this name, so that its file stays until the new ones are in place.
            uploaded.append((waiting, destination.joinpath(*folders, f"{attempt}-{name}")))
            _make_folder(waiting.parent)
            with path.open("rb") as source, waiting.open("wb") as target:
                _copy(source, target)
        _move_in(uploaded, destination)
    except BaseException:
        for waiting, _ in uploaded:
            with suppress(Exception):
                waiting.unlink()
        raise
    finally:
        with suppress(Exception):  # object stores have no folders
            partial.rmdir()


def _move_in(uploaded: list[tuple[Any, Any]], destination: Any) -> None:
    """Move files to the destination and remove all others there; ``_SUCCESS`` comes last and says that all are there.

    Failure leaves the earlier files as they were.
    """
    done = destination.joinpath(_DONE)
    earlier = [path for path in destination.rglob("*") if path.is_file()] if destination.exists() else []
    was_done = done.exists()
    _make_folder(destination)
    _put(destination.joinpath(_MARKER), _MARKER_TEXT)
    if was_done:
        done.unlink()
    moved: list[Any] = []
    try:
        for waiting, target in uploaded:
            _make_folder(target.parent)
            moved.append(target)
            waiting.rename(target)
    except BaseException:
        for target in moved:
            with suppress(Exception):
                target.unlink()
        if was_done:
            _put(done, b"")
        raise
    for path in earlier:
        if path.name not in (_MARKER, _DONE):
            path.unlink()
    _put(done, b"")


def _replace_folder(partial: Path, destination: Path) -> None:
    _check_replaceable(destination)
    partial.joinpath(_MARKER).write_bytes(_MARKER_TEXT)
    if not destination.exists():
        partial.rename(destination)
        return
    earlier = destination.with_name(_partial(destination.name))
    destination.rename(earlier)
    try:
        partial.rename(destination)
    except BaseException:
        earlier.rename(destination)
        raise
    _remove(earlier)


def _check_replaceable(destination: Any) -> None:
    if destination.exists() and not destination.joinpath(_MARKER).exists():
        raise DestinationError(
            f"{destination} exists, and {_MARKER} in it does not tell that it is such a table: name another folder, or "
            "remove this one"
        )


def _put(path: Any, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)


def _make_folder(folder: Any) -> None:
    with suppress(OSError, NotImplementedError):  # object stores have no folders
        folder.mkdir(parents=True, exist_ok=True)


def _copy(source: BinaryIO, target: Any) -> None:
    shutil.copyfileobj(source, target, _COPY_SIZE)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _partial(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex[:8]}.partial"
