"""The link from a task to the pipeline that it published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_amlbatch.aml.session import Session


class AzureMLPipelineLink(BaseOperatorLink):
    """Show the page of the published pipeline. Airflow reads the address from XCom."""

    name = "Azure ML pipeline"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the stored address, or nothing while there is no pipeline."""
        del operator
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""

    @classmethod
    def persist(cls, context: Context, session: Session, pipeline_id: str) -> None:
        """Store the address of the task's pipeline."""
        settings = session.settings
        url = f"{session.studio}/pipelines/{quote(pipeline_id)}?wsid={settings.workspace_scope}"
        ti: Any = context["ti"]
        ti.xcom_push(key=cls().xcom_key, value=url if settings.tenant_id is None else f"{url}&tid={settings.tenant_id}")
