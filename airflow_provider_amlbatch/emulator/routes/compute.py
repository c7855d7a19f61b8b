"""Compute: read under the workspace's own address, changed under the resource manager's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, RESOURCE_MANAGER, SIGNED_IN, TheEmulator
from airflow_provider_amlbatch.emulator.services.compute import ComputeResource

router = APIRouter()

_COMPUTES = WORKSPACE + "/computes"
_READ = "/rp/workspaces" + _COMPUTES
_OPERATIONS = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"


@router.get(_READ, dependencies=[DATA_PLANE])
@router.get(_COMPUTES, dependencies=[RESOURCE_MANAGER])
def list_computes(emulator: TheEmulator) -> dict[str, Any]:
    """List the clusters."""
    return emulator.compute.list_computes()


@router.get(_READ + "/{name}", dependencies=[DATA_PLANE])
@router.get(_COMPUTES + "/{name}", dependencies=[RESOURCE_MANAGER])
def get_compute(emulator: TheEmulator, name: str) -> dict[str, Any]:
    """Get a cluster."""
    return emulator.compute.get(name)


@router.put(_COMPUTES + "/{name}", dependencies=[RESOURCE_MANAGER])
def put_compute(emulator: TheEmulator, name: str, compute: ComputeResource) -> JSONResponse:
    """Make a cluster, or change it."""
    return _accepted(emulator, 201, emulator.compute.put(name, compute))


@router.patch(_COMPUTES + "/{name}", dependencies=[RESOURCE_MANAGER])
def patch_compute(emulator: TheEmulator, name: str, compute: ComputeResource) -> JSONResponse:
    """Change how far a cluster scales."""
    return _accepted(emulator, 200, emulator.compute.patch(name, compute))


@router.delete(_COMPUTES + "/{name}", dependencies=[RESOURCE_MANAGER])
def delete_compute(emulator: TheEmulator, name: str) -> Response:
    """Remove a cluster."""
    emulator.compute.delete(name)
    return Response(status_code=202, headers={"Azure-AsyncOperation": emulator.compute.operation_url()})


@router.get(_OPERATIONS + "/computeOperationsStatus/{operation}", dependencies=[SIGNED_IN])
def get_operation(operation: str) -> dict[str, Any]:
    """Say how far a change is: done."""
    return {"name": operation, "status": "Succeeded"}


def _accepted(emulator: TheEmulator, status: int, compute: dict[str, Any]) -> JSONResponse:
    return JSONResponse(compute, status, headers={"Azure-AsyncOperation": emulator.compute.operation_url()})
