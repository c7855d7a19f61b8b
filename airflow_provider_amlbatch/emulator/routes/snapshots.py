"""Snapshots of source folders, ``/content``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.snapshots import FileNames, FileNodes, Snapshot, SnapshotCreation

router = APIRouter(dependencies=[DATA_PLANE])

_V1 = "/content/v1.0" + WORKSPACE + "/snapshots"
_V2 = "/content/v2.0" + WORKSPACE + "/snapshots"


@router.get(_V1 + "/latest/metadata")
def get_latest(emulator: TheEmulator) -> dict[str, Any]:
    """Get the snapshot that a new client may build on."""
    return emulator.snapshots.latest()


@router.get(_V1 + "/{snapshot_id}/metadata")
@router.get(_V2 + "/{snapshot_id}/metadata")
def get_snapshot(emulator: TheEmulator, snapshot_id: str) -> Snapshot:
    """Get a snapshot without its files."""
    return emulator.snapshots.get(snapshot_id)


@router.post(_V2 + "/getblob")
def get_upload_addresses(emulator: TheEmulator, names: FileNames) -> FileNodes:
    """Say where to upload files."""
    return emulator.snapshots.upload_addresses(names.file_names)


@router.post(_V2 + "/{snapshot_id}")
def create_snapshot(emulator: TheEmulator, snapshot_id: str, snapshot: SnapshotCreation) -> Snapshot:
    """Put a snapshot together."""
    return emulator.snapshots.create(snapshot_id, snapshot)


@router.post(_V2 + "/{snapshot_id}/zip")
def get_zip(emulator: TheEmulator, snapshot_id: str) -> dict[str, str]:
    """Say where a snapshot can be read as one file."""
    return {"zipSasUri": emulator.snapshots.zip_url(snapshot_id)}
