"""Published and submitted through the SDK, with marks by which both are found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.sdk.errors import SdkError

if TYPE_CHECKING:
    from azureml.pipeline.core import Pipeline

#: Property of a published pipeline that holds the digest of its definition.
DIGEST = "amlbatch.digest"


def publish(
    pipeline: Pipeline,
    *,
    name: str,
    digest: str,
    description: str | None = None,
    version: str | None = None,
    continue_on_step_failure: bool = False,
) -> str:
    """Publish a pipeline, with its digest among its properties.

    :param pipeline: the SDK's pipeline.
    :param digest: digest of the definition.
    :returns: id of the published pipeline.
    """
    with _tracked({DIGEST: digest}):
        published = pipeline.publish(
            name=name,
            description=description,
            version=version,
            continue_on_step_failure=continue_on_step_failure,
        )
    return str(published.id)


@contextmanager
def _tracked(properties: Mapping[str, str]) -> Iterator[None]:
    """Have the SDK write properties into what it creates during a block.

    ``publish`` takes none, and they cannot be set later. This is the way in that the SDK itself has for its git marks.
    """
    from azureml._base_sdk_common.tracking import TrackingInfoProvider, global_tracking_info_registry

    class Marks(TrackingInfoProvider):  # type: ignore[misc]
        def gather(self) -> dict[str, str]:
            return dict(properties)

    marks = Marks()
    global_tracking_info_registry.register(marks)
    try:
        yield
    finally:
        global_tracking_info_registry.providers.remove(marks)


def submit(
    pipeline: Pipeline,
    *,
    experiment_name: str,
    parameters: Mapping[str, Any],
    datasets: Mapping[str, Any],
    data_paths: Mapping[str, Any],
    tags: Mapping[str, str],
    properties: Mapping[str, str],
    continue_on_step_failure: bool = False,
) -> str:
    """Submit a pipeline that is not published, marked from its first moment.

    What ``Experiment.submit`` does, except that tags and properties travel with the run: the SDK would set tags after
    the submission, and a task that dies between the two could not find its run again.

    :param parameters: values for the pipeline's parameters; converted to the type of each parameter's default.
    :param datasets: datasets by parameter name, in the JSON of the wire (``DataSetDefinitionValue``).
    :param data_paths: places on datastores by parameter name, likewise (``DataPath``).
    :param tags: tags of the run.
    :param properties: properties of the run.
    :returns: id of the pipeline run.
    :raises SdkError: if the pipeline declares no such parameter, or one of another type.
    """
    from azureml.core import Experiment

    graph = pipeline.graph
    for argument, given in (("parameters", parameters), ("datasets", datasets), ("data_paths", data_paths)):
        unknown = sorted(set(given) - set(graph.params))
        if unknown:
            known = ", ".join(sorted(graph.params)) or "none"
            raise SdkError(f"{argument} names {', '.join(map(repr, unknown))}; the pipeline declares {known}.")
    values = {name: _typed(name, value, graph.params[name].default_value) for name, value in parameters.items()}
    Experiment(graph._context._workspace, experiment_name)
    pipeline._set_experiment_name(experiment_name)
    body = graph._get_pipeline_run_creation_info_with_graph(
        pipeline_parameters=values, continue_on_step_failure=continue_on_step_failure
    )
    _assign_data(body.creation_info, graph.params, datasets, data_paths)
    # Inferred: the service takes tags and properties at creation, as its models say; the SDK itself sends none.
    body.creation_info.tags = dict(tags)
    body.creation_info.properties = dict(properties)
    service = graph._context.workflow_provider._service_caller
    run_id = service.create_unsubmitted_pipeline_run_async(body, experiment_name=experiment_name).id
    service.submit_saved_pipeline_run_async(pipeline_run_id=run_id)
    return str(run_id)


def _assign_data(
    info: Any, declared: Mapping[str, Any], datasets: Mapping[str, Any], data_paths: Mapping[str, Any]
) -> None:
    """Put other data in the place of a graph's defaults. The SDK would want objects of its own for it."""
    from azureml.pipeline.core._restclients.aeva.models import DataPath, DataSetDefinitionValue

    values, paths = dict(info.data_set_definition_value_assignments or {}), dict(info.data_path_assignments or {})
    for argument, given in (("datasets", datasets), ("data_paths", data_paths)):
        for name in given:
            if isinstance(declared[name].default_value, str | int | float):
                raise SdkError(
                    f"{argument} names {name!r}, which is no data of the pipeline; hand it over in parameters."
                )
    values |= {name: DataSetDefinitionValue.deserialize(value) for name, value in datasets.items()}
    for name, value in data_paths.items():
        # As for published pipelines: a path for a dataset parameter travels as its literal value.
        if name in paths:
            paths[name] = DataPath.deserialize(value)
        else:
            values[name] = DataSetDefinitionValue(literal_value=DataPath.deserialize(value))
    info.data_set_definition_value_assignments, info.data_path_assignments = values, paths


def _typed(name: str, value: Any, default: Any) -> Any:
    """Convert a value to the type of a parameter's default: the SDK wants it exact, and a template gives text."""
    if not isinstance(default, str | int | float):
        raise SdkError(f"parameters names {name!r}, which stands for data; say in the definition which data it is.")
    if type(value) is type(default):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[str(value).lower()]
        return type(default)(str(value))
    except (ValueError, KeyError):
        kind = type(default).__name__
        raise SdkError(f"parameters[{name!r}]={value!r} is not accepted: its default {default!r} is {kind}.") from None


def digest(pipeline: Pipeline) -> str:
    """Compute the digest of a pipeline that a function of the user's own built, from the graph that it would send.

    The graph names its nodes at random; they are counted here instead. The modules in it have been registered by
    content when this is called, so a changed script shows as another module.

    :param pipeline: the SDK's pipeline.
    """
    body = pipeline.graph._get_pipeline_run_creation_info_with_graph()
    sent = {"graph": body.graph.serialize(), "interface": body.graph_interface.serialize()}
    text = json.dumps(sent, sort_keys=True)
    graph = sent["graph"]
    nodes = [*graph.get("ModuleNodes", []), *graph.get("DatasetNodes", []), *graph.get("SubGraphNodes", [])]
    for number, node in enumerate(nodes):
        text = text.replace(json.dumps(node["Id"]), json.dumps(f"node {number}"))
    return hashlib.sha256(text.encode()).hexdigest()
