"""The resource manager: subscriptions and the workspace. Compute has a module of its own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from airflow_provider_amlbatch.emulator.errors import Unsupported
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import RESOURCE_MANAGER, SIGNED_IN, TheEmulator

router = APIRouter()

_SUBSCRIPTION = "/subscriptions/{subscription}"
_WORKSPACES = "/providers/Microsoft.MachineLearningServices/workspaces"


@router.get("/subscriptions", dependencies=[SIGNED_IN])
def list_subscriptions(emulator: TheEmulator) -> dict[str, Any]:
    """List the subscriptions that the caller may use."""
    return {"value": [emulator.workspace.subscription()]}


@router.get(_SUBSCRIPTION + _WORKSPACES, dependencies=[SIGNED_IN])
@router.get(_SUBSCRIPTION + "/resourceGroups/{group}" + _WORKSPACES, dependencies=[SIGNED_IN])
def list_workspaces(emulator: TheEmulator, subscription: str, group: str | None = None) -> dict[str, Any]:
    """List the workspaces of a subscription or of a resource group."""
    ours = emulator.identity
    there = subscription.lower() == ours.subscription_id and (group or ours.resource_group) == ours.resource_group
    return {"value": [emulator.workspace.workspace()] if there else []}


@router.get(_SUBSCRIPTION + "/resources", dependencies=[SIGNED_IN])
def list_resources(
    emulator: TheEmulator, subscription: str, type_filter: Annotated[str, Query(alias="$filter")] = ""
) -> dict[str, Any]:
    """List the resources of a type; the emulator has workspaces only."""
    if "microsoft.machinelearningservices/workspaces" not in type_filter.lower():
        raise Unsupported(f"The emulator lists workspaces only, not resources with $filter={type_filter!r}.")
    return list_workspaces(emulator, subscription)


@router.get(WORKSPACE, dependencies=[RESOURCE_MANAGER])
def get_workspace(emulator: TheEmulator) -> dict[str, Any]:
    """Describe the workspace."""
    return emulator.workspace.workspace()


@router.post(WORKSPACE + "/listKeys", dependencies=[RESOURCE_MANAGER])
def list_keys(emulator: TheEmulator) -> dict[str, Any]:
    """Hand out the workspace's secrets."""
    return emulator.workspace.keys()
