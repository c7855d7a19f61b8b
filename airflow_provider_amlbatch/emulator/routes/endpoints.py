"""The pipelines service: pipeline endpoints (``/pipelines/v1.0/../PipelineEndpoints``)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from airflow_provider_amlbatch.aml.pipelines import (
    PipelineEndpoint,
    PipelineRun,
    PipelineSubmissionInfo,
    PublishedPipeline,
)
from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.endpoints import EndpointCreationInfo

router = APIRouter(prefix="/pipelines/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])

ActiveOnly = Annotated[bool, Query(alias="activeOnly")]
Version = Annotated[str | None, Query(alias="pipelineVersion")]
ParentRun = Annotated[str | None, Query(alias="parentRunId")]


def _name(request: Request) -> str:
    # Azure's own clients write this parameter as ``Name`` and as ``name``.
    name = request.query_params.get("name") or request.query_params.get("Name")
    if not name:
        raise BadRequest("The query names no pipeline endpoint: it needs 'name'.")
    return name


@router.post("/PipelineEndpoints/Create")
def create_endpoint(emulator: TheEmulator, info: EndpointCreationInfo) -> PipelineEndpoint:
    """Make an endpoint."""
    return emulator.endpoints.create(info)


@router.get("/PipelineEndpoints")
def list_endpoints(emulator: TheEmulator, active_only: ActiveOnly = True) -> list[PipelineEndpoint]:
    """List the endpoints."""
    return emulator.endpoints.list_endpoints(active_only=active_only)


@router.get("/PipelineEndpoints/Name")
def get_endpoint_by_name(emulator: TheEmulator, request: Request) -> PipelineEndpoint:
    """Get an endpoint by its name."""
    return emulator.endpoints.by_name(_name(request))


@router.get("/PipelineEndpoints/Id/{endpoint_id}")
def get_endpoint(emulator: TheEmulator, endpoint_id: str) -> PipelineEndpoint:
    """Get an endpoint by its id."""
    return emulator.endpoints.get(endpoint_id)


@router.put("/PipelineEndpoints/{endpoint_id}")
def update_endpoint(emulator: TheEmulator, endpoint_id: str, endpoint: PipelineEndpoint) -> PipelineEndpoint:
    """Change an endpoint."""
    return emulator.endpoints.update(endpoint_id, endpoint)


@router.get("/PipelineEndpoints/{endpoint_id}/pipelines")
def list_pipelines_of_endpoint(
    emulator: TheEmulator, endpoint_id: str, active_only: ActiveOnly = True
) -> list[PublishedPipeline]:
    """List the pipelines of an endpoint."""
    return emulator.endpoints.pipelines(endpoint_id, active_only=active_only)


@router.post("/PipelineRuns/PipelineEndpointSubmit/Id/{endpoint_id}")
@router.post("/PipelineRuns/PipelineEndpointSubmit/Id/{endpoint_id}/{path_version}")
def submit_endpoint(
    emulator: TheEmulator,
    endpoint_id: str,
    info: PipelineSubmissionInfo,
    path_version: str | None = None,
    version: Version = None,
    parent: ParentRun = None,
) -> PipelineRun:
    """Run a version of an endpoint; it stands in the path, the query or both."""
    endpoint = emulator.endpoints.get(endpoint_id)
    return emulator.endpoints.submit(endpoint, info, version=path_version or version, parent_run_id=parent)


@router.post("/PipelineRuns/PipelineEndpointSubmit/Name")
def submit_endpoint_by_name(
    emulator: TheEmulator,
    request: Request,
    info: PipelineSubmissionInfo,
    version: Version = None,
    parent: ParentRun = None,
) -> PipelineRun:
    """Run a version of an endpoint that is named."""
    endpoint = emulator.endpoints.by_name(_name(request))
    return emulator.endpoints.submit(endpoint, info, version=version, parent_run_id=parent)
