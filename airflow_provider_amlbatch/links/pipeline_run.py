"""The link from a task to its run in Azure ML's studio."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

log = logging.getLogger(__name__)


class AzureMLRunLink(BaseOperatorLink):
    """Show the run's page.

    Airflow reads the address from XCom. It is stored as soon as the run exists, so that a running, a deferred and a
    failed task have it too.
    """

    name = "Azure ML run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the stored address, or nothing while there is no run."""
        del operator
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""

    @classmethod
    def persist(cls, context: Context, hook: AzureMLBatchHook, run_id: str) -> None:
        """Store the address of the task's run, and log it. A hiccup of the service costs the address, and no more."""
        from airflow_provider_amlbatch.aml.watcher import HICCUPS

        try:
            url = hook.run_link(run_id)
        except HICCUPS as error:
            log.warning("The address of run %s is not known now: %s", run_id, error)
            return
        log.info("Run %s: %s", run_id, url)
        ti: Any = context["ti"]
        ti.xcom_push(key=cls().xcom_key, value=url)
