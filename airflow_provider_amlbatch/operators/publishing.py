"""Pipelines made with the Azure ML SDK: publishing, and submitting without publishing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.published_pipeline import AzureMLPipelineLink
from airflow_provider_amlbatch.operators.awaiting import AzureMLRunOperator, submission_key
from airflow_provider_amlbatch.operators.killing import StartsRun
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_amlbatch.aml.pipelines import PublishedPipeline
    from airflow_provider_amlbatch.aml.submission import SubmissionKey
    from airflow_provider_amlbatch.sdk.publishing import Published

#: A definition, the JSON form of one, or a function that takes the SDK's Workspace and returns the SDK's Pipeline.
Definition = BatchPipeline | Mapping[str, Any] | Callable[[Any], Any]

#: What a run of a pipeline can be handed.
_HANDED = ("parameters", "datasets", "data_paths")

#: Tells of a value whether it becomes known later, when the task runs.
Later = Callable[[object], bool]


@dataclass(frozen=True)
class _Function:
    """Holds a function that builds a pipeline: since Airflow 3.3 a templated field that can be called is called."""

    build: Callable[[Any], Any]

    def __repr__(self) -> str:
        # Airflow keeps it with the DAG: an address in memory would make a new version of the DAG at each parse.
        return f"<function {getattr(self.build, '__qualname__', type(self.build).__qualname__)}>"


class AzureMLPublishPipelineOperator(StartsRun, BaseOperator):
    """Publish a batch pipeline, once per definition.

    The definition and the content of its source folder have a digest, which is kept with the published pipeline. What
    is unchanged is found by it, without the Azure ML SDK; what has changed is published.

    Returns ``{"id", "name", "version", "endpoint", "created", "pipeline_endpoint"}``: ``endpoint`` is the REST URL of
    the published pipeline; ``pipeline_endpoint`` is ``{"id", "name", "version", "endpoint"}`` of the endpoint named by
    ``endpoint=``, with the version under which it has the pipeline, or None.

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
    kind_of_run = "Trial run"

    def __init__(
        self,
        *,
        pipeline: Definition,
        name: str | None = None,
        description: str | None = None,
        version: str | int | None = None,
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
        self.pipeline = _held(pipeline)
        self.name = name
        self.description = description
        self.version = version
        self.endpoint = endpoint
        self.validate_with = validate_with
        self.poll_interval = poll_interval
        self.always = always
        self.sdk_python = sdk_python
        self.azureml_conn_id = azureml_conn_id
        self._check(_later)

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish the pipeline, or find it published, and set the endpoint's default."""
        self.pipeline = _read(self.pipeline)
        self._check(_never)
        published = self._publish()
        AzureMLPipelineLink.persist(context, self.hook.session, published.pipeline.id)
        switched = self._switch(self.endpoint, published.pipeline) if self.endpoint else None
        return {
            "id": published.pipeline.id,
            "name": published.pipeline.name,
            "version": published.pipeline.version,
            "endpoint": published.pipeline.url,
            "created": published.created,
            "pipeline_endpoint": switched,
        }

    def _check(self, later: Later) -> None:
        """Refuse what could never run. What is not known yet is left to :meth:`execute`."""
        if not later(self.pipeline):
            own = {"name": self.name, "description": self.description, "version": self.version}
            _check_definition(self.pipeline, sdk_python=self.sdk_python, **own)
        if not later(self.validate_with):
            _check_trial(self.pipeline, self.endpoint, self.validate_with, later)

    def _switch(self, name: str, pipeline: PublishedPipeline) -> dict[str, Any]:
        from airflow_provider_amlbatch.sdk import publishing

        session = self.hook.session
        before = publishing.find_endpoint(session, name)
        if self.validate_with is not None and not publishing.is_default(before, pipeline.id):
            self._try_out(name, pipeline, self.validate_with)
        endpoint = publishing.make_default(session, name, pipeline, self.description)
        return {
            "id": endpoint.id,
            "name": endpoint.name,
            "version": publishing.version_of(endpoint, pipeline.id),
            "endpoint": endpoint.url,
        }

    def _try_out(self, endpoint: str, pipeline: PublishedPipeline, given: Mapping[str, Mapping[str, Any]]) -> None:
        from airflow_provider_amlbatch.aml.errors import RunError
        from airflow_provider_amlbatch.sdk import publishing
        from airflow_provider_amlbatch.sdk.errors import SmokeRunError

        hook = self.hook
        trial = publishing.trial_of(hook.session, pipeline, hook.declared_interface(pipeline), given)
        self.about_to_start(lambda hook: trial.runs(hook.session))
        run_id = trial.start(hook.session)
        self.run_started(run_id)
        self.log.info("Trial run %s: %s", run_id, hook.run_link(run_id))
        try:
            hook.conclude(hook.wait(run_id, self.poll_interval), on_reuse="warn")
        except RunError as error:
            raise SmokeRunError(
                f"Pipeline {pipeline.name!r} ({pipeline.id}) is published, but its trial run did not complete; "
                f"endpoint {endpoint!r} keeps its default version. {error}",
                run_id=run_id,
            ) from None
        self.run_over()

    def _publish(self) -> Published:
        from airflow_provider_amlbatch.sdk import publishing

        session = self.hook.session
        if isinstance(self.pipeline, _Function):
            return publishing.publish_built(
                session,
                self.pipeline.build,
                name=str(self.name),
                description=self.description,
                version=None if self.version is None else str(self.version),
                always=self.always,
            )
        return publishing.publish(session, self.pipeline, always=self.always, python=self.sdk_python)


class AzureMLSubmitPipelineOperator(AzureMLRunOperator):
    """Submit a pipeline without publishing it, exactly once, and wait for its end.

    The run id is the task's result. A retry adopts the run that an earlier try has submitted, as
    :class:`~airflow_provider_amlbatch.operators.pipelines.AzureMLInvokePipelineOperator` does.

    :param experiment_name: the experiment that the run belongs to. (templated)
    :param pipeline: as for :class:`AzureMLPublishPipelineOperator`. (templated)
    :param parameters: values of the pipeline's parameters, by name. (templated)
    :param datasets: datasets by parameter name, as the invoke operator takes them. (templated)
    :param data_paths: places on datastores by parameter name, likewise. (templated)
    :param models: the model or models that the run scores with, likewise. (templated)
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
        models: str | Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        sdk_python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experiment_name = experiment_name
        self.pipeline = _held(pipeline)
        self.parameters = parameters
        self.datasets = datasets
        self.data_paths = data_paths
        self.models = models
        self.tags = tags
        self.sdk_python = sdk_python
        self._check(_later)

    def execute(self, context: Context) -> str:
        """Submit the pipeline, or adopt the run of an earlier try, and wait."""
        from airflow_provider_amlbatch.aml.submission import adoptable, find_runs

        self.pipeline = _read(self.pipeline)
        self._check(_never)
        key = submission_key(context)

        def ours(hook: AzureMLBatchHook) -> list[str]:
            runs = find_runs(hook.session, key, self.experiment_name, None)
            return [run.run_id for run in runs if key.is_on(run)]

        found = adoptable(find_runs(self.hook.session, key, self.experiment_name, None), key)
        if found is not None:
            self.log.info("Run %s was started by an earlier try of this task; going on with it.", found.run_id)
            return self.follow(context, found.run_id)
        self.about_to_start(ours)
        return self.follow(context, self._submit(key))

    def _check(self, later: Later) -> None:
        """Refuse what could never run. What is not known yet is left to :meth:`execute`."""
        if not later(self.pipeline):
            _check_definition(self.pipeline, sdk_python=self.sdk_python)
        for argument in (*_HANDED, "tags"):
            _check_mapping(argument, getattr(self, argument), later)
        _check_names(self.pipeline, {argument: getattr(self, argument) for argument in _HANDED}, later)

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
        if isinstance(self.pipeline, _Function):
            return publishing.submit_built(session, self.pipeline.build, **arguments)
        arguments["spec"] = self.pipeline.to_json()
        return str(interpreter.run(session, "submit", arguments, python=self.sdk_python)["run_id"])


def _later(value: object) -> bool:
    """Tell whether a value is known only when the task runs: a template, or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    # As Airflow itself tells what it resolves.
    return hasattr(value, "resolve") and not isinstance(value, os.PathLike)


def _never(value: object) -> bool:
    """Say that everything is known: the task runs."""
    del value
    return False


def _held(pipeline: Any) -> Any:
    """Hold a function where Airflow does not call it."""
    return _Function(pipeline) if callable(pipeline) else pipeline


def _read(pipeline: Any) -> Any:
    """Read the JSON form, once its templates are rendered."""
    return BatchPipeline.from_json(pipeline) if isinstance(pipeline, Mapping) else pipeline


def _check_definition(pipeline: object, *, sdk_python: str | None, **own: object) -> None:
    if isinstance(pipeline, BatchPipeline | Mapping):
        given = [name for name, value in own.items() if value is not None]
        if given:
            raise ArgumentError(
                f"{given[0]}={own[given[0]]!r} is not accepted: a BatchPipeline has its own {given[0]}; set it there."
            )
    elif not isinstance(pipeline, _Function):
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
        if "name" in own and not own["name"]:
            raise ArgumentError(
                f"name={own['name']!r} is not accepted: a pipeline that a function builds needs a name."
            )


def _check_trial(pipeline: object, endpoint: str | None, given: Mapping[str, Any] | None, later: Later) -> None:
    if given is None:
        return
    if not endpoint:
        raise ArgumentError(
            f"validate_with={given!r} is not accepted without endpoint=: the trial run decides whether it follows."
        )
    _check_mapping("validate_with", given, later)
    for name, values in given.items():
        if name not in _HANDED or not (later(values) or isinstance(values, Mapping)):
            raise ArgumentError(f"validate_with has {name!r}: {values!r}; give mappings under {', '.join(_HANDED)}.")
    _check_names(pipeline, given, later)


def _check_mapping(argument: str, value: object, later: Later) -> None:
    if value is None or isinstance(value, Mapping) or later(value):
        return
    native = "; a template gives one in a DAG with render_template_as_native_obj=True" if isinstance(value, str) else ""
    raise ArgumentError(f"{argument}={value!r} is not accepted: give a mapping of names to values{native}.")


def _check_names(pipeline: object, given: Mapping[str, Mapping[str, Any] | None], later: Later) -> None:
    if not isinstance(pipeline, BatchPipeline):
        return
    plain = sorted(name for name, default in pipeline.parameters.items() if default is not None)
    data = sorted(name for name, default in pipeline.parameters.items() if default is None)
    known = {"parameters": plain, "datasets": data, "data_paths": data}
    for argument, values in given.items():
        for name in () if later(values) else values or ():
            if name not in known[argument]:
                raise ArgumentError(
                    f"{argument} names {name!r}, which the pipeline does not declare there; its parameters are: "
                    f"{', '.join(plain) or 'none'}; its datasets are: {', '.join(data) or 'none'} "
                    "(Input(parameter=...) makes one)."
                )
