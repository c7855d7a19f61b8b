"""The main job in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, TaskGroup

from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator, Definition
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator


def azureml_batch_inference(
    group_id: str,
    *,
    pipeline: Definition,
    destination: str,
    experiment_name: str,
    model_name: str | None = None,
    model_path: str | None = None,
    publish: Mapping[str, Any] | None = None,
    invoke: Mapping[str, Any] | None = None,
    collect: Mapping[str, Any] | None = None,
    azureml_conn_id: str = DEFAULT_CONNECTION,
) -> TaskGroup:
    """Make the tasks ``register`` (with a model), ``publish``, ``invoke`` and ``collect`` in one group.

    What the group returns lies in the XCom of ``<group_id>.collect``.

    :param group_id: name of the group within the DAG.
    :param pipeline: what to publish: a ``BatchPipeline``, or a function that builds a pipeline.
    :param destination: file that the table is written to.
    :param experiment_name: experiment that the run belongs to.
    :param model_name: model to register first; goes with ``model_path``.
    :param model_path: file or folder of that model.
    :param publish: further arguments of the publish operator.
    :param invoke: further arguments of the invoke operator, such as ``parameters``; unless said it is deferrable, and
        notes the latest version of the model with the run.
    :param collect: further arguments of the collect operator, such as ``columns``.
    :param azureml_conn_id: connection to the workspace.
    :raises ValueError: if only one of ``model_name`` and ``model_path`` is given.
    """
    if (model_name is None) != (model_path is None):
        given, missing = ("model_path", "model_name") if model_name is None else ("model_name", "model_path")
        raise ValueError(f"{given} is given without {missing}: give both to register a model, or neither.")
    with TaskGroup(group_id) as group:
        published = AzureMLPublishPipelineOperator(
            task_id="publish", pipeline=pipeline, azureml_conn_id=azureml_conn_id, **(publish or {})
        )
        invoked = AzureMLInvokePipelineOperator(
            task_id="invoke",
            experiment_name=experiment_name,
            pipeline_id=_output(published)["id"],
            azureml_conn_id=azureml_conn_id,
            **{"deferrable": True, "models": () if model_name is None else [model_name], **(invoke or {})},
        )
        AzureMLCollectResultsOperator(
            task_id="collect",
            run_id=_output(invoked),
            destination=destination,
            azureml_conn_id=azureml_conn_id,
            **(collect or {}),
        )
        if model_name is not None and model_path is not None:
            registered = AzureMLRegisterModelOperator(
                task_id="register", model_name=model_name, model_path=model_path, azureml_conn_id=azureml_conn_id
            )
            registered >> published
    return group


def _output(operator: BaseOperator) -> Any:
    """What a task returns, to be handed to another task, whatever that one's argument is typed as."""
    return operator.output
