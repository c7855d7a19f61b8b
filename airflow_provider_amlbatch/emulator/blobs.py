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


class Said(TypedDict, total=False):
    """What an uploader may say about a blob."""

    content_type: str | None
    content_md5: str | None
    metadata: dict[str, str] | None
    appendable: bool


class BlobProperties(Camel):
    """What was said about a blob when it was uploaded; it holds for the content with this etag only."""

    etag: str
    content_type: str | None = None
    content_md5: str | None = None
    metadata: dict[str, str] = {}
    appendable: bool = False

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
        """Add the whole content to the end of a file."""
        self._file.close()
        with open(self.path, "rb") as source, open(target, "ab") as file:
            shutil.copyfileobj(source, file)

    def discard(self) -> None:
        """Forget the content, unless it was moved."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """The storage account: containers, blobs and the blocks of uploads that are not finished."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = root
        self._staging = root.parent / "staging"
        self._properties = store.collection("blobs", BlobProperties)
        self._root.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(parents=True, exist_ok=True)

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
        return said if said is not None and said.etag == blob.etag else BlobProperties(etag=blob.etag)

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

    def commit_blocks(self, container: str, name: str, block_ids: list[str], **said: Unpack[Said]) -> Blob:
        """Make a blob out of staged blocks, in this order.

        :raises BadRequest: if a block was never staged.
        """
        folder = self._blocks(container, name)
        files = [folder / _hex(block_id) for block_id in block_ids]
        if not all(file.is_file() for file in files):
            raise BadRequest("The specified block list is invalid: a block was not uploaded.", code="InvalidBlockList")
        blob = self.put(container, name, _contents(files), **said)
        shutil.rmtree(folder, ignore_errors=True)
        return blob

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
