"""The pipelines service (``/pipelines/v1.0``): published pipelines, pipeline endpoints and their runs.

Its JSON is PascalCase and case-sensitive, except ``tags``.
"""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import Field

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.wire import Instant, Pascal

ACTIVE = "Active"
DISABLED = "Disabled"


class DataPath(Pascal):
    """A place on a datastore."""

    data_store_name: str | None = None
    relative_path: str | None = None


class RegisteredDataSetReference(Pascal):
    """A registered dataset, by id and version."""

    id: str | None = None
    name: str | None = None
    version: str | None = None


class SavedDataSetReference(Pascal):
    """A dataset that was saved without a name."""

    id: str | None = None


class DataSetDefinitionValue(Pascal):
    """Which data a dataset parameter stands for: exactly one of the three."""

    literal_value: DataPath | None = None
    data_set_reference: RegisteredDataSetReference | None = None
    saved_data_set_reference: SavedDataSetReference | None = None


class PipelineSubmissionInfo(Pascal):
    """The body of a POST to a published pipeline or a pipeline endpoint."""

    experiment_name: str | None = None
    description: str | None = None
    run_source: str | None = None
    run_type: str | None = None
    parameter_assignments: dict[str, Any] | None = None
    data_path_assignments: dict[str, DataPath] | None = None
    data_set_definition_value_assignments: dict[str, DataSetDefinitionValue] | None = None
    schedule_id: str | None = None
    continue_run_on_step_failure: bool | None = None
    enable_notification: bool | None = None
    tags: dict[str, str] | None = Field(default=None, alias="tags")
    properties: dict[str, str] | None = None
    step_tags: dict[str, str] | None = None


class PipelineRunStatus(Pascal):
    """Status of a pipeline run as this service tells it."""

    status_code: str | None = None
    status_detail: str | None = None
    creation_time: Instant | None = None
    end_time: Instant | None = None


class PipelineRun(Pascal):
    """A run of a pipeline (``PipelineRunEntity``)."""

    id: str
    description: str | None = None
    status: PipelineRunStatus | None = None
    graph_id: str | None = None
    is_submitted: bool = True
    has_errors: bool = False
    has_warnings: bool = False
    upload_state: str | None = None
    parameter_assignments: dict[str, Any] = {}
    data_path_assignments: dict[str, DataPath] = {}
    data_set_definition_value_assignments: dict[str, DataSetDefinitionValue] = {}
    run_history_experiment_name: str | None = None
    pipeline_id: str | None = None
    run_source: str | None = None
    run_type: str | None = None
    total_run_steps: int | None = None
    schedule_id: str | None = None
    continue_run_on_step_failure: bool | None = None
    tags: dict[str, str | None] = Field(default={}, alias="tags")
    properties: dict[str, str | None] = {}
    entity_status: str = ACTIVE
    etag: str | None = None
    created_date: Instant | None = None
    last_modified_date: Instant | None = None

    @property
    def run_status(self) -> RunStatus:
        """The status, read."""
        return RunStatus.from_pipeline_run(self.status.status_code if self.status else None)


class PublishedPipeline(Pascal):
    """A published pipeline (``PipelineEntity``). ``url`` is its REST endpoint."""

    id: str
    name: str | None = None
    description: str | None = None
    version: str | None = None
    graph_id: str | None = None
    total_run_steps: int | None = None
    parameter_assignments: dict[str, Any] = {}
    data_set_definition_value_assignments: dict[str, DataSetDefinitionValue] = {}
    url: str | None = None
    continue_run_on_step_failure: bool | None = None
    enable_notification: bool | None = None
    properties: dict[str, Any] = {}
    tags: dict[str, str | None] = Field(default={}, alias="tags")
    entity_status: str = ACTIVE
    etag: str | None = None
    created_date: Instant | None = None
    last_modified_date: Instant | None = None


class PipelineVersion(Pascal):
    """One version of a pipeline endpoint; versions are strings that begin at "0"."""

    version: str
    pipeline_id: str


