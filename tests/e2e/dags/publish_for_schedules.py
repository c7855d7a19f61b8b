"""Register the model and publish the pipeline that the DAGs about schedules run."""

from __future__ import annotations

import os
import sys  # the SDK works in a process of its own: in this one it may know another emulator
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()

score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parents[3] / "dags" / "scoring",
    entry_script="score_breast_cancer.py",
    inputs=[Input("patients", path="breast-cancer/patient-00*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG("publish_for_schedules", schedule=None):
    AzureMLRegisterModelOperator(
        task_id="register",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        sdk_python=sys.executable,
    ) >> AzureMLPublishPipelineOperator(
        task_id="publish",
        pipeline=BatchPipeline("score-patients", score),
        endpoint="score-patients",
        sdk_python=sys.executable,
    )
