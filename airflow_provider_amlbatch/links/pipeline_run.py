"""The link from a task to its run in Azure ML's studio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


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
    def persist(cls, context: Context, url: str) -> None:
        """Store the address of the task's run."""
        ti: Any = context["ti"]
        ti.xcom_push(key=cls().xcom_key, value=url)
