"""The main job: register a model, publish a batch pipeline, invoke it over REST, wait, collect the predictions.

``make demo`` runs this DAG against the embedded emulator; with an ``azureml_default`` connection to a real workspace it
runs there. ``AMLBATCH_DEMO`` names the folder that holds the trained model; results go to ``results``
beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()

pipeline = BatchPipeline(
    name="score-breast-cancer",
    description="Classify one CSV file of cell features per patient.",
    step=ParallelRun(
        name="score",
        source_directory=Path(__file__).parent / "scoring",
        entry_script="score_breast_cancer.py",
        inputs=[Input("patients", datastore="workspaceblobstore", path="breast-cancer/*.csv")],
        output=Output("predictions"),
        environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
        compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
        mini_batch_size=20,
        error_threshold=0,
        node_count=1,
        process_count_per_node=2,
    ),
)

with DAG("batch_scoring", schedule=None, catchup=False, tags=["azureml"], doc_md=__doc__) as dag:
    register = AzureMLRegisterModelOperator(
        task_id="register", model_name="breast-cancer", model_path=str(SAMPLE / "model.joblib")
    )
    publish = AzureMLPublishPipelineOperator(task_id="publish", pipeline=pipeline)
    invoke = AzureMLInvokePipelineOperator(
        task_id="invoke",
        pipeline_id=publish.output["id"],
        experiment_name="breast-cancer",
        deferrable=True,
        poll_interval=5,
    )
    collect = AzureMLCollectResultsOperator(
        task_id="collect",
        run_id=invoke.output,
        output_name="predictions",
        columns=["file", "prediction"],
        destination=str(SAMPLE.parent / "results" / "predictions.parquet"),
    )

    @task
    def draw(collected: dict) -> str:
        """Draw how often each class was predicted, beside the table."""
        from airflow_provider_amlbatch.results.summary import write_chart

        table = Path(collected["uri"])
        return str(write_chart(table, table.with_suffix(".png"), column="prediction"))

    register >> publish
    draw(collect.output)
