"""Blob content as plain files: ``blobs/<container>/<name>``.

What is on disk is the truth: size, times and etag are derived from the file, so that what the engine writes into an
output folder is a blob at once, and a FileDataset can be read in place. Only what a file cannot say (content type, MD5,
metadata) is kept beside, and only for blobs that were uploaded with it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypedDict, Unpack

from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.store import Store

#: The longest file name, in bytes, that common file systems take.
_LONGEST_PART = 255

#: How long blocks are kept for their list, in seconds; Azure keeps them for a week, too.
_UNCOMMITTED = 7 * 86400


class Said(TypedDict, total=False):
    """What an uploader may say about a blob."""

    content_type: str | None
    content_md5: str | None
    metadata: dict[str, str] | None
    appendable: bool
    block_list: str | None


class BlobProperties(Camel):
    """What was said about a blob when it was uploaded; it holds for the content with this etag, ``appendable`` longer.

    :param appendable: stays true of an append blob that somebody died appending to.
    :param block_list: digest of the list of blocks that the blob was made of.
    """

    etag: str
    content_type: str | None = None
    content_md5: str | None = None
    metadata: dict[str, str] = {}
    appendable: bool = False
    block_list: str | None = None

    @property
    def kind(self) -> str:
        """The kind of blob, in the service's words."""
        return "AppendBlob" if self.appendable else "BlockBlob"


@dataclass(frozen=True)
class Blob:
    """A blob and its place on disk. ``size`` is in bytes."""

    container: str
    name: str
    path: Path
    size: int
    etag: str
    last_modified: datetime

    @classmethod
    def of(cls, container: str, name: str, path: Path) -> Blob:
        """Describe the file of a blob.

        :raises FileNotFoundError: if there is no such file.
        """
        stat = path.stat()
        return cls(
            container=container,
            name=name,
            path=path,
            size=stat.st_size,
            etag=f'"0x{stat.st_mtime_ns ^ (stat.st_ino << 20) ^ stat.st_size:016X}"',
            last_modified=datetime.fromtimestamp(stat.st_mtime, UTC),
        )


class Upload:
    """Content on its way in: written to disk and hashed as it comes, so that no blob is ever held in memory."""

    def __init__(self, folder: Path) -> None:
        descriptor, path = tempfile.mkstemp(dir=folder)
        self.path = Path(path)
        self.size = 0
        self._file = open(descriptor, "wb")  # noqa: SIM115  # closed by whoever takes the file
        self._hash = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def md5(self) -> str:
        """MD5 of what came so far, in base64."""
        return base64.b64encode(self._hash.digest()).decode()

    def move(self, target: Path) -> None:
        """Put the whole content where it belongs, in one step."""
        self._file.close()
        self.path.chmod(0o644)
        self.path.replace(target)

    def append(self, target: Path) -> None:
        """Add the whole content to the end of a file.

        :raises OSError: if it cannot be written, for example to a full disk; the file is then as it was.
        """
        self._file.close()
        before = target.stat()
        try:
            with open(self.path, "rb") as source, open(target, "ab") as file:
                shutil.copyfileobj(source, file)
        except OSError:
            os.truncate(target, before.st_size)
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))  # the etag is made of it
            raise

    def discard(self) -> None:
        """Forget the content, unless it was moved."""
        try:
            self._file.close()
        finally:  # what is buffered may not fit on the disk
            self.path.unlink(missing_ok=True)


