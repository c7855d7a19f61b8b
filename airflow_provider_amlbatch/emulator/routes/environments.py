"""Environments, ``/environment/v1.0``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.wire import Wire
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.environments import EnvironmentDefinition

router = APIRouter(dependencies=[DATA_PLANE])

_LIST = "/environment/v1.0" + WORKSPACE + "/environments"
_NAME = _LIST + "/{name}"
_VERSION = _NAME + "/versions/{version}"
_BUILD = "/environment/v2.0" + WORKSPACE + "/environments/{name}"

Definition = Annotated[dict[str, Any], Body()]


class Metadata(Wire):
    """What is said about a version."""

    Labels: list[str] = []


@router.get(_LIST)
@router.get(_LIST + "/")
def list_environments(
    emulator: TheEmulator, token: Annotated[str | None, Query(alias="continuation")] = None
) -> Page[EnvironmentDefinition]:
    """List the latest version of each environment."""
    return emulator.environments.list_environments(token)


@router.get(_NAME)
def get_environment(emulator: TheEmulator, name: str) -> EnvironmentDefinition:
    """Get the latest version of an environment."""
    return emulator.environments.get(name)


@router.get(_NAME + "/labels/{label}")
def get_labeled(emulator: TheEmulator, name: str, label: str) -> EnvironmentDefinition:
    """Get the version of an environment that bears a label."""
    return emulator.environments.get_labeled(name, label)


@router.put(_NAME)
def register_environment(emulator: TheEmulator, name: str, definition: Definition) -> EnvironmentDefinition:
    """Register the next version of an environment."""
    return emulator.environments.register(name, None, definition)


@router.get(_VERSION)
def get_version(emulator: TheEmulator, name: str, version: str) -> EnvironmentDefinition:
    """Get a version of an environment."""
    return emulator.environments.get(name, version)


@router.put(_VERSION)
def register_version(emulator: TheEmulator, name: str, version: str, definition: Definition) -> EnvironmentDefinition:
    """Register a version of an environment under a name of the caller's choice."""
    return emulator.environments.register(name, version, definition)


@router.put(_VERSION + "/metadata")
def put_metadata(emulator: TheEmulator, name: str, version: str, metadata: Metadata) -> Response:
    """Label a version."""
    emulator.environments.label(name, version, metadata.Labels)
    return Response()


@router.get(_NAME + "/image")
@router.get(_VERSION + "/image")
@router.post(_VERSION + "/recipe")
@router.post(_BUILD + "/image")
@router.post(_BUILD + "/versions/{version}/image")
@router.post(_BUILD + "/versions/{version}/imageoncompute/{compute}")
def get_image(emulator: TheEmulator, name: str) -> Response:
    """Refuse to build images, with advice."""
    emulator.environments.refuse_image(name)
    return Response()
