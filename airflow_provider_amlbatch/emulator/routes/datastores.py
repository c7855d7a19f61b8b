"""Datastores, ``/datastore/v1.0``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from airflow_provider_amlbatch.aml.datastore import Datastore, DatastorePage
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator

router = APIRouter(prefix="/datastore/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])

Create = Annotated[bool, Query(alias="createIfNotExists")]
Skip = Annotated[bool, Query(alias="skipValidation")]


@router.get("/default")
def get_default(emulator: TheEmulator) -> Datastore:
    """Get the default datastore."""
    return emulator.datastores.default()


@router.put("/default/{name}")
def set_default(emulator: TheEmulator, name: str) -> Response:
    """Make a datastore the default."""
    emulator.datastores.set_default(name)
    return Response()


@router.get("/datastores")
def list_datastores(
    emulator: TheEmulator,
    count: Annotated[int, Query(ge=1)] = 100,
    token: Annotated[str | None, Query(alias="continuationToken")] = None,
    include_secret: Annotated[bool, Query(alias="includeSecret")] = True,
) -> DatastorePage:
    """List the datastores."""
    return emulator.datastores.list_datastores(count, token, with_secrets=include_secret)


@router.post("/datastores")
def register_datastore(
    emulator: TheEmulator, datastore: Datastore, create: Create = False, skip: Skip = False
) -> Datastore:
    """Register a datastore."""
    return emulator.datastores.register(datastore, create_container=create, skip_validation=skip)


@router.get("/datastores/{name}")
def get_datastore(emulator: TheEmulator, name: str) -> Datastore:
    """Get a datastore."""
    return emulator.datastores.get(name)


@router.put("/datastores/{name}")
def update_datastore(
    emulator: TheEmulator, name: str, datastore: Datastore, create: Create = False, skip: Skip = False
) -> Datastore:
    """Change a datastore."""
    return emulator.datastores.update(name, datastore, create_container=create, skip_validation=skip)


@router.delete("/datastores/{name}")
def delete_datastore(emulator: TheEmulator, name: str) -> Response:
    """Forget a datastore."""
    emulator.datastores.delete(name)
    return Response()
