"""Definitions turned into the SDK's objects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml.errors import redact
from airflow_provider_amlbatch.sdk.errors import SdkError
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
    Value,
)

if TYPE_CHECKING:
    from azureml.core import Workspace
    from azureml.core.compute import AmlCompute
    from azureml.pipeline.core import Pipeline, PipelineParameter

log = logging.getLogger(__name__)


def build(spec: BatchPipeline, workspace: Workspace) -> Pipeline:
    """Build the SDK's pipeline. A cluster that the definition describes is created if it is missing.

    :param spec: the definition.
    :param workspace: the SDK's workspace.
    :raises SdkError: if the definition names something that the workspace does not have.
    """
    from azureml.pipeline.core import Pipeline

    step = _Builder(workspace).parallel_run(spec.step)
    return Pipeline(workspace=workspace, steps=[step], description=spec.description)


class _Builder:
    """Builds one step. A parameter that is used twice is one object, as the SDK wants it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._parameters: dict[str, PipelineParameter] = {}

    def parallel_run(self, step: ParallelRun) -> Any:
        from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep

        sides = {data.name: self._consumption(data) for data in step.side_inputs}
        config = ParallelRunConfig(
            environment=self._environment(step.environment),
            compute_target=self._compute(step.compute_target),
            source_directory=str(step.source_directory),
            entry_script=step.entry_script,
            output_action=step.output_action,
            error_threshold=step.error_threshold,
            allowed_failed_count=step.allowed_failed_count,
            allowed_failed_percent=step.allowed_failed_percent,
            append_row_file_name=step.append_row_file_name,
            environment_variables=dict(step.environment_variables),
            description=step.description,
            node_count=self._value(step.node_count),
            process_count_per_node=self._value(step.process_count_per_node),
            mini_batch_size=self._value(step.mini_batch_size),
            partition_keys=self._partition_keys(step),
            run_invocation_timeout=self._value(step.run_invocation_timeout),
            run_max_try=self._value(step.run_max_try),
            logging_level=self._value(step.logging_level),
        )
        return ParallelRunStep(
            name=step.name,
            parallel_run_config=config,
            inputs=[self._consumption(data) for data in step.inputs],
            side_inputs=list(sides.values()) or None,
            output=None if step.output is None else self._output(step.output),
            arguments=[sides[word.name] if isinstance(word, Input) else self._value(word) for word in step.arguments],
            allow_reuse=step.allow_reuse,
        )

    def _value(self, value: Any) -> Any:
        return self._parameter(value.name, lambda: value.default) if isinstance(value, Parameter) else value

    def _parameter(self, name: str, default: Callable[[], Value | Any]) -> PipelineParameter:
        from azureml.pipeline.core import PipelineParameter

        if name not in self._parameters:
            self._parameters[name] = PipelineParameter(name, default_value=default())
        return self._parameters[name]

    def _partition_keys(self, step: ParallelRun) -> Any:
        keys = step.partition_keys
        return list(keys) if isinstance(keys, tuple) else self._value(keys)

    def _consumption(self, data: Input) -> Any:
        from azureml.data.dataset_consumption_config import DatasetConsumptionConfig

        # Mode "direct": ParallelRunStep itself turns file inputs to "mount", and insists on "direct" for partitions.
        config = DatasetConsumptionConfig(
            data.name, self._files(data) if data.dataset is None else self._registered(data)
        )
        if data.parameter is None:
            return config
        return DatasetConsumptionConfig(data.name, self._parameter(data.parameter, lambda: config.dataset))

    def _registered(self, data: Input) -> tuple[Any, ...]:
        from azureml.core import Dataset

        dataset = Dataset.get_by_name(self._workspace, data.dataset, version=data.version or "latest")
        kind = "tabular" if type(dataset).__name__ == "TabularDataset" else "file"
        if kind != data.kind:
            raise SdkError(f"Input {data.name!r} is declared {data.kind}, but dataset {data.dataset!r} is {kind}.")
        # Without a version the reference stays open, and each run takes the latest.
        named = (self._workspace, data.dataset)
        return named if data.version is None else (*named, data.version)

    def _files(self, data: Input) -> Any:
        from azureml.core import Dataset

        paths = [(self._datastore(data.datastore), path) for path in data.path or ()]
        options = {"partition_format": data.partition_format, "validate": False}
        if data.kind == "file":
            return Dataset.File.from_files(paths, **options)
        if all(path.endswith(".parquet") for path in data.path or ()):
            return Dataset.Tabular.from_parquet_files(paths, **options)
        return Dataset.Tabular.from_delimited_files(paths, **options)

    def _datastore(self, name: str | None) -> Any:
        from azureml.core import Datastore

        return self._workspace.get_default_datastore() if name is None else Datastore.get(self._workspace, name)

    def _output(self, output: Output) -> Any:
        from azureml.data import OutputFileDatasetConfig
        from azureml.pipeline.core import PipelineData

        store = self._datastore(output.datastore)
        if output.destination is None:
            return PipelineData(output.name, datastore=store)
        return OutputFileDatasetConfig(name=output.name, destination=(store, output.destination))

    def _environment(self, wanted: Environment) -> Any:
        from azureml.core import Environment as SdkEnvironment
        from azureml.core.conda_dependencies import CondaDependencies

        if not wanted.is_built:
            try:
                return SdkEnvironment.get(self._workspace, wanted.name, version=wanted.version)
            except Exception as error:  # the SDK raises no other type here
                raise SdkError(
                    f"Environment {wanted.name!r} cannot be had from workspace {self._workspace.name!r}; name one that "
                    f"it has, or say what is in it: {redact(' '.join(str(error).split()))[:300]}"
                ) from None
        if wanted.conda_file is not None:
            made = SdkEnvironment.from_conda_specification(wanted.name, str(wanted.conda_file))
        else:
            made = SdkEnvironment(wanted.name)
        if wanted.interpreter is not None:
            made.python.user_managed_dependencies = True
            made.python.interpreter_path = wanted.interpreter
        elif wanted.conda_file is None:
            python = {"python_version": wanted.python_version} if wanted.python_version is not None else {}
            made.python.conda_dependencies = CondaDependencies.create(
                pip_packages=list(wanted.pip_packages),
                conda_packages=list(wanted.conda_packages),
                pin_sdk_version=False,
                **python,
            )
        if wanted.base_image is not None:
            made.docker.base_image = wanted.base_image
        return made

    def _compute(self, target: str | Compute) -> AmlCompute:
        from azureml.core.compute import AmlCompute
        from azureml.core.compute_target import ComputeTargetException

        name = target.name if isinstance(target, Compute) else target
        try:
            found = AmlCompute(self._workspace, name)
        except ComputeTargetException as error:
            if "ComputeTargetNotFound" not in str(error):
                raise
            if isinstance(target, Compute):
                return self._create(target)
            raise SdkError(
                f"compute_target={name!r} is not in workspace {self._workspace.name!r}. "
                "Name a cluster that is, or give a Compute(...) to have it created."
            ) from None
        if not isinstance(found, AmlCompute):
            raise SdkError(f"compute_target={name!r} is no AmlCompute cluster; ParallelRunStep runs on no other kind.")
        return found

    def _create(self, target: Compute) -> AmlCompute:
        from azureml.core.compute import AmlCompute, ComputeTarget

        log.info("Creating cluster %s: up to %s nodes of %s.", target.name, target.max_nodes, target.vm_size)
        settings = AmlCompute.provisioning_configuration(
            vm_size=target.vm_size,
            vm_priority=target.vm_priority,
            min_nodes=target.min_nodes,
            max_nodes=target.max_nodes,
            idle_seconds_before_scaledown=target.idle_seconds,
        )
        created = ComputeTarget.create(self._workspace, target.name, settings)
        created.wait_for_completion(show_output=False)
        return created
