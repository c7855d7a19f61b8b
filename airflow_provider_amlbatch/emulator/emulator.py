"""The emulator as one object: the state, the clock and the services over them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from airflow_provider_amlbatch.aml.history import PIPELINE_RUN, STEP_RUN, Run
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.delivery import Delivery
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder, end_runs
from airflow_provider_amlbatch.emulator.errors import Conflict
from airflow_provider_amlbatch.emulator.faults import Faults, RequestCounts
from airflow_provider_amlbatch.emulator.services.artifacts import RUN, ArtifactService
from airflow_provider_amlbatch.emulator.services.blob import BlobService
from airflow_provider_amlbatch.emulator.services.compiler import Surroundings
from airflow_provider_amlbatch.emulator.services.compute import ComputeService
from airflow_provider_amlbatch.emulator.services.datasets import DatasetService
from airflow_provider_amlbatch.emulator.services.datastores import DatastoreService
from airflow_provider_amlbatch.emulator.services.dispatcher import Dispatcher
from airflow_provider_amlbatch.emulator.services.endpoints import EndpointService
from airflow_provider_amlbatch.emulator.services.environments import EnvironmentService
from airflow_provider_amlbatch.emulator.services.experiments import ExperimentService
from airflow_provider_amlbatch.emulator.services.history import HistoryService, container_of
from airflow_provider_amlbatch.emulator.services.metrics import MetricService
from airflow_provider_amlbatch.emulator.services.models import ModelService
from airflow_provider_amlbatch.emulator.services.pipeline_runs import PipelineRunService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService
from airflow_provider_amlbatch.emulator.services.reuse import ReuseService, digest
from airflow_provider_amlbatch.emulator.services.run_records import RunRecords
from airflow_provider_amlbatch.emulator.services.run_states import RunStates
from airflow_provider_amlbatch.emulator.services.schedules import ScheduleService
from airflow_provider_amlbatch.emulator.services.signatures import Signatures
from airflow_provider_amlbatch.emulator.services.snapshots import SnapshotService
from airflow_provider_amlbatch.emulator.services.step_environment import RunContext, StepEnvironment
from airflow_provider_amlbatch.emulator.services.studio import StudioService
from airflow_provider_amlbatch.emulator.services.studio_runs import RunPages
from airflow_provider_amlbatch.emulator.services.workspace import WorkspaceService
from airflow_provider_amlbatch.emulator.state import StateFolder
from airflow_provider_amlbatch.emulator.store import Store
from airflow_provider_amlbatch.emulator.tls import Certificates
from airflow_provider_amlbatch.emulator.tokens import Tokens

log = logging.getLogger(__name__)

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
        self.delivery = Delivery()
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

        self.datasets = DatasetService(self.store, clock, self.identity)
        self.experiments = ExperimentService(self.store, clock)
        self.states = RunStates(folder.runs)
        self.history = HistoryService(self.store, clock, self.experiments, self.states, self.artifacts)
        self.pipelines = PipelineService(self.store, clock, self.identity, self.base_url, self.datasets)
        bundle = Certificates(folder.tls).bundle
        self.step_environment = StepEnvironment(self.identity, self.base_url, bundle, self.tokens, clock)
        self.reuse = ReuseService(self.store, self.states)
        self.dispatcher = Dispatcher(
            self.store,
            self.states,
            lambda name: self.compute.capacity(name).max_nodes,
            chores=[lambda: self.schedules.tick()],
            finish=lambda run_id, report: self.pipeline_runs.finish(run_id, report),
        )
        self.states.when_ended(self.dispatcher.ended, lambda run_id, report: self.pipeline_runs.finish(run_id, report))
        self.pipeline_runs = PipelineRunService(
            self.store,
            clock,
            self.pipelines,
            self.experiments,
            self.history,
            self.states,
            self.compute,
            self.dispatcher,
            RunRecords(self.history, self.reuse, self.datasets, self.environments),
            self._surroundings,
        )
        self.endpoints = EndpointService(self.store, clock, self.pipelines, self.pipeline_runs)
        self.schedules = ScheduleService(
            self.store, clock, self.blobs, self.datastores, self.pipelines, self.endpoints, self.pipeline_runs
        )
        self.metrics = MetricService(self.store, clock, self.history)
        self.studio = StudioService(
            clock,
            self.history,
            self.experiments,
            self.models,
            self.pipelines,
            self.endpoints,
            self.schedules,
            RunPages(
                self.history,
                self.experiments,
                self.states,
                self.pipelines,
                self.pipeline_runs,
                self.artifacts,
                self.datastores,
                self.blobs,
            ),
        )

    def start(self) -> None:
        """Begin what runs in the background."""
        self.schedules.resume()
        self.dispatcher.start()

    def stop(self) -> None:
        """End what runs in the background and let go of the state. Runs in progress go on."""
        self.dispatcher.stop()
        try:
            self.schedules.pause()
        except Exception:  # such as a full disk, which a reset is to empty
            log.exception("When schedules were last looked at could not be kept")
        finally:
            self.store.close()

    def locate(self, datastore: str, path: str) -> Path:
        """The place on this machine of a path on a datastore."""
        return self.blobs.path(self.datastores.container(datastore), path)

    def cancel_run(self, run: Run) -> None:
        """Ask for the end of a run of any kind. A step ends with its pipeline."""
        if run.run_type == PIPELINE_RUN:
            self.pipeline_runs.cancel(run.run_id)
        elif run.run_type == STEP_RUN:
            self.pipeline_runs.cancel(str(run.parent_run_id))
        elif run.run_status.is_active:
            self.history.end(run.run_id, RunStatus.CANCELED)

    def _content(self, snapshot_id: str) -> str:
        """One text for the content of a snapshot, whatever its id."""
        files = self.snapshots.get(snapshot_id).root.files()
        return digest({path: node.hash for path, node in files})

    def _surroundings(self, context: Callable[[str], RunContext]) -> Surroundings:
        return Surroundings(
            module=self.pipelines.module,
            dataset=self.datasets.resolve,
            data_source=self.pipelines.data_path,
            locate=self.locate,
            default_datastore=self.datastores.default().name,
            snapshot=self.snapshots.unpack,
            artifacts=lambda run_id: self.artifacts.file(RUN, container_of(run_id), ""),
            variables=lambda run_id: self.step_environment.variables(context(run_id)),
            content=self._content,
            reuse=lambda name, compared, allowed: self.reuse.decide(name, compared, allowed=allowed),
            delivery=lambda: self.delivery,
        )

    def reset(self, *, force: bool = False) -> None:
        """Delete all documents, blobs and runs, and give the workspace a new id.

        Secrets, the clock, faults, delivery and counts stay.

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
            if not end_runs(going_on, _ENDING_SECONDS):
                raise Conflict("Canceled runs have not ended yet: ask again.")
            self.folder.empty()
        finally:
            self.identity = self.folder.open()
            self._open()
            self.start()
