"""Pipelines made with the Azure ML SDK: publishing, and submitting without publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.published_pipeline import AzureMLPipelineLink
from airflow_provider_amlbatch.operators.awaiting import AzureMLRunOperator, submission_key
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_amlbatch.aml.pipelines import PublishedPipeline
    from airflow_provider_amlbatch.aml.submission import SubmissionKey
    from airflow_provider_amlbatch.sdk.publishing import Published, Trial

#: A definition, the JSON form of one, or a function that takes the SDK's Workspace and returns the SDK's Pipeline.
Definition = BatchPipeline | Mapping[str, Any] | Callable[[Any], Any]

#: What a run of a pipeline can be handed.
_HANDED = ("parameters", "datasets", "data_paths")


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
    :param validate_with: before the endpoint follows, run the pipeline once with these ``parameters``, ``datasets`` and
        ``data_paths``, each as the invoke operator takes it, such as ``{"datasets": {"rows": "small:1"}}``; ``{}`` runs
        it with its defaults. If that run does not complete, the task fails and the endpoint keeps its old default. A
        pipeline that passed once is not run again. (templated)
    :param poll_interval: seconds between two questions about that run.
    :param always: publish even what is unchanged.
    :param sdk_python: path of a Python interpreter that has the Azure ML SDK, where Airflow's own has not. Not with a
        function, which lives in this interpreter.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = (
        "pipeline",
        "name",
        "description",
        "version",
        "endpoint",
        "validate_with",
        "azureml_conn_id",
    )
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
        validate_with: Mapping[str, Mapping[str, Any]] | None = None,
        poll_interval: float = 30.0,
        always: bool = False,
        sdk_python: str | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        # Each value is an XCom of its own, so that another task can be handed publish.output["id"].
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.pipeline = pipeline
        self.name = name
        self.description = description
        self.version = version
        self.endpoint = endpoint
        self.validate_with = validate_with
        self.poll_interval = poll_interval
        self.always = always
        self.sdk_python = sdk_python
        self.azureml_conn_id = azureml_conn_id
        self._trial: Trial | None = None
        _check_definition(pipeline, name=name, description=description, version=version, sdk_python=sdk_python)
        _check_trial(pipeline, endpoint, validate_with)

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the pipeline, or find it published, and set the endpoint's default."""
        hook = AzureMLBatchHook(self.azureml_conn_id)
        published = self._publish(hook)
        AzureMLPipelineLink.persist(context, hook.session, published.pipeline.id)
        switched = self._switch(hook, self.endpoint, published.pipeline) if self.endpoint else None
        return {
            "id": published.pipeline.id,
            "name": published.pipeline.name,
            "version": published.pipeline.version,
            "endpoint": published.pipeline.url,
            "created": published.created,
            "pipeline_endpoint": switched,
        }

    def on_kill(self) -> None:
        """Cancel the trial run, if there is one."""
        if self._trial is None:
            return
        from airflow_provider_amlbatch.aml.session import Session

        try:
            # A session of its own: the killed code may hold the locks of another one.
            settings = AzureMLBatchHook(self.azureml_conn_id).settings
            hook = AzureMLBatchHook(self.azureml_conn_id, session=Session(settings, attempts=2))
            for run_id in self._trial.runs(hook.session):
                canceled = hook.cancel_run(run_id)
                self.log.info("Trial run %s %s.", run_id, "was asked to end" if canceled else "had already ended")
        except Exception:
            self.log.exception("The task was killed, and its trial run could not be canceled.")

    def _switch(self, hook: AzureMLBatchHook, name: str, pipeline: PublishedPipeline) -> dict[str, Any]:
        from airflow_provider_amlbatch.sdk import publishing

        before = publishing.find_endpoint(hook.session, name)
        if self.validate_with is not None and not publishing.is_default(before, pipeline.id):
            self._try_out(hook, name, pipeline, self.validate_with)
        endpoint = publishing.make_default(hook.session, name, pipeline, self.description)
        return {
            "id": endpoint.id,
            "name": endpoint.name,
            "version": endpoint.default_version,
            "endpoint": endpoint.url,
        }

    def _try_out(
        self, hook: AzureMLBatchHook, endpoint: str, pipeline: PublishedPipeline, given: Mapping[str, Mapping[str, Any]]
    ) -> None:
        from airflow_provider_amlbatch.aml.errors import RunError
        from airflow_provider_amlbatch.sdk import publishing
        from airflow_provider_amlbatch.sdk.errors import SmokeRunError

        # Known before the run exists, so that a kill at any moment finds it.
        self._trial = publishing.trial_of(hook.session, pipeline, hook.declared_interface(pipeline), given)
        run_id = self._trial.start(hook.session)
        self.log.info("Trial run %s: %s", run_id, hook.run_link(run_id))
        try:
            hook.conclude(hook.wait(run_id, self.poll_interval), on_reuse="warn")
        except RunError as error:
            raise SmokeRunError(
                f"Pipeline {pipeline.name!r} ({pipeline.id}) is published, but its trial run did not complete; "
                f"endpoint {endpoint!r} keeps its default version. {error}",
                run_id=run_id,
            ) from None
        self._trial = None

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


