"""Model management, ``/modelmanagement/v1.0``."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Query, Request, Response

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheCaller, TheEmulator
from airflow_provider_amlbatch.emulator.services.models import Asset, Model, ModelQuery, PatchOperation

router = APIRouter(prefix="/modelmanagement/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])


@router.post("/models")
def register_model(emulator: TheEmulator, caller: TheCaller, model: Model) -> Model:
    """Register a version of a model."""
    return emulator.models.register(model, caller)


@router.get("/models")
def list_models(
    emulator: TheEmulator,
    request: Request,
    count: Annotated[int, Query(ge=1)] = 255,
    token: Annotated[str | None, Query(alias="$skipToken")] = None,
) -> Page[Model]:
    """List models; the next page has a link."""
    params = dict(request.query_params)
    page = emulator.models.find(ModelQuery.model_validate(params), count, token)
    if page.continuation_token is not None:
        # Clients read the token out of the link, and take both for one.
        link = urlencode(params | {"$skipToken": page.continuation_token})
        page.next_link, page.continuation_token = f"{emulator.base_url}{request.url.path}?{link}", None
    return page


@router.get("/models/{model_id}")
def get_model(emulator: TheEmulator, model_id: str) -> Model:
    """Get a version of a model."""
    return emulator.models.get(model_id)


@router.patch("/models/{model_id}")
def patch_model(emulator: TheEmulator, model_id: str, operations: Annotated[list[PatchOperation], Body()]) -> Model:
    """Change what is said about a model."""
    return emulator.models.patch(model_id, operations)


@router.delete("/models/{model_id}")
def delete_model(emulator: TheEmulator, model_id: str) -> Response:
    """Remove a version of a model."""
    emulator.models.delete(model_id)
    return Response()


@router.post("/assets")
def create_asset(emulator: TheEmulator, asset: Asset) -> Asset:
    """Note which files belong together."""
    return emulator.models.create_asset(asset)


@router.get("/assets")
def list_assets(
    emulator: TheEmulator, run_id: Annotated[str | None, Query(alias="runId")] = None, name: str | None = None
) -> Page[Asset]:
    """List assets."""
    return emulator.models.list_assets(run_id, name)


@router.get("/assets/{asset_id}")
def get_asset(emulator: TheEmulator, asset_id: str) -> Asset:
    """Get an asset."""
    return emulator.models.get_asset(asset_id)
