"""Artifacts, ``/artifact/v2.0``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from airflow_provider_amlbatch.aml.artifact import Artifact, ArtifactContentInformation, ArtifactPage, ContentPage
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.artifacts import BatchArtifactContent, BatchArtifactCreate

router = APIRouter(prefix="/artifact/v2.0" + WORKSPACE + "/artifacts", dependencies=[DATA_PLANE])

Token = Annotated[str | None, Query(alias="continuationToken")]


@router.post("/batch/metadata/{origin}/{container}")
def create_artifacts(
    emulator: TheEmulator,
    origin: str,
    container: str,
    command: BatchArtifactCreate,
    datastore: Annotated[str | None, Query(alias="datastoreName")] = None,
) -> BatchArtifactContent:
    """Say where new artifacts can be written."""
    return emulator.artifacts.create(origin, container, command, datastore)


@router.get("/metadata/{origin}/{container}/{path:path}")
def get_artifact(emulator: TheEmulator, origin: str, container: str, path: str) -> Artifact:
    """Describe an artifact."""
    return emulator.artifacts.get(origin, container, path)


@router.get("/contentinfo/{origin}/{container}/{path:path}")
def get_content(emulator: TheEmulator, origin: str, container: str, path: str) -> ArtifactContentInformation:
    """Say where an artifact can be read."""
    return emulator.artifacts.content(origin, container, path)


@router.get("/prefix/contentinfo/{origin}/{container}")
@router.get("/prefix/contentinfo/{origin}/{container}/{path:path}")
def list_content(
    emulator: TheEmulator, origin: str, container: str, path: str = "", token: Token = None
) -> ContentPage:
    """Say where the artifacts under a prefix can be read."""
    return emulator.artifacts.list_content(origin, container, path, token)


@router.get("/{origin}/{container}")
@router.get("/{origin}/{container}/{path:path}")
def list_artifacts(
    emulator: TheEmulator, origin: str, container: str, path: str = "", token: Token = None
) -> ArtifactPage:
    """Describe the artifacts of a run or an upload."""
    return emulator.artifacts.list_artifacts(origin, container, path, token)
