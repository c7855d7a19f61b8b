"""Run history (``/history/v1.0``): runs and experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict, Field

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call, Page
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.wire import Camel, Instant

#: ``runType`` values; the SDK chooses its Python class by them.
PIPELINE_RUN = "azureml.PipelineRun"
STEP_RUN = "azureml.StepRun"


class RootError(Camel):
    """What went wrong, in the services' envelope."""

    code: str | None = None
    message: str | None = None
    target: str | None = None
    details: list[RootError] = []
    inner_error: dict[str, Any] | None = None


class ErrorResponse(Camel):
    """The error envelope of run history and its neighbours."""

    error: RootError | None = None
    correlation: dict[str, str | None] = {}
    environment: str | None = None
    location: str | None = None
    time: str | None = None


class User(Camel):
    """Who did it."""

    user_object_id: str | None = None
    user_tenant_id: str | None = None
    user_name: str | None = None


class RunState(Camel):
    """What those who wait for a run need of it; the rest is not even read."""

    model_config = ConfigDict(extra="ignore")

    run_id: str
    status: str | None = None
    error: ErrorResponse | None = None

    @property
    def run_status(self) -> RunStatus:
        """The status, read."""
        return RunStatus.from_history(self.status)


class Run(RunState):
    """A run as run history keeps it: a pipeline run, a step run, or an interactive one."""

    model_config = ConfigDict(extra="allow")

    run_number: int | None = None
    root_run_id: str | None = None
    parent_run_id: str | None = None
    experiment_id: str | None = None
    status_revision: int | None = None
    created_utc: Instant | None = None
    start_time_utc: Instant | None = None
    end_time_utc: Instant | None = None
    duration: str | None = None
    compute_duration: str | None = None
    created_by: User | None = None
    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    hidden: bool = False
    data_container_id: str | None = None
    run_type: str | None = None
    script_name: str | None = None
    target: str | None = None
    cancelation_reason: str | None = None
    warnings: list[dict[str, Any]] = []
    properties: dict[str, str | None] = {}
    tags: dict[str, str | None] = {}
    input_datasets: list[dict[str, Any]] = []
    output_datasets: list[dict[str, Any]] = []


class JobCost(Camel):
    """What the service charges for a run."""

    charged_cpu_core_seconds: float | None = None
    charged_cpu_memory_megabyte_seconds: float | None = None
    charged_gpu_seconds: float | None = None
    charged_node_utilization_seconds: float | None = None


class RunDetails(Camel):
    """A run with its definition, its log files (name to readable URL) and its error."""

    run_id: str
    target: str | None = None
    status: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    created_time_utc: Instant | None = None
    start_time_utc: Instant | None = None
    end_time_utc: Instant | None = None
    error: ErrorResponse | None = None
    warnings: list[dict[str, Any]] = []
    properties: dict[str, str | None] = {}
    tags: dict[str, str | None] = {}
    input_datasets: list[dict[str, Any]] = []
    output_datasets: list[dict[str, Any]] = []
    run_definition: dict[str, Any] | None = None
    log_files: dict[str, str] = {}
    job_cost: JobCost | None = None

    @property
    def run_status(self) -> RunStatus:
        """The status, read."""
        return RunStatus.from_history(self.status)


class Experiment(Camel):
    """A named group of runs."""

    experiment_id: str
    name: str
    description: str | None = None
    created_utc: Instant | None = None
    tags: dict[str, str | None] = {}
    archived_time: Instant | None = None


class QueryParams(Camel):
    """A query of runs: OData ``filter``, ``orderBy``, page size ``top`` and the token of the next page."""

    filter: str | None = None
    continuation_token: str | None = None
    order_by: str | None = None
    top: int | None = None


class GetRunDataRequest(Camel):
    """Ask for one run of the workspace, whatever its experiment."""

    run_id: str
    select_run_metadata: bool = True
    select_run_definition: bool = False
    select_job_specification: bool = False


class GetRunDataResult(Camel):
    """The answer to :class:`GetRunDataRequest`."""

    run_metadata: Run | None = None
    run_definition: dict[str, Any] | None = None
    job_specification: dict[str, Any] | None = None


class BatchRunDataRequest(Camel):
    """Ask for many runs at once; the keys are the caller's."""

    requests: dict[str, GetRunDataRequest] = {}


class BatchRunDataResult(Camel):
    """The answer to :class:`BatchRunDataRequest`, under the caller's keys."""

    successful_results: dict[str, GetRunDataResult] = {}
    failed_results: dict[str, ErrorResponse] = {}


class _GetRunStateResult(Camel):
    model_config = ConfigDict(extra="ignore")

    run_metadata: RunState | None = None


class BatchRunStateResult(Camel):
    """:class:`BatchRunDataResult` as those who wait for runs read it."""

    model_config = ConfigDict(extra="ignore")

    successful_results: dict[str, _GetRunStateResult] = Field(default_factory=dict)


RunPage = Page[Run]

HISTORY = "history"
_BASE = f"/history/v1.0{WORKSPACE}"

#: So many runs are asked for in one call of the bulk operation.
BULK = 500


def get_run(run_id: str) -> Call[Run]:
    """Read a run, whatever its experiment."""
    return Call("GET", HISTORY, f"{_BASE}/runs/{quote(run_id)}", Run.model_validate)


def get_run_details(run_id: str) -> Call[RunDetails]:
    """Read a run with its definition, its log files and what it cost."""
    return Call("GET", HISTORY, f"{_BASE}/runs/{quote(run_id)}/details", RunDetails.model_validate)


def list_children(run_id: str) -> Call[Page[Run]]:
    """List the step runs of a pipeline run."""
    path = f"{_BASE}/runs/{quote(run_id)}/children"
    return Call("GET", HISTORY, path, RunPage.model_validate, {"$top": 500}, next_page="$continuationToken")


def batch_run_states(run_ids: Iterable[str]) -> Call[BatchRunStateResult]:
    """Read the states of many runs at once, up to :data:`BULK`. The ids are the keys of the answer."""
    one = GetRunDataRequest(run_id="").to_wire()
    body = {"requests": {run_id: {**one, "runId": run_id} for run_id in run_ids}}
    return Call("POST", HISTORY, f"{_BASE}/batchrundata", BatchRunStateResult.model_validate, body=body)


def query_runs(experiment_name: str, query: QueryParams) -> Call[Page[Run]]:
    """Look for runs of an experiment by an OData filter."""
    path = f"{_BASE}/experiments/{quote(experiment_name, safe='')}/runs:query"
    return Call("POST", HISTORY, path, RunPage.model_validate, body=query.to_wire(exclude_none=True))


def update_run(run_id: str, changes: Mapping[str, Any]) -> Call[Run]:
    """Change some fields of a run, such as ``displayName`` or ``tags``."""
    return Call("PATCH", HISTORY, f"{_BASE}/runs/{quote(run_id)}", Run.model_validate, body=dict(changes))


def get_experiment(name: str) -> Call[Experiment]:
    """Read an experiment."""
    path = f"{_BASE}/experiments/{quote(name, safe='')}"
    return Call("GET", HISTORY, path, Experiment.model_validate)