class AzureMLSubmitPipelineOperator(AzureMLRunOperator):
    """Submit a pipeline without publishing it, exactly once, and wait for its end.

    The run id is the task's result. A retry adopts the run that an earlier try has submitted, as
    :class:`~airflow_provider_amlbatch.operators.pipelines.AzureMLInvokePipelineOperator` does.

    :param experiment_name: the experiment that the run belongs to. (templated)
    :param pipeline: as for :class:`AzureMLPublishPipelineOperator`. (templated)
    :param parameters: values of the pipeline's parameters, by name. (templated)
    :param datasets: datasets by parameter name, as the invoke operator takes them. (templated)
    :param data_paths: places on datastores by parameter name, likewise. (templated)
    :param models: the models that the run scores with, likewise. (templated)
    :param tags: tags of the run, besides those that name the task. (templated)
    :param sdk_python: path of a Python interpreter that has the Azure ML SDK, where Airflow's own has not.
    """

    template_fields: Sequence[str] = (
        *AzureMLRunOperator.template_fields,
        "experiment_name",
        "pipeline",
        "parameters",
        "datasets",
        "data_paths",
        "models",
        "tags",
    )
    template_fields_renderers = {"parameters": "json", "datasets": "json", "data_paths": "json", "tags": "json"}
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        experiment_name: str,
        pipeline: Definition,
        parameters: Mapping[str, str | int | float | bool] | None = None,
        datasets: Mapping[str, Any] | None = None,
        data_paths: Mapping[str, Any] | None = None,
        models: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        sdk_python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experiment_name = experiment_name
        self.pipeline = pipeline
        self.parameters = parameters
        self.datasets = datasets
        self.data_paths = data_paths
        self.models = models
        self.tags = tags
        self.sdk_python = sdk_python
        _check_definition(pipeline, sdk_python=sdk_python)
        if isinstance(pipeline, BatchPipeline):
            _check_given(pipeline, parameters, datasets, data_paths)

    def execute(self, context: Context) -> str:
        """Submit the pipeline, or adopt the run of an earlier try, and wait."""
        from airflow_provider_amlbatch.aml.submission import adoptable, find_runs

        key = submission_key(context)

        def ours(hook: AzureMLBatchHook) -> list[str]:
            runs = find_runs(hook.session, key, self.experiment_name, None)
            return [run.run_id for run in runs if key.is_on(run)]

        found = adoptable(find_runs(self.hook.session, key, self.experiment_name, None), key)
        if found is not None:
            self.log.info("Run %s was started by an earlier try of this task; going on with it.", found.run_id)
            return self.follow(context, found.run_id)
        self.submitting(ours)
        return self.follow(context, self._submit(key))

    def _submit(self, key: SubmissionKey) -> str:
        from airflow_provider_amlbatch.aml import models
        from airflow_provider_amlbatch.aml.parameters import data_path, dataset_value
        from airflow_provider_amlbatch.sdk import interpreter, publishing

        session = self.hook.session
        tags = {name: str(value) for name, value in (self.tags or {}).items()}
        datasets = {name: dataset_value(session, name, value) for name, value in (self.datasets or {}).items()}
        paths = {name: data_path(name, value) for name, value in (self.data_paths or {}).items()}
        arguments: dict[str, Any] = {
            "experiment_name": self.experiment_name,
            "parameters": dict(self.parameters or {}),
            "datasets": {name: value.to_wire(exclude_none=True) for name, value in datasets.items()},
            "data_paths": {name: value.to_wire() for name, value in paths.items()},
            "tags": {**tags, **models.tags_of(session, self.models), **key.tags},
            "properties": key.tags,
        }
        if callable(self.pipeline):
            return publishing.submit_built(session, self.pipeline, **arguments)
        arguments["spec"] = _definition(self.pipeline).to_json()
        return str(interpreter.run(session, "submit", arguments, python=self.sdk_python)["run_id"])


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


def _check_trial(pipeline: object, endpoint: str | None, given: Mapping[str, Mapping[str, Any]] | None) -> None:
    if given is None:
        return
    if endpoint is None:
        raise ArgumentError(
            f"validate_with={given!r} is not accepted without endpoint=: the trial run decides whether it follows."
        )
    unknown = [name for name, values in given.items() if name not in _HANDED or not isinstance(values, Mapping)]
    if unknown:
        raise ArgumentError(
            f"validate_with has {unknown[0]!r}: {given[unknown[0]]!r}; give mappings under {', '.join(_HANDED)}."
        )
    if isinstance(pipeline, BatchPipeline):
        _check_given(pipeline, **given)


def _check_given(
    pipeline: BatchPipeline,
    parameters: Mapping[str, Any] | None = None,
    datasets: Mapping[str, Any] | None = None,
    data_paths: Mapping[str, Any] | None = None,
) -> None:
    plain = sorted(name for name, default in pipeline.parameters.items() if default is not None)
    data = sorted(name for name, default in pipeline.parameters.items() if default is None)
    for argument, given, known in (
        ("parameters", parameters, plain),
        ("datasets", datasets, data),
        ("data_paths", data_paths, data),
    ):
        for name in given or {}:
            if name not in known:
                raise ArgumentError(
                    f"{argument} names {name!r}, which the pipeline does not declare there; its parameters are: "
                    f"{', '.join(plain) or 'none'}; its datasets are: {', '.join(data) or 'none'} "
                    "(Input(parameter=...) makes one)."
                )
