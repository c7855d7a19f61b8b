"""Models (``/modelmanagement/v1.0``): named, versioned references to assets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.wire import Camel, Instant

#: Tag of a run that names the models it scores with: ``name:version``, separated by commas.
MODELS = "amlbatch_models"


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


def tags_of(session: Session, models: str | Iterable[str]) -> dict[str, str]:
    """Make the tag that says which models a run scores with. The service itself keeps no note of that.

    :param models: ``"name"``, which means the version that is the latest now, or ``"name:version"``; one or several.
    :raises ArgumentError: if there is no such model.
    """
    named = [_with_version(session, model) for model in ([models] if isinstance(models, str) else models)]
    return {MODELS: ",".join(named)} if named else {}


def models_of(run: Run) -> dict[str, str]:
    """Tell which models a run scores with: version by name. Empty when whoever started it did not say."""
    named = (run.tags.get(MODELS) or "").split(",")
    return dict(model.split(":", 1) for model in named if ":" in model)


def _with_version(session: Session, model: str) -> str:
    name, _, version = model.partition(":")
    if version:
        return model
    latest = session.send(get_latest_model(name))
    if latest is None:
        raise ArgumentError(f"models names {model!r}, which the workspace does not have; register it first.")
    return f"{name}:{latest.version}"
