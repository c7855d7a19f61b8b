"""The state folder: everything that one emulator keeps, and who it says that it is.

::

    emulator.json   identity and secrets of this emulator, made once; readable by its owner only
    emulator.db     documents (SQLite)
    blobs/          the storage account, a folder per container
    snapshots/      unpacked source folders
    runs/           a job folder per pipeline run
    tls/            the certificate authority and the server's certificate
    server.json     port of the last server; address and process of the one that serves the folder now
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

#: Changes whenever an older folder cannot be read any more.
FORMAT = 1

#: The tenant id must be literally this: msal then does not ask Microsoft whether the authority exists.
TENANT = "adfs"


class StateError(RuntimeError):
    """Raised when a state folder cannot be used."""


@dataclass(frozen=True)
class Identity:
    """Who the emulator says that it is. A new folder means a new workspace id, because the SDK caches by it."""

    subscription_id: str = "00000000-0000-0000-0000-000000000001"
    resource_group: str = "emulator"
    workspace_name: str = "emulator"
    location: str = "local"
    workspace_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    tenant_id: str = TENANT
    account_name: str = "emulatorstore"
    account_key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(64)).decode(), repr=False)
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    signing_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    format: int = FORMAT

    @property
    def scope(self) -> str:
        """The workspace's resource id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )


@dataclass(frozen=True)
class StateFolder:
    """Names the files of a state folder."""

    root: Path

    @property
    def identity_file(self) -> Path:
        """Who the emulator is. Its presence makes a folder a state folder."""
        return self.root / "emulator.json"

    @property
    def is_state(self) -> bool:
        """Whether an emulator has kept its state here."""
        return self.identity_file.exists()

    @property
    def database(self) -> Path:
        """The documents."""
        return self.root / "emulator.db"

    @property
    def blobs(self) -> Path:
        """The storage account."""
        return self.root / "blobs"

    @property
    def snapshots(self) -> Path:
        """Unpacked source folders, one per snapshot id."""
        return self.root / "snapshots"

    @property
    def runs(self) -> Path:
        """Job folders, one per pipeline run id."""
        return self.root / "runs"

    @property
    def tls(self) -> Path:
        """Certificates."""
        return self.root / "tls"

    @property
    def server_file(self) -> Path:
        """Address and process id of the serving process, or the port of the last one."""
        return self.root / "server.json"

    @property
    def server_lock(self) -> Path:
        """Held by the serving process."""
        return self.root / "server.lock"

    @property
    def server_log(self) -> Path:
        """Output of a detached server."""
        return self.root / "server.log"

    def empty(self) -> None:
        """Delete all that is kept but certificates and secrets. Nobody may have the database open.

        The workspace gets a new id, so that nothing a client has cached is taken for current.
        """
        for suffix in ("", "-wal", "-shm"):
            self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)
        for folder in (self.blobs, self.root / "staging", self.snapshots, self.runs):
            shutil.rmtree(folder, ignore_errors=True)
        beside = self._write(replace(self.open(), workspace_id=str(uuid.uuid4())))
        beside.replace(self.identity_file)

    def open(self) -> Identity:
        """Make the folder if it is new, and read who it is.

        :raises StateError: if the folder was written in a format that this version does not read.
        """
        # Environment variables of steps, data and logs may hold secrets: the folder is its owner's only.
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.identity_file
        if not file.exists():
            beside = self._write(Identity())
            with suppress(FileExistsError):
                os.link(beside, file)  # the first of two starters wins, and both read the same identity
            beside.unlink()
        data = json.loads(file.read_text())
        if data.get("format") != FORMAT:
            raise StateError(
                f"{self.root} was written in format {data.get('format')}, this version reads format {FORMAT}: "
                "choose another folder with --state, or empty it with `amlbatch emulator reset`."
            )
        for folder in (self.blobs, self.snapshots, self.runs, self.tls):
            folder.mkdir(exist_ok=True)
        return Identity(**data)

    def _write(self, identity: Identity) -> Path:
        beside = self.identity_file.with_suffix(f".{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as output:
            json.dump(asdict(identity), output, indent=1)
        return beside
