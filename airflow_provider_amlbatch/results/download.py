"""Fetch blobs: into a folder, or as streams to parse while they arrive."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from threading import Lock
from typing import Any

from airflow_provider_amlbatch.results.blobs import Blob, BlobReader
from airflow_provider_amlbatch.results.destination import room_for
from airflow_provider_amlbatch.results.errors import BlobCorrupt, UnsafeName

#: Bytes of a range; larger blobs are fetched in several at a time.
RANGE = 16 << 20
#: Ranges of a large blob, and small blobs, that are fetched at the same time.
RANGES_AT_ONCE, BLOBS_AT_ONCE = 4, 8

#: Bytes of the ranges of a stream: it begins small, because often only the beginning is looked at.
_STREAM_FIRST, _STREAM_RANGE = 256 << 10, 8 << 20

#: Called with the bytes that have arrived so far and those that are expected.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Downloaded:
    """What was fetched: local path by blob name, and bytes."""

    files: dict[str, Path]
    size: int


class BlobSource:
    """A blob as a source for :func:`.collect.collect`: it is parsed while it arrives, never whole in memory."""

    def __init__(self, reader: BlobReader, blob: Blob) -> None:
        self._reader, self.blob = reader, blob

    @property
    def name(self) -> str:
        """The blob's name."""
        return self.blob.name

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.blob.size

    def open(self, mode: str = "rb") -> BlobStream:
        """Open it for reading."""
        if mode != "rb":
            raise ValueError(f"A blob source can be opened with 'rb' only, not {mode!r}")
        return BlobStream(self._reader, self.blob)


def blob_sources(reader: BlobReader, prefix: str, pattern: str = "*") -> list[BlobSource]:
    """Find the blobs below a prefix whose remaining name matches a glob, in the order of their names.

    :param pattern: ``*`` and ``?`` match any characters, slashes too: ``*.parquet`` finds files in subfolders.
    """
    below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    return [
        BlobSource(reader, blob)
        for blob in reader.find(below)
        if fnmatchcase(blob.name[len(below) :], pattern) and not blob.name.endswith("/")
    ]


def download(
    reader: BlobReader,
    blobs: Iterable[Blob],
    folder: str | os.PathLike[str],
    *,
    below: str = "",
    progress: Progress | None = None,
) -> Downloaded:
    """Fetch blobs into a folder: large ones in parallel ranges, small ones side by side.

    Each file appears whole or not at all. Length, MD5 (where the service has one) and identity are verified.

    :param below: prefix that is cut off the names.
    :raises UnsafeName: a name leads out of the folder, or two names lead to one file; nothing is fetched then.
    :raises DestinationError: there is no room for them.
    """
    wanted = list(blobs)
    target = Path(folder)
    files = local_paths(target, [blob.name for blob in wanted], below)
    _make_folders(target, {path.parent for path in files.values()})
    size = sum(blob.size for blob in wanted)
    tell = _Arrived(size, progress)
    with room_for(target), ThreadPoolExecutor(BLOBS_AT_ONCE, "download") as pool:
        small = [
            pool.submit(_fetch_small, reader, blob, files[blob.name], tell) for blob in wanted if blob.size <= RANGE
        ]
        try:
            for blob in wanted:
                if blob.size > RANGE:
                    _fetch_large(reader, blob, files[blob.name], tell)
            for future in small:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Downloaded(files, size)


def local_paths(folder: Path, names: Sequence[str], below: str = "") -> dict[str, Path]:
    """Find a path in the folder for each blob name.

    :raises UnsafeName: a name leads out of the folder, or two names lead to one file.
    """
    found: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for name in names:
        parts = name.removeprefix(below).strip("/").split("/")
        if any(part in ("", ".", "..") or re.search(r"[\\:\x00-\x1f]", part) for part in parts):
            raise UnsafeName(f"The blob name {name!r} is no safe path below {folder}: rename the blob or leave it out")
        path = folder.joinpath(*parts)
        if owners.setdefault(path, name) != name:
            raise UnsafeName(f"The blobs {name!r} and {owners[path]!r} would be written to one file, {path}")
        found[name] = path
    return found


