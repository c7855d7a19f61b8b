"""Many rows of few files, collected and compared: with the job's own counts, and with the ids that were to come."""

import os
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

pipeline = BatchPipeline(
    name="collect-rows",
    step=ParallelRun(
        name="double",
        source_directory=Path(__file__).parent / "scripts",
        entry_script="answer_each_row.py",
        inputs=[Input("numbers", path="numbered-rows/*.csv", kind="tabular")],
        output=Output("doubled"),
        environment=Environment("rows", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-rows", vm_size="STANDARD_D2_V2", max_nodes=1),
        mini_batch_size="100KB",
        error_threshold=0,
        process_count_per_node=2,
        allow_reuse=False,
    ),
)
table = os.environ.get("TABLE", "/nowhere/rows.parquet")

with DAG("collect_rows", schedule=None) as dag:
    publish = AzureMLPublishPipelineOperator(task_id="publish", pipeline=pipeline)
    invoke = AzureMLInvokePipelineOperator(
        task_id="invoke",
        pipeline_id="{{ ti.xcom_pull('publish')['id'] }}",
        experiment_name="rows",
        poll_interval=1,
    )
    collect = AzureMLCollectResultsOperator(
        task_id="collect", run_id=invoke.output, destination=table, keep="first", require_complete=0.5, summary=True
    )

    @task
    def require_all(azure_run: str) -> None:
        from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
        from airflow_provider_amlbatch.results.reconcile import Reconcile

        every_id = [f"id-{number:06d}" for number in range(int(os.environ["ROWS"]))]
        rules = Reconcile(every_id, keep="first", require_complete=True)
        AzureMLBatchHook().collect(azure_run, f"{table}.complete.csv", reconcile=rules)

    publish >> invoke >> collect >> require_all(invoke.output)