class PipelineEndpoint(Pascal):
    """A name that stands for one version of several published pipelines (``PipelineEndpointEntity``)."""

    id: str
    name: str | None = None
    description: str | None = None
    default_version: str | None = None
    pipeline_version_list: list[PipelineVersion] = []
    url: str | None = None
    swagger_url: str | None = None
    properties: dict[str, Any] = {}
    tags: dict[str, str | None] = Field(default={}, alias="tags")
    entity_status: str = ACTIVE
    etag: str | None = None
    created_date: Instant | None = None
    last_modified_date: Instant | None = None


class Parameter(Pascal):
    """A parameter that a graph declares. Types: 0 int, 1 double, 2 bool, 3 string, 4 unidentified."""

    name: str
    default_value: str | None = None
    is_optional: bool = True
    type: str | None = None


class GraphInterface(Pascal):
    """What a graph can be given (``EntityInterface``)."""

    parameters: list[Parameter] = []
    data_path_parameters: list[dict[str, Any]] = []
    data_path_parameter_list: list[dict[str, Any]] = []


class AzureBlobReference(Pascal):
    """A blob, or a folder of blobs, on a datastore."""

    aml_data_store_name: str | None = None
    relative_path: str | None = None


class DataReference(Pascal):
    """A place that an output lies at."""

    type: str | None = None
    azure_blob_reference: AzureBlobReference | None = None


class DataLocation(Pascal):
    """Where a node's output lies."""

    storage_type: str | None = None
    storage_id: str | None = None
    uri: str | None = None
    data_reference: DataReference | None = None


class NodeOutput(Pascal):
    """An output of a graph node."""

    data_type_id: str | None = None
    logical_size_in_bytes: int | None = None
    physical_size_in_bytes: int | None = None
    hash: str | None = None
    data_location: DataLocation | None = None


class TaskStatus(Pascal):
    """Status of a graph node."""

    status_code: str | None = None
    status_detail: str | None = None
    creation_time: Instant | None = None
    schedule_time: Instant | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    request_id: str | None = None
    run_id: str | None = None
    real_time_log_path: str | None = None
    has_warnings: bool = False
    reuse_info: dict[str, Any] | None = None

    @property
    def run_status(self) -> RunStatus:
        """The status, read."""
        return RunStatus.from_node(self.status_code)


PIPELINES = "pipelines"
_BASE = f"/pipelines/v1.0{WORKSPACE}"
_P = TypeVar("_P", bound=Pascal)


def _list_of(kind: type[_P], body: list[Any] | None) -> list[_P]:
    return [kind.model_validate(item) for item in body or []]


def submit_pipeline(pipeline_id: str, info: PipelineSubmissionInfo) -> Call[PipelineRun]:
    """Start a run of a published pipeline. Sending it twice starts two."""
    return _submission(f"PipelineSubmit/{quote(pipeline_id)}", info)


def submit_endpoint(endpoint_id: str, version: str | None, info: PipelineSubmissionInfo) -> Call[PipelineRun]:
    """Start a run of a pipeline endpoint's version, or of its default one. Sending it twice starts two."""
    path = f"PipelineEndpointSubmit/Id/{quote(endpoint_id)}" + ("" if version is None else f"/{quote(version)}")
    return _submission(path, info, {"pipelineVersion": version})


def _submission(path: str, info: PipelineSubmissionInfo, params: dict[str, Any] | None = None) -> Call[PipelineRun]:
    return Call(
        "POST",
        PIPELINES,
        f"{_BASE}/PipelineRuns/{path}",
        PipelineRun.model_validate,
        params or {},
        info.to_wire(exclude_none=True),
        retriable=False,
    )


def get_pipeline_run(run_id: str) -> Call[PipelineRun]:
    """Read a pipeline run as this service knows it."""
    return Call("GET", PIPELINES, f"{_BASE}/PipelineRuns/{quote(run_id)}", PipelineRun.model_validate)


def list_runs_of_pipeline(pipeline_id: str) -> Call[list[PipelineRun]]:
    """List all runs of a published pipeline. The service does not page this list."""
    path = f"{_BASE}/PipelineRuns/Pipeline/{quote(pipeline_id)}"
    return Call("GET", PIPELINES, path, lambda body: _list_of(PipelineRun, body))


