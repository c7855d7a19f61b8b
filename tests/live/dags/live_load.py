"""The main job with as little as possible in it, for many DAG runs at once."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator


def invoke_and_collect(dag_id: str, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, max_active_runs=1000) as dag:
        invoke = AzureMLInvokePipelineOperator(
            task_id="invoke",
            pipeline_id="{{ dag_run.conf['pipeline_id'] }}",
            experiment_name="live",
            parameters={"seconds": "{{ dag_run.conf['seconds'] }}"},
            poll_interval=5,
            retries=2,
            retry_delay=timedelta(0),
            **options,
        )
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
