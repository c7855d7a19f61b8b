"""The emulator as one object: the state, the clock and the services over them."""

from __future__ import annotations

import time

from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.errors import Conflict
from airflow_provider_amlbatch.emulator.faults import Faults, RequestCounts
from airflow_provider_amlbatch.emulator.services.artifacts import ArtifactService
from airflow_provider_amlbatch.emulator.services.blob import BlobService
from airflow_provider_amlbatch.emulator.services.compute import ComputeService
from airflow_provider_amlbatch.emulator.services.datastores import DatastoreService
from airflow_provider_amlbatch.emulator.services.environments import EnvironmentService
from airflow_provider_amlbatch.emulator.services.models import ModelService
from airflow_provider_amlbatch.emulator.services.signatures import Signatures
from airflow_provider_amlbatch.emulator.services.snapshots import SnapshotService
from airflow_provider_amlbatch.emulator.services.workspace import WorkspaceService
from airflow_provider_amlbatch.emulator.state import StateFolder
from airflow_provider_amlbatch.emulator.store import Store
from airflow_provider_amlbatch.emulator.tokens import Tokens

#: How long a reset waits for canceled runs.
_ENDING_SECONDS = 60


class Emulator:
    """Holds what the services share, and the services themselves.

    A service takes what it needs from here in its constructor; services do not know routes, and routes hold no rules.
    """

    def __init__(self, folder: StateFolder, clock: Clock, base_url: str) -> None:
        self.folder = folder
        self.identity = folder.open()
        self.clock = clock
        self.base_url = base_url.rstrip("/")
        self.faults = Faults()
        self.requests = RequestCounts()
        self._open()

    def _open(self) -> None:
        folder, clock = self.folder, self.clock
        self.store = Store(folder.database)
        self.blobs = BlobStore(folder.blobs, self.store)
        self.tokens = Tokens(self.identity, clock)
        self.workspace = WorkspaceService(self.identity, self.base_url)
        self.signatures = Signatures(self.identity, clock)
        self.blob = BlobService(self.identity, self.base_url, self.blobs, self.signatures)
        self.datastores = DatastoreService(self.identity, self.base_url, self.store, self.blobs)
        self.artifacts = ArtifactService(self.blobs, self.blob)
        self.models = ModelService(self.store, clock)
        self.compute = ComputeService(self.identity, self.base_url, self.store, clock)
        self.environments = EnvironmentService(self.store)
        self.snapshots = SnapshotService(folder.snapshots, self.store, self.blobs, self.blob, clock)

    def start(self) -> None:
        """Begin what runs in the background."""

    def stop(self) -> None:
        """End what runs in the background and let go of the state."""
        self.store.close()

    def reset(self, *, force: bool = False) -> None:
        """Delete all documents, blobs and runs. Who the emulator is, its clock, faults and counts stay.

        :param force: cancel runs that are going on, instead of refusing.
        :raises Conflict: if runs are going on, or do not end within a minute.
        """
        folders = [RunFolder(path) for path in sorted(self.folder.runs.iterdir())]
        going_on = [run for run in folders if run.report_file.exists() and run.read_report().status.is_active]
        if going_on and not force:
            names = ", ".join(run.path.name for run in going_on[:5])
            raise Conflict(f"{len(going_on)} runs are going on ({names}): wait for their end, or say force.")
        self.stop()
        try:
            _end(going_on)
            self.folder.empty()
        finally:
            self.folder.open()
            self._open()
            self.start()


def _end(runs: list[RunFolder]) -> None:
    for run in runs:
        run.cancel()
    deadline = time.monotonic() + _ENDING_SECONDS
    while any(run.has_controller() for run in runs):
        if time.monotonic() > deadline:
            raise Conflict("Canceled runs have not ended yet: ask again.")
        time.sleep(0.05)
