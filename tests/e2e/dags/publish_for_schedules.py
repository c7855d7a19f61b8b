"""Register the model and publish the pipeline that the DAGs about schedules run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow.sdk import DAG
from seed import ENDPOINT, SCORE

from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

#: The SDK works in a process of its own: in this one it may know another emulator.
SDK_PYTHON = os.environ.get("AMLBATCH_SDK_PYTHON", sys.executable)
SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()

with DAG("publish_for_schedules", schedule=None):
    AzureMLRegisterModelOperator(
        task_id="register",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        sdk_python=SDK_PYTHON,
    ) >> AzureMLPublishPipelineOperator(
        task_id="publish",
        pipeline=BatchPipeline(ENDPOINT, SCORE),
        endpoint=ENDPOINT,
        sdk_python=SDK_PYTHON,
    )