def _fetch_small(reader: BlobReader, blob: Blob, path: Path, tell: _Arrived) -> None:
    partial = _partial(path)
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with partial.open("wb", buffering=0) as file:
            for piece in reader.read(blob):
                file.write(piece)
                if blob.md5 is not None:
                    digest.update(piece)
                tell(len(piece))
            size = file.tell()
        _verify(blob, digest.digest(), size)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _fetch_large(reader: BlobReader, blob: Blob, path: Path, tell: _Arrived) -> None:
    partial = _partial(path)
    digest = hashlib.md5(usedforsecurity=False)
    file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.truncate(file, blob.size)
        with ThreadPoolExecutor(RANGES_AT_ONCE, "range") as pool:
            ranges = [
                (start, pool.submit(_fetch_range, reader, blob, file, start, tell))
                for start in range(0, blob.size, RANGE)
            ]
            try:
                for start, future in ranges:
                    future.result()
                    if blob.md5 is not None:
                        digest.update(os.pread(file, RANGE, start))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        _verify(blob, digest.digest(), blob.size)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def _fetch_range(reader: BlobReader, blob: Blob, file: int, start: int, tell: _Arrived) -> None:
    for piece in reader.read(blob, start, RANGE):
        os.pwrite(file, piece, start)
        start += len(piece)
        tell(len(piece))


def _make_folders(target: Path, folders: set[Path]) -> None:
    """Make folders below the target; links must not lead out of it."""
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UnsafeName(f"{folder} cannot be made: a file has its name") from None
        if not folder.resolve().is_relative_to(target.resolve()):
            raise UnsafeName(f"{folder} leads out of {target} through a link")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.partial")


def _verify(blob: Blob, md5: bytes, size: int) -> None:
    if size != blob.size:
        raise BlobCorrupt(f"{blob.name} has {blob.size:,} bytes, but {size:,} arrived")
    if blob.md5 is not None and blob.md5 != md5:
        raise BlobCorrupt(f"{blob.name} arrived with MD5 {md5.hex()}, but the service says {blob.md5.hex()}")


class _Arrived:
    """Adds up what arrives in several threads."""

    def __init__(self, expected: int, progress: Progress | None) -> None:
        self._expected, self._progress, self._total = expected, progress, 0
        self._lock = Lock()

    def __call__(self, size: int) -> None:
        if self._progress:
            with self._lock:
                self._total += size
                self._progress(self._total, self._expected)


class BlobStream(RawIOBase):
    """A blob as a file: ranges are fetched ahead of the reader, in order; MD5 is verified at the end.

    At most :data:`RANGES_AT_ONCE` ranges of 8 MB are in memory.
    """

    def __init__(self, reader: BlobReader, blob: Blob) -> None:
        super().__init__()
        self._reader, self._blob = reader, blob
        self._pool = ThreadPoolExecutor(RANGES_AT_ONCE, "stream")
        self._ahead: deque[Future[bytes]] = deque()
        self._at, self._asked, self._next_size, self._depth = 0, 0, _STREAM_FIRST, 1
        self._held: memoryview = memoryview(b"")
        self._digest: Any = hashlib.md5(usedforsecurity=False)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: ranges can be read in any order."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a position; what was fetched ahead is dropped."""
        base = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._blob.size}[whence]
        at = max(0, base + offset)
        if at != self._at:
            self._drop()
            self._at = self._asked = at
            self._digest = None
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer only at the end."""
        wanted = self._blob.size - self._at if size is None or size < 0 else size
        pieces: list[memoryview] = []
        while wanted > 0 and (piece := self._piece(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer as much as fits, less only at the end."""
        size = 0
        while size < len(buffer) and (piece := self._piece(len(buffer) - size)):
            buffer[size : size + len(piece)] = piece
            size += len(piece)
        return size

    def close(self) -> None:
        """Stop fetching."""
        if not self.closed:
            self._drop()
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _piece(self, limit: int) -> memoryview:
        if not self._held:
            self._fill()
            if not self._ahead:
                return memoryview(b"")
            data = self._ahead.popleft().result()
            self._held = memoryview(data)
            self._depth = RANGES_AT_ONCE
            if self._digest is not None and self._blob.md5 is not None:
                self._digest.update(data)
        piece, self._held = self._held[:limit], self._held[limit:]
        self._at += len(piece)
        if self._at == self._blob.size and self._digest is not None and self._blob.md5 is not None:
            _verify(self._blob, self._digest.digest(), self._blob.size)
        return piece

    def _fill(self) -> None:
        while len(self._ahead) < self._depth and self._asked < self._blob.size:
            size = min(self._next_size, self._blob.size - self._asked)
            self._ahead.append(self._pool.submit(self._fetch, self._asked, size))
            self._asked += size
            self._next_size = min(_STREAM_RANGE, 4 * self._next_size)

    def _fetch(self, start: int, size: int) -> bytes:
        return b"".join(self._reader.read(self._blob, start, size))

    def _drop(self) -> None:
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()
        self._held = memoryview(b"")
        self._next_size, self._depth = _STREAM_FIRST, 1
