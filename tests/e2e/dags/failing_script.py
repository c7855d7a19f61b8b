"""A DAG that must fail: its script raises on one file, and no failed item is put up with."""

from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

pipeline = BatchPipeline(
    name="failing-script",
    step=ParallelRun(
        name="score",
        source_directory=Path(__file__).parent / "scripts",
        entry_script="raise_on_one_file.py",
        inputs=[Input("patients", datastore="workspaceblobstore", path="breast-cancer/*.csv")],
        output=Output("predictions"),
        environment=Environment("failing", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
        mini_batch_size=20,
        error_threshold=0,
        run_max_try=1,
        process_count_per_node=2,
    ),
)

with DAG("failing_script", schedule=None) as dag:
    publish = AzureMLPublishPipelineOperator(task_id="publish", pipeline=pipeline)
    invoke = AzureMLInvokePipelineOperator(
        task_id="invoke",
        pipeline_id=publish.output["id"],
        experiment_name="failing",
        poll_interval=1,
    )
    AzureMLCollectResultsOperator(task_id="collect", run_id=invoke.output, destination="/nowhere/predictions.parquet")
