"""Cancel a run; disable a published pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.pipeline_run import AzureMLRunLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AzureMLCancelRunOperator(BaseOperator):
    """Ask for the end of a run. One that is over, or unknown, is left as it is.

    The result is whether there was anything to end.

    :param run_id: the run. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = ("run_id", "azureml_conn_id")
    operator_extra_links = (AzureMLRunLink(),)

    def __init__(self, *, run_id: str, azureml_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.azureml_conn_id = azureml_conn_id

    def execute(self, context: Context) -> bool:
        """Cancel the run."""
        hook = AzureMLBatchHook(self.azureml_conn_id)
        AzureMLRunLink.persist(context, hook, self.run_id)
        canceled = hook.cancel_run(self.run_id)
        self.log.info("Run %s %s.", self.run_id, "was asked to end" if canceled else "had nothing left to end")
        return canceled


class AzureMLDisablePipelineOperator(BaseOperator):
    """Switch a published pipeline off, so that nobody can start a run of it any more.

    :param pipeline_id: the published pipeline. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = ("pipeline_id", "azureml_conn_id")

    def __init__(self, *, pipeline_id: str, azureml_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_id = pipeline_id
        self.azureml_conn_id = azureml_conn_id

    def execute(self, context: Context) -> None:
        """Disable the pipeline."""
        del context
        AzureMLBatchHook(self.azureml_conn_id).disable_pipeline(self.pipeline_id)
        self.log.info("Published pipeline %s is disabled.", self.pipeline_id)
