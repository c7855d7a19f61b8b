"""Models (``/modelmanagement/v1.0``): named, versioned references to assets."""

from __future__ import annotations

from typing import Any

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.wire import Camel, Instant


class Model(Camel):
    """One version of a model."""

    id: str
    name: str
    version: int
    description: str | None = None
    url: str | None = None
    created_time: Instant | None = None
    kv_tags: dict[str, str | None] = {}
    properties: dict[str, str | None] = {}


def get_latest_model(name: str) -> Call[Model | None]:
    """Read the newest version of a model; None if there is none."""
    path = f"/modelmanagement/v1.0{WORKSPACE}/models"
    return Call("GET", "modelmanagement", path, _first, {"name": name, "count": 1})


def _first(body: Any) -> Model | None:
    found = body.get("value") or []
    return Model.model_validate(found[0]) if found else None
