"""Score what arrives: a run for each folder that got new files, instead of Azure's run for each file.

The sensor hands on every blob that is new or has changed since the last DAG run, exactly once, also what arrived while
Airflow was down. An Azure schedule on the datastore would start one run for each of them; here the files of a delivery
are grouped by their folder, and each folder is scored by one run. With ``mode="per_blob"`` the sensor's result can be
expanded as it is, into the runs that Azure would start.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from airflow.sdk import DAG, task, task_group

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sensors.schedules import AzureMLBlobChangeSensor

RESULTS = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute().parent / "results" / "arrived"

with DAG(
    "score_new_blobs",
    schedule="@continuous",
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    max_active_runs=1,
    tags=["azureml"],
    doc_md=__doc__,
) as dag:
    changed = AzureMLBlobChangeSensor(
        task_id="changed",
        datastore="workspaceblobstore",
        path="incoming",
        mode="one_batch",
        recursive=True,
        matching=r".*[.]csv",
        since=os.environ.get("AMLBATCH_SINCE"),
        deferrable=True,
        poke_interval=60,
        soft_fail=True,  # nothing within the timeout, which is a week: begin anew
    )

    @task
    def folders(batch: dict) -> list[dict[str, str]]:
        """Group the files by their folder."""
        found = sorted({str(PurePosixPath(path).parent) for path in batch["paths"]})
        return [
            {
                "folder": path,
                "data_path": f"{batch['datastore']}/{path}",
                "table": f"{RESULTS / path.replace('/', '-')}.parquet",
            }
            for path in found
        ]

    @task_group
    def score_folder(folder: str, data_path: str, table: str) -> object:
        """Score one folder and see that each of its files got a prediction."""
        invoke = AzureMLInvokePipelineOperator(
            task_id="invoke",
            pipeline_endpoint="score-patients",
            experiment_name="arrived",
            data_paths={"folder": data_path},
            deferrable=True,
            poll_interval=5,
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
        """Add up the rows."""
        # Of a group that was mapped over one item, Airflow hands on that one's value instead of a list.
        tables = [collected] if isinstance(collected, dict) else collected
        return sum(table["rows"] for table in tables)

    total(score_folder.expand_kwargs(folders(changed.output)))