class BlobStore:
    """The storage account: containers, blobs and the blocks of uploads that are not finished."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = root
        self._staging = root.parent / "staging"
        self._properties = store.collection("blobs", BlobProperties)
        self._root.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(parents=True, exist_ok=True)
        self._sweep()

    @property
    def containers(self) -> list[str]:
        """Names of all containers."""
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())

    def create_container(self, name: str) -> None:
        """Make a container; one that exists is left as it is."""
        self._container(name).mkdir(exist_ok=True)

    def has_container(self, name: str) -> bool:
        """Whether there is a container of that name."""
        return bool(name) and "/" not in name and not name.startswith(".") and (self._root / name).is_dir()

    def path(self, container: str, name: str) -> Path:
        """Where the content of a blob, or of a folder of blobs, lies or would lie.

        :raises BadRequest: if the name leaves the container, or cannot be a file's.
        """
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise BadRequest(f"The blob name {name!r} is not valid.", code="InvalidResourceName")
        if any(len(part.encode()) > _LONGEST_PART for part in parts):
            raise Unsupported(
                f"The emulator keeps blobs as files, so no part of a name can be longer than {_LONGEST_PART} bytes, "
                f"as one of {name[:40]!r}... is."
            )
        return self._container(container).joinpath(*parts)

    @contextmanager
    def receiving(self) -> Iterator[Upload]:
        """Take content in, to be put with :meth:`place` or :meth:`stage_block`; what is put nowhere is discarded."""
        upload = Upload(self._staging)
        try:
            yield upload
        finally:
            upload.discard()

    def put(self, container: str, name: str, chunks: Iterable[bytes], **said: Unpack[Said]) -> Blob:
        """Write a blob. It appears as a whole or not at all.

        :raises NotFound: if there is no such container.
        :raises Conflict: if a part of the name is itself a blob: content is kept as files, so ``a`` and ``a/b``
            cannot both exist here, as they cannot on a mounted container.
        """
        with self.receiving() as upload:
            for chunk in chunks:
                upload.write(chunk)
            return self.place(upload, container, name, **said)

    def place(self, upload: Upload, container: str, name: str, **said: Unpack[Said]) -> Blob:
        """Make a blob of received content; see :meth:`put`."""
        if not self.has_container(container):
            raise NotFound(f"The container {container!r} does not exist.", code="ContainerNotFound")
        target = self.path(container, name)
        try:
            _move(upload, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise Conflict(
                f"The emulator keeps blobs as files, and a part of {name!r} is both a folder and a blob.",
                code="EmulatorUnsupported",
            ) from None
        blob = Blob.of(container, name, target)
        self.describe(blob, **said)
        return blob

    def append(self, upload: Upload, blob: Blob) -> Blob:
        """Add received content to a blob."""
        said = self.properties(blob)
        upload.append(blob.path)
        longer = Blob.of(blob.container, blob.name, blob.path)
        self.describe(longer, content_type=said.content_type, metadata=said.metadata, appendable=said.appendable)
        return longer

    def describe(self, blob: Blob, **said: Unpack[Said]) -> None:
        """Replace what is said about a blob."""
        if any(said.values()):
            properties = BlobProperties(
                etag=blob.etag,
                content_type=said.get("content_type"),
                content_md5=said.get("content_md5"),
                metadata=said.get("metadata") or {},
                appendable=said.get("appendable", False),
                block_list=said.get("block_list"),
            )
            self._properties.put(f"{blob.container}/{blob.name}", properties)
        else:
            self._properties.delete(f"{blob.container}/{blob.name}")

    def get(self, container: str, name: str) -> Blob:
        """The blob of that name.

        :raises NotFound: if there is none.
        """
        path = self.path(container, name)
        if not path.is_file():
            raise NotFound(f"The blob {name!r} does not exist in {container!r}.", code="BlobNotFound")
        return Blob.of(container, name, path)

    def properties(self, blob: Blob) -> BlobProperties:
        """What was said about the blob at its upload, if its content is still that upload's."""
        said = self._properties.get(f"{blob.container}/{blob.name}")
        if said is None or said.etag != blob.etag:
            return BlobProperties(etag=blob.etag, appendable=said is not None and said.appendable)
        return said

    def list_blobs(self, container: str, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        """All blobs whose name begins with a prefix, in the order of their names, lazily."""
        base = self._container(container)
        folder = PurePosixPath(prefix).parent if not prefix.endswith("/") else PurePosixPath(prefix)
        start = self.path(container, str(folder)) if str(folder) != "." else base
        for path in _walk(start):
            name = path.relative_to(base).as_posix()
            if name.startswith(prefix) and name > start_after:
                try:
                    yield Blob.of(container, name, path)
                except FileNotFoundError:
                    continue  # deleted while we looked

    def delete(self, container: str, name: str) -> None:
        """Remove a blob.

        :raises NotFound: if there is none.
        """
        blob = self.get(container, name)
        blob.path.unlink()
        self._properties.delete(f"{container}/{name}")
        # Azure has no empty folders, and one would stand in the way of a blob of its name.
        base = self._container(container)
        for folder in blob.path.parents:
            if folder == base:
                break
            try:
                folder.rmdir()
            except OSError:
                break  # not empty

    def stage_block(self, upload: Upload, container: str, name: str, block_id: str) -> None:
        """Keep one block of an upload until it is committed."""
        self.path(container, name)
        file = self._blocks(container, name) / _hex(block_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        upload.move(file)

    def assemble(self, upload: Upload, container: str, name: str, block_ids: list[str]) -> bool:
        """Write staged blocks, in this order, into an upload; whether all of them are there."""
        files = [self._blocks(container, name) / _hex(block_id) for block_id in block_ids]
        if not all(file.exists() for file in files):
            return False
        try:
            for chunk in _contents(files):
                upload.write(chunk)
        except FileNotFoundError:  # somebody else has just committed them
            return False
        return True

    def commit(self, upload: Upload, container: str, name: str, block_ids: list[str], **said: Unpack[Said]) -> Blob:
        """Make a blob of what was assembled of blocks, and forget all that are staged under its name."""
        blob = self.place(upload, container, name, **said | {"block_list": _digest(block_ids)})
        shutil.rmtree(self._blocks(container, name), ignore_errors=True)
        return blob

    def is_committed(self, blob: Blob, block_ids: list[str]) -> bool:
        """Whether a blob was made of these blocks, and none of them was staged again."""
        folder = self._blocks(blob.container, blob.name)
        staged = any((folder / _hex(block_id)).exists() for block_id in block_ids)
        return not staged and self.properties(blob).block_list == _digest(block_ids)

    def _sweep(self) -> None:
        """Remove what a server that was killed was receiving, and blocks whose list never came."""
        for entry in self._staging.iterdir():
            if entry.is_file():
                entry.unlink()
        for folder in self._staging.glob("blocks/*/*"):
            if time.time() - folder.stat().st_mtime > _UNCOMMITTED:
                shutil.rmtree(folder, ignore_errors=True)

    def _container(self, name: str) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise BadRequest(f"The container name {name!r} is not valid.", code="InvalidResourceName")
        return self._root / name

    def _blocks(self, container: str, name: str) -> Path:
        return self._staging / "blocks" / container / _hex(name)


def _move(upload: Upload, target: Path) -> None:
    for _ in range(10):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            return upload.move(target)
        except FileNotFoundError:
            continue  # the last blob of the folder was deleted, and the folder with it
    raise Conflict(f"The folder of {target.name!r} is deleted as fast as it is made.")


def _digest(block_ids: list[str]) -> str:
    return _hex("\n".join(map(_hex, block_ids)))


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _walk(folder: Path) -> Iterator[Path]:
    try:
        # A folder stands where the names of its blobs stand: "a-b" before "a/c", as "-" comes before "/".
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name + "/" if entry.is_dir() else entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _contents(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        with open(file, "rb") as content:
            while chunk := content.read(1 << 20):
                yield chunk
