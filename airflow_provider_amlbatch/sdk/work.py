"""The work that needs the SDK, as calls from JSON to JSON: the same in this process and in another interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.sdk import models, pipelines
from airflow_provider_amlbatch.sdk.build import build
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

if TYPE_CHECKING:
    from azureml.core import Workspace


def register_model(workspace: Workspace, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Register a model; see :func:`airflow_provider_amlbatch.sdk.models.register`."""
    return models.register(workspace, **arguments)


def publish(workspace: Workspace, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Build and publish ``spec``, marked with ``digest``."""
    spec = BatchPipeline.from_json(arguments["spec"])
    published = pipelines.publish(
        build(spec, workspace),
        name=spec.name,
        digest=arguments["digest"],
        description=spec.description,
        version=spec.version,
        continue_on_step_failure=spec.continue_on_step_failure,
    )
    return {"id": published}


def submit(workspace: Workspace, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Build and submit ``spec``; the other arguments are those of the SDK room's ``submit``."""
    values = dict(arguments)
    spec = BatchPipeline.from_json(values.pop("spec"))
    run_id = pipelines.submit(build(spec, workspace), continue_on_step_failure=spec.continue_on_step_failure, **values)
    return {"run_id": run_id}


VERBS: dict[str, Callable[[Workspace, Mapping[str, Any]], dict[str, Any]]] = {
    "register_model": register_model,
    "publish": publish,
    "submit": submit,
}
