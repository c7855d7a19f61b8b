"""Score, once a day, the folder of the day that has just ended.

The data interval names the folder, so a backfill scores the same folders that the schedule would have scored:

    airflow backfill create --dag-id daily_scoring --from-date 2026-11-01 --to-date 2026-11-07

Triggered by hand it needs a logical date, which the form gives and the REST API may leave out.

One run of Azure ML belongs to one DAG run. A retry goes on with that run; clearing the task starts a new one.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()
DAY = "daily/{{ data_interval_start | ds }}"

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

with DAG(
    "daily_scoring",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1),
    catchup=False,
    max_active_runs=2,
    tags=["azureml"],
    doc_md=__doc__,
) as dag:

    @task
    def deliver(folder: str) -> None:
        """Stand for whoever delivers a day's files; your own DAG waits for them instead, with a sensor or an asset."""
        container = AzureMLBatchHook().container_client("workspaceblobstore")
        for name in list(container.list_blob_names(name_starts_with="breast-cancer/patient-00")):
            content = container.download_blob(name).readall()
            container.upload_blob(f"{folder}/{Path(name).name}", content, overwrite=True)

    deliver(DAY) >> azureml_batch_inference(
        "score_day",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        pipeline=BatchPipeline("score-folder", score),
        experiment_name="daily-scoring",
        invoke={"data_paths": {"folder": f"workspaceblobstore/{DAY}"}, "poll_interval": 2},
        collect={"columns": ["file", "prediction"], "input_path": DAY, "require_complete": True},
        destination=str(SAMPLE.parent / "results" / "daily" / "{{ data_interval_start | ds }}.parquet"),
    )
