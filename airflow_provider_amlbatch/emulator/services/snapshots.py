"""Snapshots: source folders, uploaded file by file and kept unpacked.

The SDK sends only the files that have changed since the last snapshot that it knows of, with the tree of the whole
folder; a snapshot is put together from both.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from airflow_provider_amlbatch.aml.wire import Camel, Instant, Pascal, format_time
from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound
from airflow_provider_amlbatch.emulator.services.blob import BlobService
from airflow_provider_amlbatch.emulator.store import Store

#: The container through which files come and zips go.
CONTAINER = "snapshots"

_NONE = str(uuid.UUID(int=0))


class DirTreeNode(Camel):
    """A file or a folder; the hash of a file is SHA-512 over its content, its name and the word ``File``."""

    name: str | None = None
    type: str
    hash: str | None = None
    timestamp: str | None = None
    children: dict[str, DirTreeNode] = {}

    def files(self, folder: str = "") -> Iterator[tuple[str, DirTreeNode]]:
        """Path and node of each file below."""
        for name, node in self.children.items():
            path = f"{folder}{name}"
            if node.type == "File":
                yield path, node
            else:
                yield from node.files(f"{path}/")


class FileNames(Pascal):
    """Files that are about to be uploaded."""

    file_names: list[str] = []


class FileNode(Camel):
    """Where to upload a file."""

    full_name: str
    blob_uri: str


class FileNodes(Camel):
    """Where to upload files."""

    file_nodes: list[FileNode] = []


class FileRevision(Pascal):
    """A file that was uploaded."""

    full_name: str
    blob_uri: str
    file_size: int | None = None


class FileRevisions(Pascal):
    """Files that were uploaded."""

    file_nodes: list[FileRevision] = []


class SnapshotCreation(Pascal):
    """A snapshot to be: the whole tree, the files that are new in it, and the snapshot that has the others."""

    parent_snapshot_id: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None
    dir_tree_node: DirTreeNode
    file_revision_list: FileRevisions = Field(default_factory=FileRevisions)


class Snapshot(Camel):
    """What is kept of a snapshot beside its files."""

    id: str
    parent_id: str | None = None
    created_time: Instant
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    root: DirTreeNode


class SnapshotService:
    """The workspace's snapshots."""

    def __init__(self, folder: Path, store: Store, blobs: BlobStore, blob: BlobService, clock: Clock) -> None:
        self._folder = folder
        self._blobs = blobs
        self._blob = blob
        self._clock = clock
        self._snapshots = store.collection("snapshots", Snapshot)
        blobs.create_container(CONTAINER)

    def unpack(self, snapshot_id: str) -> Path:
        """The folder with a snapshot's files. It belongs to all runs of the snapshot: read it, or copy it.

        :raises NotFound: if there is no such snapshot.
        """
        self.get(snapshot_id)
        return self._folder / snapshot_id

    def get(self, snapshot_id: str) -> Snapshot:
        """A snapshot without its files.

        :raises NotFound: if there is none.
        """
        snapshot = self._snapshots.get(snapshot_id)
        if snapshot is None:
            raise NotFound(f"The snapshot {snapshot_id!r} was not found.", code="SnapshotNotFound")
        return snapshot

    def latest(self) -> dict[str, Any]:
        """The snapshot that a new client may build on: always the empty one, so that it sends all its files."""
        root = DirTreeNode(name="", type="Directory", timestamp=format_time(self._clock.now()))
        return {"id": _NONE, "root": root.to_wire()}

    def upload_addresses(self, names: list[str]) -> FileNodes:
        """Say where to upload files."""
        upload = uuid.uuid4().hex
        nodes = []
        for name in names:
            path = _relative(name)
            url = self._blob.signed_url(CONTAINER, f"uploads/{upload}/{path}", "rcw", timedelta(hours=1))
            nodes.append(FileNode(full_name=name, blob_uri=url))
        return FileNodes(file_nodes=nodes)

    def create(self, snapshot_id: str, given: SnapshotCreation) -> Snapshot:
        """Put a snapshot together.

        :raises BadRequest: if a file was neither uploaded nor is the parent's, or is not what its hash says. The SDK
            then sends all files.
        """
        if not _is_id(snapshot_id):
            raise BadRequest(f"The snapshot id {snapshot_id!r} is not a UUID.", code="UserError")
        uploaded = {_relative(file.full_name): self._uploaded(file) for file in given.file_revision_list.file_nodes}
        parent = self._folder / (given.parent_snapshot_id or _NONE) if _is_id(given.parent_snapshot_id) else None
        beside = self._folder / f".{snapshot_id}.{os.getpid()}.{uuid.uuid4().hex}"
        beside.mkdir()
        try:
            for path, node in given.dir_tree_node.files():
                _place(_relative(path), node, uploaded, parent, beside)
            target = self._folder / snapshot_id
            if not target.exists():  # a request that was sent again finds its own work
                beside.replace(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        for file in given.file_revision_list.file_nodes:
            self._blobs.delete(CONTAINER, _blob_name(file))
        snapshot = Snapshot(
            id=snapshot_id,
            parent_id=given.parent_snapshot_id,
            created_time=self._clock.now(),
            tags=given.tags or {},
            properties=given.properties or {},
            root=given.dir_tree_node,
        )
        return self._snapshots.put(snapshot_id, snapshot)

    def zip_url(self, snapshot_id: str) -> str:
        """Address of a snapshot as one zip file."""
        folder = self.unpack(snapshot_id)
        name = f"zips/{snapshot_id}.zip"
        with self._blobs.receiving() as upload:
            with zipfile.ZipFile(upload.path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(folder.rglob("*")):
                    archive.write(file, file.relative_to(folder))
            self._blobs.place(upload, CONTAINER, name)
        return self._blob.signed_url(CONTAINER, name)

    def _uploaded(self, file: FileRevision) -> Path:
        path = self._blobs.path(CONTAINER, _blob_name(file))
        if not path.is_file():
            raise BadRequest(f"The file {file.full_name!r} of the snapshot was not uploaded.", code="UserError")
        return path


def _blob_name(file: FileRevision) -> str:
    container, _, name = unquote(urlsplit(file.blob_uri).path).lstrip("/").partition("/")
    if container != CONTAINER:
        raise BadRequest(f"The file {file.full_name!r} was not uploaded to where it belongs.", code="UserError")
    return name


def _place(path: str, node: DirTreeNode, uploaded: dict[str, Path], parent: Path | None, target: Path) -> None:
    source = uploaded.get(path)
    if source is None and parent is not None:
        source = parent / path
    if source is None or not source.is_file():
        raise BadRequest(
            f"The snapshot lacks {path!r}: it was not uploaded, and its parent has none.", code="UserError"
        )
    place = target / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    if node.hash is not None and _hash(place) != node.hash:
        raise BadRequest(f"The file {path!r} of the snapshot is not the one that its hash says.", code="UserError")


def _hash(file: Path) -> str:
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha512")
    digest.update(file.name.encode())
    digest.update(b"File")
    return digest.hexdigest()


def _relative(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise BadRequest(f"{name!r} is not a path within a source folder.", code="UserError")
    return str(path)


def _is_id(text: str | None) -> bool:
    try:
        return text is not None and str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
