"""DAGs of one invocation each. The configuration of the DAG run says which pipeline, and when its run may end."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator

OPTIONS: dict[str, Any] = {
    "task_id": "invoke",
    "pipeline_id": "{{ dag_run.conf['pipeline_id'] }}",
    "experiment_name": "live",
    "poll_interval": 1,
    "retries": 1,
    "retry_delay": timedelta(0),
}
GATE = {"gate": "{{ dag_run.conf['gate'] }}-{{ ti.try_number }}"}


def one_invocation(dag_id: str, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        AzureMLInvokePipelineOperator(**OPTIONS | {"parameters": GATE} | options)
    return dag


waiting = one_invocation("live_waiting", display_name="{{ dag_run.run_id }}")
deferred = one_invocation("live_deferred", deferrable=True)
waiting_timeout = one_invocation("live_waiting_timeout", retries=0, execution_timeout=timedelta(seconds=12))
deferred_timeout = one_invocation(
    "live_deferred_timeout", deferrable=True, retries=0, execution_timeout=timedelta(seconds=12)
)
waiting_spared = one_invocation("live_waiting_spared", retries=0, cancel_on_kill=False)
deferred_spared = one_invocation("live_deferred_spared", deferrable=True, retries=0, cancel_on_kill=False)


def many_invocations(dag_id: str, **options: Any) -> DAG:
    """As many invocations as the configuration lists parameters."""
    with DAG(dag_id, schedule=None) as dag:

        @task
        def listed(**context: Any) -> list[dict[str, Any]]:
            parameters: list[dict[str, Any]] = context["dag_run"].conf["parameters"]
            return parameters

        AzureMLInvokePipelineOperator.partial(**OPTIONS | options).expand(parameters=listed())
    return dag


many_deferred = many_invocations("live_many_deferred", deferrable=True, retries=0)
many_retried = many_invocations("live_many_retried", deferrable=True, retries=5)
