"""The emulator as one object: the state, the clock and the services over them."""

from __future__ import annotations

from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.services.workspace import WorkspaceService
from airflow_provider_amlbatch.emulator.state import StateFolder
from airflow_provider_amlbatch.emulator.store import Store
from airflow_provider_amlbatch.emulator.tokens import Tokens


class Emulator:
    """Holds what the services share, and the services themselves.

    A service takes what it needs from here in its constructor; services do not know routes, and routes hold no rules.
    """

    def __init__(self, folder: StateFolder, clock: Clock, base_url: str) -> None:
        self.folder = folder
        self.identity = folder.open()
        self.clock = clock
        self.base_url = base_url.rstrip("/")
        self.store = Store(folder.database)
        self.blobs = BlobStore(folder.blobs, self.store)
        self.tokens = Tokens(self.identity, clock)
        self.workspace = WorkspaceService(self.identity, self.base_url)

    def start(self) -> None:
        """Begin what runs in the background."""

    def stop(self) -> None:
        """End what runs in the background and let go of the state."""
        self.store.close()
