"""Azure keeps firing, Airflow follows: collect the results of every run that an Azure ML schedule starts.

The DAG runs without end. Each DAG run takes the runs that the schedule has started since the last one, exactly once,
also those that were started while Airflow was down; it waits for their ends without a worker and collects their
predictions.

``AMLBATCH_SCHEDULE`` names the schedule; ``AMLBATCH_SINCE`` reaches back before the first DAG run, to an ISO instant;
results are written beside the folder ``AMLBATCH_DEMO``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, task, task_group

from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sensors.pipeline_run import AzureMLPipelineRunSensor
from airflow_provider_amlbatch.sensors.schedules import AzureMLScheduledRunSensor

SCHEDULE = os.environ.get("AMLBATCH_SCHEDULE", "score-patients")
RESULTS = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute().parent / "results" / "mirrored"

with DAG(
    "mirror_azure_schedule",
    schedule="@continuous",
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    max_active_runs=1,
    tags=["azureml"],
    doc_md=__doc__,
) as dag:
    started = AzureMLScheduledRunSensor(
        task_id="started",
        schedule=SCHEDULE,
        since=os.environ.get("AMLBATCH_SINCE"),
        deferrable=True,
        poke_interval=60,
        soft_fail=True,  # nothing within the timeout, which is a week: begin anew
    )

    @task_group
    def collect_run(run_id: str) -> object:
        """Wait for one run of the schedule, and collect what it predicted."""
        ended = AzureMLPipelineRunSensor(task_id="ended", run_id=run_id, deferrable=True, poke_interval=10)
        return AzureMLCollectResultsOperator(
            task_id="collect",
            run_id=ended.output,
            columns=["file", "prediction"],
            destination=f"{RESULTS}/{{{{ ti.xcom_pull('collect_run.ended', map_indexes=ti.map_index) }}}}.parquet",
        ).output

    @task
    def check(run_ids: list[str], collected: list[dict] | dict) -> dict[str, int]:
        """See that every run left predictions, and tell how many."""
        # Of a group that was mapped over one item, Airflow hands on that one's value instead of a list.
        tables = [collected] if isinstance(collected, dict) else collected
        rows = {run_id: table["rows"] for run_id, table in zip(run_ids, tables, strict=True)}
        empty = [run_id for run_id, count in rows.items() if not count]
        if empty:
            raise ValueError(f"These runs predicted nothing: {', '.join(empty)}")
        return rows

    check(started.output, collect_run.expand(run_id=started.output))
