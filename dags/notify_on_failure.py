"""Tell people why a scoring failed: the run's link, and the digest with the script's own traceback.

The script refuses one file, so this DAG fails on purpose. The exception of a failed run carries the digest as its text
and the run as `run_id`; Airflow calls the function when no retry is left.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Context, Param

from airflow_provider_amlbatch.links.pipeline_run import AzureMLRunLink
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()
ALERTS = SAMPLE.parent / "alerts.jsonl"


def tell(context: Context) -> None:
    """Write the alert to a file, one JSON object a line; put your chat's or your pager's notifier here."""
    task, error = context["ti"], context["exception"]
    alert = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": f"{task.dag_id}.{task.task_id}",
        "azure_run": getattr(error, "run_id", None),
        "link": task.xcom_pull(task_ids=task.task_id, key=AzureMLRunLink().xcom_key),
        "why": str(error),
    }
    with ALERTS.open("a") as file:
        file.write(json.dumps(alert) + "\n")


score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_or_refuse.py",
    arguments=["--refuse", Parameter("refuse", "none")],
    inputs=[Input("patients", path="breast-cancer/*.csv")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG(
    "notify_on_failure",
    schedule=None,
    params={"refuse": Param("patient-007.csv", type="string", description="File that the script refuses.")},
    default_args={"on_failure_callback": tell},
    tags=["azureml"],
    doc_md=__doc__,
) as dag:
    azureml_batch_inference(
        "score",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        pipeline=BatchPipeline("score-or-refuse", score),
        experiment_name="failures",
        invoke={"parameters": {"refuse": "{{ params.refuse }}"}, "poll_interval": 2},
        collect={"columns": ["file", "prediction"]},
        destination=str(SAMPLE.parent / "results" / "not-refused.parquet"),
    )
