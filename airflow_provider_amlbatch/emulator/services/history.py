"""Run history: runs of all kinds. What a pipeline's run is doing is asked of its job folder, never kept here."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_amlbatch.aml.history import (
    PIPELINE_RUN,
    STEP_RUN,
    ErrorResponse,
    Experiment,
    JobCost,
    QueryParams,
    RootError,
    Run,
    RunDetails,
    RunPage,
)
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.engine.report import Progress
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound
from airflow_provider_amlbatch.emulator.services import odata
from airflow_provider_amlbatch.emulator.services.artifacts import RUN, ArtifactService
from airflow_provider_amlbatch.emulator.services.experiments import ExperimentService
from airflow_provider_amlbatch.emulator.services.run_states import RunStates, State
from airflow_provider_amlbatch.emulator.store import Store

#: Runs of a page when the caller does not say, and at most.
PAGE = 100
LARGEST_PAGE = 1000

#: What a filter or an order names when it is about what a job folder tells.
_STATE = ("status", "timeutc", "duration", "error")

#: What users see as logs of a run.
_LOGS = ("azureml-logs/", "logs/", "user_logs/", "system_logs/")

_EVENT = "Microsoft.MachineLearning.Run."

#: Events that end a run.
_ENDINGS = {
    "Completed": RunStatus.COMPLETED,
    "Failed": RunStatus.FAILED,
    "Canceled": RunStatus.CANCELED,
}


class RunDocument(Run):
    """A run as it is kept.

    :param clock_offset: seconds by which the services' clock was ahead of this machine's when the run was submitted.
    """

    clock_offset: float = 0.0


class RunDefinition(Camel):
    """How a step is run. It is large and seldom asked for, so it is kept apart from the run."""

    definition: dict[str, Any] = {}


def container_of(run_id: str) -> str:
    """The artifact container of a run."""
    return f"dcid.{run_id}"


class HistoryService:
    """Keeps and finds runs."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        experiments: ExperimentService,
        states: RunStates,
        artifacts: ArtifactService,
    ) -> None:
        self._store = store
        self._clock = clock
        self._experiments = experiments
        self._states = states
        self._artifacts = artifacts
        self._definitions = store.collection("rundefinitions", RunDefinition)
        self._runs = store.collection("runs", RunDocument, indexes=("experimentId", "parentRunId", "rootRunId"))

    def add(self, run: RunDocument) -> Run:
        """Keep a new run, with its number and its artifact container."""
        with self._store.transaction():
            run.run_number = self._experiments.next_run_number(str(run.experiment_id))
            run.created_utc = self._clock.now()
            run.root_run_id = run.root_run_id or run.run_id
            run.data_container_id = run.data_container_id or container_of(run.run_id)
            return self._runs.put(run.run_id, run)

    def get(self, run_id: str, experiment: Experiment | None = None) -> Run:
        """A run with its status of now.

        :raises NotFound: if there is none, or not in that experiment.
        """
        return self._view(self._document(run_id, experiment))

    def find(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Those of the runs that exist, by id."""
        documents = ((run_id, self._runs.get(run_id)) for run_id in dict.fromkeys(run_ids))
        return {run_id: self._view(document) for run_id, document in documents if document is not None}

    def modify(self, run_id: str, experiment: Experiment, change: dict[str, Any]) -> Run:
        """Change a run, or make an interactive one: the SDK sends the same request for both.

        :param change: fields by wire name; tags and properties are added to those that are there.
        :raises Conflict: if a property would change: properties are written once.
        """
        given = Run.model_validate({"runId": run_id, **{k: v for k, v in change.items() if v is not None}})
        document = self._runs.get(run_id)
        if document is None:
            parent = self._runs.get(given.parent_run_id) if given.parent_run_id else None
            document = RunDocument.model_validate(given.to_wire(exclude_none=True))
            document.experiment_id = experiment.experiment_id
            document.root_run_id = parent.root_run_id if parent is not None else run_id
            document.status = given.status or RunStatus.NOT_STARTED
            return self.add(document)
        self._document(run_id, experiment)

        def merge(kept: RunDocument) -> None:
            for name in ("name", "display_name", "description", "hidden", "status", "target", "script_name"):
                if name in given.model_fields_set:
                    setattr(kept, name, getattr(given, name))
            kept.tags |= given.tags
            changed = [k for k, v in given.properties.items() if kept.properties.get(k, v) != v]
            if changed:
                raise Conflict(f"The property {changed[0]!r} of the run {run_id!r} is set already.", code="UserError")
            kept.properties |= given.properties
            kept.input_datasets += [entry for entry in given.input_datasets if entry not in kept.input_datasets]
            kept.output_datasets += [entry for entry in given.output_datasets if entry not in kept.output_datasets]

        return self._update(run_id, merge)

    def add_output_dataset(self, run_id: str, name: str, saved_id: str) -> None:
        """Note that a run wrote a dataset."""
        entry = {
            "identifier": {"savedId": saved_id},
            "outputType": "RunOutput",
            "outputDetails": {"outputName": name},
        }
        self._update(run_id, lambda kept: kept.output_datasets.append(entry))

    def warn(self, run_id: str, message: str) -> None:
        """Add a warning to a run."""
        self._update(run_id, lambda kept: kept.warnings.append({"source": "emulator", "message": message}))

    def end(self, run_id: str, status: RunStatus) -> Run:
        """End an interactive run."""

        def change(kept: RunDocument) -> None:
            kept.status, kept.end_time_utc = status, self._clock.now()

        return self._update(run_id, change)

    def delete_tags(self, run_id: str, experiment: Experiment, names: list[str]) -> Run:
        """Remove tags."""
        self._document(run_id, experiment)

        def change(kept: RunDocument) -> None:
            kept.tags = {name: value for name, value in kept.tags.items() if name not in names}

        return self._update(run_id, change)

    def record_event(self, run_id: str, experiment: Experiment, name: str, data: dict[str, Any]) -> None:
        """Take note of what an interactive run says of itself.

        :raises BadRequest: if the event is not one that runs send.
        """
        self._document(run_id, experiment)
        kind = name.removeprefix(_EVENT)
        now = self._clock.now()

        def change(kept: RunDocument) -> None:
            if kind == "Start":
                kept.status, kept.start_time_utc = RunStatus.RUNNING, kept.start_time_utc or now
            elif kind == "Queued":
                kept.status = RunStatus.QUEUED
            elif kind == "CancelRequested":
                kept.status = RunStatus.CANCEL_REQUESTED
            elif kind in _ENDINGS:
                kept.status, kept.end_time_utc = _ENDINGS[kind], now
            elif kind == "Error":
                kept.error = _error_of(data)
            elif kind == "Warning":
                kept.warnings.append({"source": data.get("Source"), "message": data.get("Message")})
            elif kind not in ("Heartbeat", "QueueingInfo"):
                raise BadRequest(f"The event {name!r} is not one that a run sends.", code="UserError")

        self._update(run_id, change)

    def children(self, run_id: str, params: QueryParams) -> RunPage:
        """The runs whose parent is this one."""
        return self._page(self._runs.find(parentRunId=run_id), params)

    def query(self, params: QueryParams, experiment: Experiment | None = None) -> RunPage:
        """The runs of an experiment, or of the workspace, that a filter lets pass."""
        if experiment is None:
            return self._page(self._runs.find(), params)
        return self._page(self._runs.find(experimentId=experiment.experiment_id), params)

    def details(self, run_id: str, experiment: Experiment | None = None) -> RunDetails:
        """A run with its logs, its error and what it cost."""
        run = self.get(run_id, experiment)
        shared = RunDetails.model_fields.keys() & Run.model_fields.keys()
        return RunDetails(
            **{name: getattr(run, name) for name in shared},
            created_time_utc=run.created_utc,
            log_files=self.logs(run),
            run_definition=self.definition(run),
            job_cost=_cost(run),
        )

    def define(self, run_id: str, definition: dict[str, Any]) -> None:
        """Keep how a step is run."""
        self._definitions.put(run_id, RunDefinition(definition=definition))

    def definition(self, run: Run) -> dict[str, Any] | None:
        """How a run is run, if anybody said so."""
        given: dict[str, Any] | None = (run.model_extra or {}).get("runDefinition")
        kept = self._definitions.get(run.run_id) if given is None else None
        return kept.definition if kept is not None else given

    def is_registered(self, run_id: str) -> bool:
        """Whether a run is known to have written a dataset, or is warned that it could not be registered."""
        document = self._document(run_id, None)
        return bool(document.output_datasets or document.warnings)

    def progress(self, run_id: str) -> Progress | None:
        """Mini-batches and items of a parallel step so far; None for any other run."""
        state = self._state(self._document(run_id, None))
        return None if state is None else state.progress

    def write_artifact(self, run_id: str, path: str, text: str) -> None:
        """Give a run a text file."""
        file = self._artifacts.file(RUN, container_of(run_id), path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def logs(self, run: Run) -> dict[str, str]:
        """Addresses of a run's logs, by path."""
        container = run.data_container_id or container_of(run.run_id)
        paths = (path for path in self._artifacts.paths(RUN, container) if path.startswith(_LOGS))
        return {path: self._artifacts.url(RUN, container, path) for path in paths}

    def read_artifact(self, run_id: str, path: str) -> str:
        """Content of a text file of a run; empty if there is none."""
        file = self._artifacts.file(RUN, container_of(run_id), path)
        try:
            return file.read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _document(self, run_id: str, experiment: Experiment | None) -> RunDocument:
        document = self._runs.get(run_id)
        if document is None or (experiment is not None and document.experiment_id != experiment.experiment_id):
            where = "" if experiment is None else f" in experiment {experiment.name}"
            raise NotFound(f"Run {run_id} was not found{where}.", code="UserError")
        return document

    def _update(self, run_id: str, change: Callable[[RunDocument], None]) -> Run:
        document = self._runs.update(run_id, change)
        if document is None:
            raise NotFound(f"Run {run_id} was not found.", code="UserError")
        return self._view(document)

    def _view(self, document: Run) -> Run:
        assert isinstance(document, RunDocument)
        state = self._state(document)
        if state is None:
            return document
        shift = timedelta(seconds=document.clock_offset)
        started = None if state.started is None else state.started + shift
        ended = None if state.ended is None else state.ended + shift
        return document.model_copy(
            update={
                "status": state.status.value,
                "start_time_utc": started,
                "end_time_utc": ended,
                "duration": _span(started, ended),
                "compute_duration": _span(started, ended),
                "error": _error(state),
            }
        )

    def _state(self, document: RunDocument) -> State | None:
        if document.run_type == PIPELINE_RUN:
            return self._states.pipeline(document.run_id)
        if document.run_type == STEP_RUN and document.parent_run_id is not None:
            return self._states.step(document.parent_run_id, document.run_id)
        return None

    def _page(self, documents: list[RunDocument], params: QueryParams) -> RunPage:
        predicate = odata.compile_filter(params.filter)
        order = odata.parse_order(params.order_by) or [("createdutc", True)]
        # Job folders are read only for the runs of the page, unless the question is about what is read there.
        asks_for_state = any(word in f"{params.filter} {params.order_by}".lower() for word in _STATE)
        candidates: Iterable[Run] = map(self._view, documents) if asks_for_state else documents
        found = [(fields, run) for fields, run in map(_with_fields, candidates) if predicate(fields)]
        for name, descends in [("runid", False), *reversed(order)]:
            found.sort(key=lambda entry: _sort_key(odata.field_of(entry[0], name)), reverse=descends)
        runs = [run for _, run in found]
        size = min(max(params.top or PAGE, 1), LARGEST_PAGE)
        start = _after(runs, params.continuation_token)
        page = runs[start : start + size]
        more = start + size < len(runs)
        if not asks_for_state:
            page = [self._view(run) for run in page]
        return RunPage(value=page, continuation_token=_token(page[-1].run_id, start + size) if more else None)


def _with_fields(run: Run) -> tuple[dict[str, Any], Run]:
    """A run, and its fields as filters name them."""
    fields = {name.replace("_", ""): value for name, value in run.__dict__.items()}
    return fields | {name.lower(): value for name, value in (run.model_extra or {}).items()}, run


def _sort_key(value: Any) -> tuple[bool, Any]:
    # What has no value sorts first when ascending.
    if value is None or value is odata.MISSING:
        return (False, "")
    return (True, value if isinstance(value, datetime | int | float) else str(value))


def _token(run_id: str, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([run_id, position]).encode()).decode()


def _after(runs: list[Run], token: str | None) -> int:
    """Where the next page begins: behind the last run of the one before, wherever that run is now."""
    if not token:
        return 0
    try:
        run_id, position = json.loads(base64.urlsafe_b64decode(token.encode()))
        position = int(position)
    except (ValueError, TypeError):
        raise BadRequest("The continuation token is not one that this service gave out.", code="UserError") from None
    for index, run in enumerate(runs):
        if run.run_id == run_id:
            return index + 1
    return max(position, 0)


def _span(start: datetime | None, end: datetime | None) -> str | None:
    if start is None or end is None:
        return None
    seconds = max((end - start).total_seconds(), 0)
    return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:010.7f}"


def _error(state: State) -> ErrorResponse | None:
    if state.status is not RunStatus.FAILED:
        return None
    message = state.error_message or "The run failed without saying why."
    return ErrorResponse(
        error=RootError(code=state.error_code or "UserError", message=message), environment="emulator", location="local"
    )


def _error_of(data: dict[str, Any]) -> ErrorResponse:
    given = data.get("ErrorResponse")
    return ErrorResponse.model_validate(given if isinstance(given, dict) else {})


def _cost(run: Run) -> JobCost:
    if run.run_type != STEP_RUN or run.start_time_utc is None or run.end_time_utc is None:
        return JobCost()
    seconds = max((run.end_time_utc - run.start_time_utc).total_seconds(), 0)
    nodes = int(run.properties.get("emulator.nodeCount") or 1)
    # Inferred: one core a node, whatever the size of the machines, and nothing for the pipeline itself.
    return JobCost(charged_node_utilization_seconds=seconds * nodes, charged_cpu_core_seconds=seconds * nodes)