def cancel_run(run_id: str) -> Call[None]:
    """Ask for the end of a pipeline run."""
    return Call("DELETE", PIPELINES, f"{_BASE}/PipelineRuns/{quote(run_id)}/Execution", _nothing)


def get_node_outputs(run_id: str, node_id: str) -> Call[dict[str, NodeOutput]]:
    """Read where the outputs of a step lie, by name."""
    return Call(
        "POST",
        PIPELINES,
        f"{_BASE}/PipelineRuns/{quote(run_id)}/Outputs",
        lambda body: {name: NodeOutput.model_validate(item) for name, item in (body or {}).items()},
        body=[node_id],
    )


def get_all_node_statuses(run_id: str) -> Call[dict[str, TaskStatus]]:
    """Read the status of every step, by node id."""
    return Call(
        "POST",
        PIPELINES,
        f"{_BASE}/PipelineRuns/{quote(run_id)}/Graph/AllNodes/Status",
        lambda body: {node: TaskStatus.model_validate(item) for node, item in (body or {}).items()},
        body=[],
    )


def get_graph(graph_id: str) -> Call[dict[str, Any]]:
    """Read a graph as it was submitted."""
    return Call("GET", PIPELINES, f"{_BASE}/Graphs/{quote(graph_id)}", dict)


def get_graph_interface(graph_id: str) -> Call[GraphInterface]:
    """Read which parameters a graph declares."""
    return Call("GET", PIPELINES, f"{_BASE}/Graphs/{quote(graph_id)}/Interface", GraphInterface.model_validate)


def get_pipeline(pipeline_id: str) -> Call[PublishedPipeline]:
    """Read a published pipeline."""
    return Call("GET", PIPELINES, f"{_BASE}/Pipelines/{quote(pipeline_id)}", PublishedPipeline.model_validate)


def list_pipelines(active_only: bool = True) -> Call[list[PublishedPipeline]]:
    """List the published pipelines of the workspace."""
    params = {"activeOnly": active_only}
    return Call("GET", PIPELINES, f"{_BASE}/Pipelines", lambda body: _list_of(PublishedPipeline, body), params)


def set_pipeline_status(pipeline_id: str, status: str) -> Call[None]:
    """Switch a published pipeline to :data:`ACTIVE` or :data:`DISABLED`."""
    return Call("PUT", PIPELINES, f"{_BASE}/Pipelines/{quote(pipeline_id)}/status", _nothing, body=status)


def get_endpoint(endpoint_id: str) -> Call[PipelineEndpoint]:
    """Read a pipeline endpoint."""
    path = f"{_BASE}/PipelineEndpoints/Id/{quote(endpoint_id)}"
    return Call("GET", PIPELINES, path, PipelineEndpoint.model_validate)


def get_endpoint_by_name(name: str) -> Call[PipelineEndpoint]:
    """Find a pipeline endpoint by its name."""
    path = f"{_BASE}/PipelineEndpoints/Name"
    return Call("GET", PIPELINES, path, PipelineEndpoint.model_validate, {"Name": name})


def list_endpoints(active_only: bool = True) -> Call[list[PipelineEndpoint]]:
    """List the pipeline endpoints of the workspace."""
    params = {"activeOnly": active_only}
    return Call("GET", PIPELINES, f"{_BASE}/PipelineEndpoints", lambda body: _list_of(PipelineEndpoint, body), params)


def create_endpoint(name: str, description: str, pipeline_id: str) -> Call[PipelineEndpoint]:
    """Create a pipeline endpoint with one published pipeline as version "0". A second one of that name is refused."""
    body = {"Name": name, "Description": description, "PipelineId": pipeline_id}
    path = f"{_BASE}/PipelineEndpoints/Create"
    return Call("POST", PIPELINES, path, PipelineEndpoint.model_validate, body=body, retriable=False)


def update_endpoint(endpoint: PipelineEndpoint) -> Call[PipelineEndpoint]:
    """Replace a pipeline endpoint: its versions, its default, its status."""
    path = f"{_BASE}/PipelineEndpoints/{quote(endpoint.id)}"
    return Call("PUT", PIPELINES, path, PipelineEndpoint.model_validate, body=endpoint.to_wire())


def _nothing(_body: Any) -> None:
    return None
