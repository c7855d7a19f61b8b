"""Invoke a published pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml.errors import ArgumentError, AzureMLBatchError
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.awaiting import AzureMLRunOperator, submission_key

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
    from airflow_provider_amlbatch.aml.target import Target


class AzureMLInvokePipelineOperator(AzureMLRunOperator):
    """Start a run of a published pipeline, exactly once, and wait for its end.

    The run id is the task's result, and lies in XCom under ``run_id`` from the moment the run exists. After a crash or
    a retry the run that an earlier try has started is adopted; a run that failed, or a cleared task, gets a new one.

    Give one of ``pipeline_id``, ``endpoint_url`` and ``pipeline_endpoint``.

    :param experiment_name: the experiment that the run belongs to. (templated)
    :param pipeline_id: id of a published pipeline. (templated)
    :param endpoint_url: REST endpoint of a published pipeline or of a pipeline endpoint of this workspace. (templated)
    :param pipeline_endpoint: name of a pipeline endpoint. (templated)
    :param pipeline_endpoint_version: its version; the default version if left out. (templated)
    :param parameters: pipeline parameters by name: texts, numbers, truth values. (templated)
    :param datasets: datasets by parameter name: ``"name"``, ``"name:version"``, or a mapping with ``name`` or ``id``
        (and ``version``) or ``saved_id``. (templated)
    :param data_paths: places on datastores by parameter name: ``"datastore/path"`` or a mapping with ``datastore`` and
        ``path``. (templated)
    :param models: the model or models that the run scores with: ``"name"``, which means the version that is the latest
        at the submission, or ``"name:version"``. Kept among the run's tags, from where the collected table gets them;
        nothing else follows, so hand the version to the script as well if it is to use that one. (templated)
    :param description: text shown with the run. (templated)
    :param display_name: name shown for the run. (templated)
    :param tags: tags of the run, besides those that name the task. (templated)
    :param properties: properties of the run; they cannot be changed later. (templated)
    :param continue_on_step_failure: whether steps go on that do not depend on a failed one.
    """

    template_fields: Sequence[str] = (
        *AzureMLRunOperator.template_fields,
        "experiment_name",
        "pipeline_id",
        "endpoint_url",
        "pipeline_endpoint",
        "pipeline_endpoint_version",
        "parameters",
        "datasets",
        "data_paths",
        "models",
        "description",
        "display_name",
        "tags",
        "properties",
    )
    template_fields_renderers = {
        "parameters": "json",
        "datasets": "json",
        "data_paths": "json",
        "tags": "json",
        "properties": "json",
    }
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        experiment_name: str,
        pipeline_id: str | None = None,
        endpoint_url: str | None = None,
        pipeline_endpoint: str | None = None,
        pipeline_endpoint_version: str | int | None = None,
        parameters: Mapping[str, Any] | None = None,
        datasets: Mapping[str, Any] | None = None,
        data_paths: Mapping[str, Any] | None = None,
        models: str | Sequence[str] = (),
        description: str | None = None,
        display_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        continue_on_step_failure: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = {
            "pipeline_id": pipeline_id,
            "endpoint_url": endpoint_url,
            "pipeline_endpoint": pipeline_endpoint,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ArgumentError(
                f"Task {self.task_id!r} names {' and '.join(named) or 'nothing'} to invoke; give exactly one of "
                "pipeline_id, endpoint_url and pipeline_endpoint."
            )
        if pipeline_endpoint_version is not None and pipeline_endpoint is None:
            raise ArgumentError("pipeline_endpoint_version goes with pipeline_endpoint, which is not given.")
        self.experiment_name = experiment_name
        self.pipeline_id = pipeline_id
        self.endpoint_url = endpoint_url
        self.pipeline_endpoint = pipeline_endpoint
        self.pipeline_endpoint_version = pipeline_endpoint_version
        self.parameters = parameters
        self.datasets = datasets
        self.data_paths = data_paths
        self.models = models
        self.description = description
        self.display_name = display_name
        self.tags = tags
        self.properties = properties
        self.continue_on_step_failure = continue_on_step_failure

    def execute(self, context: Context) -> str:
        """Check what is handed over, start the run or adopt it, and wait."""
        from airflow_provider_amlbatch.aml.submission import submit_once
        from airflow_provider_amlbatch.aml.target import find_target

        target = find_target(
            self.hook.session,
            pipeline_id=self.pipeline_id,
            endpoint_url=self.endpoint_url,
            pipeline_endpoint=self.pipeline_endpoint,
            pipeline_endpoint_version=self.pipeline_endpoint_version,
        )
        info = self._submission_info(target)
        key = submission_key(context)

        def started(hook: AzureMLBatchHook) -> list[str]:
            from airflow_provider_amlbatch.aml.submission import find_runs

            runs = find_runs(hook.session, key, self.experiment_name, target.pipeline.id)
            return [run.run_id for run in runs if key.is_on(run)]

        self.about_to_start(started)
        submission = submit_once(self.hook.session, target.submission, info, key, target.pipeline.id)
        if submission.adopted:
            self.log.info("Run %s was started by an earlier try of this task; going on with it.", submission.run_id)
        elif self.display_name:
            self._show_name(submission.run_id, self.display_name)
        return self.follow(context, submission.run_id)

    def _submission_info(self, target: Target) -> PipelineSubmissionInfo:
        from airflow_provider_amlbatch.aml import models, parameters

        session = self.hook.session
        info = parameters.assigned(
            session,
            target.pipeline,
            self.hook.declared_interface(target.pipeline),
            parameters=self.parameters,
            datasets=self.datasets,
            data_paths=self.data_paths,
        )
        tags = {name: str(value) for name, value in (self.tags or {}).items()}
        return info.model_copy(
            update={
                "experiment_name": self.experiment_name,
                "description": self.description,
                "run_source": "Airflow",
                "run_type": "HTTP",
                "continue_run_on_step_failure": self.continue_on_step_failure,
                "tags": {**tags, **models.tags_of(session, self.models)},
                "properties": {name: str(value) for name, value in (self.properties or {}).items()},
            }
        )

    def _show_name(self, run_id: str, name: str) -> None:
        from airflow_provider_amlbatch.aml import history

        try:
            self.hook.session.send(history.update_run(run_id, {"displayName": name}))
        except AzureMLBatchError as error:  # a name that does not show must not fail a run that works
            self.log.warning("Run %s could not be given the name %r: %s", run_id, name, error)
