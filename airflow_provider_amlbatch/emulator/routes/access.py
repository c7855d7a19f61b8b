"""Who may call: checks that every route of a service declares."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import Forbidden, NotFound
from airflow_provider_amlbatch.emulator.tokens import ARM_AUDIENCES, DATA_PLANE_AUDIENCES, Caller


async def the_emulator(request: Request) -> Emulator:
    """The emulator behind a request. A coroutine, because the framework calls plain functions in a thread each."""
    return _emulator(request)


#: For handlers: ``def get(emulator: TheEmulator, ...)``.
TheEmulator = Annotated[Emulator, Depends(the_emulator)]


async def data_plane(request: Request, subscription: str, group: str, workspace: str) -> Caller:
    """Let a caller into a service of the workspace.

    :raises Unauthorized: if the token is missing, forged, too old or for another audience.
    :raises Forbidden: if the subscription or resource group is not the emulator's.
    :raises NotFound: if the workspace is not the emulator's.
    """
    return _admit(request, DATA_PLANE_AUDIENCES, subscription, group, workspace)


async def resource_manager(request: Request, subscription: str, group: str, workspace: str) -> Caller:
    """Let a caller manage the workspace; tokens for the data plane do not do."""
    return _admit(request, ARM_AUDIENCES, subscription, group, workspace)


async def signed_in(request: Request) -> Caller:
    """Let a caller ask the resource manager about no workspace in particular."""
    return _emulator(request).tokens.check(request.headers.get("authorization"), ARM_AUDIENCES)


#: For handlers that need to know who calls.
TheCaller = Annotated[Caller, Depends(data_plane)]

#: For routers: ``APIRouter(dependencies=[DATA_PLANE])``.
DATA_PLANE = Depends(data_plane)
RESOURCE_MANAGER = Depends(resource_manager)
SIGNED_IN = Depends(signed_in)


def _emulator(request: Request) -> Emulator:
    emulator: Emulator = request.app.state.emulator
    return emulator


def _admit(request: Request, audiences: tuple[str, ...], subscription: str, group: str, workspace: str) -> Caller:
    emulator = _emulator(request)
    caller = emulator.tokens.check(request.headers.get("authorization"), audiences)
    identity = emulator.identity
    if not _same(subscription, identity.subscription_id) or not _same(group, identity.resource_group):
        scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
        raise Forbidden(
            f"The client {caller.name!r} with object id {caller.object_id!r} has no authorization over the scope "
            f"{scope!r}, or the scope is invalid."
        )
    if not _same(workspace, identity.workspace_name):
        raise NotFound(
            f"The workspace {workspace!r} was not found in the resource group {group!r}; this emulator has "
            f"{identity.workspace_name!r}.",
            code="ResourceNotFound",
        )
    return caller


def _same(given: str, ours: str) -> bool:
    # Azure compares resource ids whatever their case.
    return given.lower() == ours.lower()
