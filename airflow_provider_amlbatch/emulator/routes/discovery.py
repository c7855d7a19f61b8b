"""What a client reads before it can sign in: which cloud this is, and where the services are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from airflow_provider_amlbatch.emulator.environment import METADATA_PATH
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.routes.access import TheEmulator

router = APIRouter()


@router.get(METADATA_PATH)
def get_clouds(emulator: TheEmulator) -> list[dict[str, Any]]:
    """List the clouds."""
    return emulator.workspace.clouds()


@router.get("/discovery")
def get_services(emulator: TheEmulator) -> dict[str, str]:
    """List the services; processes of a run ask under this address."""
    return emulator.workspace.discovery()


@router.get("/discovery/workspaces/{workspace_id}")
def get_workspace_services(emulator: TheEmulator, workspace_id: str) -> dict[str, str]:
    """List the services of a workspace."""
    if workspace_id != emulator.identity.workspace_id:
        raise NotFound(f"There is no workspace with the id {workspace_id!r} here.")
    return emulator.workspace.discovery()
