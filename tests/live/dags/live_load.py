"""The main job with as little as possible in it, for many DAG runs at once, and many invocations in one."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator

OPTIONS: dict[str, Any] = {
    "task_id": "invoke",
    "pipeline_id": "{{ dag_run.conf['pipeline_id'] }}",
    "poll_interval": 5,
    "retries": 2,
    "retry_delay": timedelta(0),
}


def invoke_and_collect(dag_id: str, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, max_active_runs=1000) as dag:
        parameters = {"seconds": "{{ dag_run.conf['seconds'] }}"}
        invoke = AzureMLInvokePipelineOperator(**OPTIONS, experiment_name="live", parameters=parameters, **options)
        AzureMLCollectResultsOperator(
            task_id="collect",
            run_id=invoke.output,
            columns=["file", "prediction"],
            destination="{{ dag_run.conf['results'] }}/{{ dag_run.run_id }}.parquet",
            summary=False,
        )
    return dag


deferred = invoke_and_collect("live_load_deferred", deferrable=True)
waiting = invoke_and_collect("live_load_waiting")

with DAG("live_load_mapped", schedule=None, max_active_tasks=5000):

    @task
    def listed(**context: Any) -> list[dict[str, Any]]:
        conf = context["dag_run"].conf
        return [{"gate": conf["gate"]} for _ in range(conf["count"])]

    AzureMLInvokePipelineOperator.partial(**OPTIONS, experiment_name="live", deferrable=True).expand(
        parameters=listed()
    )
