"""The DAG of the page on testing: add up the numbers of each file."""

import os
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

score = ParallelRun(
    name="add-up",
    source_directory=Path(__file__).parent / "scripts",
    entry_script="add_up.py",
    inputs=[Input("numbers", path="numbers/*.csv")],
    output=Output("sums"),
    environment=Environment("plain", pip_packages=["azureml-defaults"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG("add_up", schedule=None) as dag:
    azureml_batch_inference(
        "sums",
        pipeline=BatchPipeline("add-up", score),
        experiment_name="sums",
        invoke={"poll_interval": 1, "deferrable": False},
        collect={"columns": ["file", "total"], "input_path": "numbers/*.csv", "require_complete": True},
        destination=os.environ.get("SUMS", "sums.csv"),
    )
