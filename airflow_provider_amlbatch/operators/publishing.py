"""Pipelines made with the Azure ML SDK: publishing, and submitting without publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.published_pipeline import AzureMLPipelineLink
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_amlbatch.sdk.publishing import Published

#: A definition, the JSON form of one, or a function that takes the SDK's Workspace and returns the SDK's Pipeline.
Definition = BatchPipeline | Mapping[str, Any] | Callable[[Any], Any]


class AzureMLPublishPipelineOperator(BaseOperator):
    """Publish a batch pipeline, once per definition.

    The definition and the content of its source folder have a digest, which is kept with the published pipeline. What
    is unchanged is found by it, without the Azure ML SDK; what has changed is published.

    Returns ``{"id", "name", "version", "endpoint", "created", "pipeline_endpoint"}``: ``endpoint`` is the REST URL of
    the published pipeline; ``pipeline_endpoint`` is ``{"id", "name", "version", "endpoint"}`` of the endpoint named by
    ``endpoint=``, or None.

    :param pipeline: a :class:`~airflow_provider_amlbatch.sdk.spec.BatchPipeline`; or its JSON form, whose strings are
        templated; or a function ``build(workspace)`` that returns an ``azureml.pipeline.core.Pipeline``, for what a
        BatchPipeline cannot say. (templated)
    :param name: name to publish under; with a function only, a definition has its own. (templated)
    :param description: likewise. (templated)
    :param version: likewise. (templated)
    :param endpoint: name of a pipeline endpoint, of which the pipeline becomes the default version; it is created if
        there is none. (templated)
    :param always: publish even what is unchanged.
    :param sdk_python: path of a Python interpreter that has the Azure ML SDK, where Airflow's own has not. Not with a
        function, which lives in this interpreter.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = ("pipeline", "name", "description", "version", "endpoint", "azureml_conn_id")
    operator_extra_links = (AzureMLPipelineLink(),)
    ui_color = "#d7ebfa"

    def __init__(
        self,
        *,
        pipeline: Definition,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        endpoint: str | None = None,
        always: bool = False,
        sdk_python: str | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.name = name
        self.description = description
        self.version = version
        self.endpoint = endpoint
        self.always = always
        self.sdk_python = sdk_python
        self.azureml_conn_id = azureml_conn_id
        _check_definition(pipeline, name=name, description=description, version=version, sdk_python=sdk_python)

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the pipeline, or find it published, and set the endpoint's default."""
        from airflow_provider_amlbatch.sdk import publishing

        hook = AzureMLBatchHook(self.azureml_conn_id)
        published = self._publish(hook)
        AzureMLPipelineLink.persist(context, hook.session, published.pipeline.id)
        switched = None
        if self.endpoint:
            endpoint = publishing.make_default(hook.session, self.endpoint, published.pipeline, self.description)
            switched = {
                "id": endpoint.id,
                "name": endpoint.name,
                "version": endpoint.default_version,
                "endpoint": endpoint.url,
            }
        return {
            "id": published.pipeline.id,
            "name": published.pipeline.name,
            "version": published.pipeline.version,
            "endpoint": published.pipeline.url,
            "created": published.created,
            "pipeline_endpoint": switched,
        }

    def _publish(self, hook: AzureMLBatchHook) -> Published:
        from airflow_provider_amlbatch.sdk import publishing

        if callable(self.pipeline):
            return publishing.publish_built(
                hook.session,
                self.pipeline,
                name=str(self.name),
                description=self.description,
                version=self.version,
                always=self.always,
            )
        return publishing.publish(hook.session, _definition(self.pipeline), always=self.always, python=self.sdk_python)


def _definition(pipeline: BatchPipeline | Mapping[str, Any]) -> BatchPipeline:
    return pipeline if isinstance(pipeline, BatchPipeline) else BatchPipeline.from_json(pipeline)


def _check_definition(pipeline: object, *, sdk_python: str | None, **own: str | None) -> None:
    """Refuse, while the DAG is parsed, what could never run."""
    if isinstance(pipeline, BatchPipeline | Mapping):
        given = [name for name, value in own.items() if value is not None]
        if given:
            raise ArgumentError(
                f"{given[0]}={own[given[0]]!r} is not accepted: a BatchPipeline has its own {given[0]}; set it there."
            )
    elif not callable(pipeline):
        raise ArgumentError(
            f"pipeline={pipeline!r} is not accepted: give a BatchPipeline, its JSON form, or a function "
            "build(workspace) that returns an azureml Pipeline."
        )
    else:
        if sdk_python is not None:
            raise ArgumentError(
                f"sdk_python={sdk_python!r} is not accepted with a function: it cannot be handed to another "
                "interpreter. Give a BatchPipeline, or leave sdk_python out."
            )
        if "name" in own and own["name"] is None:
            raise ArgumentError("name=None is not accepted: a pipeline that a function builds needs a name.")
