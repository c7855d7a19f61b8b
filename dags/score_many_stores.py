"""Score the folders of many stores at once: one pipeline, one run of Azure ML and one table for each store.

The stores are independent of each other. When one fails, the others are collected, and clearing its task scores it
again alone: the map index is part of the key by which a task finds its run. ``AMLBATCH_STORES`` names them.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, task, task_group

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()
RESULTS = SAMPLE.parent / "results" / "stores"
STORES = os.environ.get("AMLBATCH_STORES", "berlin oslo paris").split()

score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_breast_cancer.py",
    inputs=[Input("patients", path="breast-cancer/*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG("score_many_stores", schedule=None, tags=["azureml"], doc_md=__doc__) as dag:
    register = AzureMLRegisterModelOperator(
        task_id="register", model_name="breast-cancer", model_path=str(SAMPLE / "model.joblib")
    )
    publish = AzureMLPublishPipelineOperator(
        task_id="publish", pipeline=BatchPipeline("score-folder", score), multiple_outputs=True
    )

    @task
    def deliver() -> None:
        """Stand for whoever delivers the stores' files."""
        container = AzureMLBatchHook().container_client("workspaceblobstore")
        for number, store in enumerate(STORES):
            for name in list(container.list_blob_names(name_starts_with=f"breast-cancer/patient-0{number}")):
                content = container.download_blob(name).readall()
                container.upload_blob(f"stores/{store}/{Path(name).name}", content, overwrite=True)

    @task_group
    def score_store(folder: str, data_path: str, table: str) -> object:
        """Score one folder and collect its predictions."""
        invoke = AzureMLInvokePipelineOperator(
            task_id="invoke",
            pipeline_id=publish.output["id"],
            experiment_name="stores",
            data_paths={"folder": data_path},
            poll_interval=2,
        )
        return AzureMLCollectResultsOperator(
            task_id="collect",
            run_id=invoke.output,
            columns=["file", "prediction"],
            input_path=folder,
            require_complete=True,
            destination=table,
        ).output

    @task
    def total(collected: list[dict] | dict) -> int:
        """Add up the rows of all stores."""
        # Of a group that was mapped over one item, Airflow hands on that one's value instead of a list.
        tables = [collected] if isinstance(collected, dict) else collected
        return sum(table["rows"] for table in tables)

    scored = score_store.expand_kwargs(
        [
            {
                "folder": f"stores/{store}",
                "data_path": f"workspaceblobstore/stores/{store}",
                "table": str(RESULTS / f"{store}.parquet"),
            }
            for store in STORES
        ]
    )
    register >> publish
    deliver() >> scored
    total(scored)
