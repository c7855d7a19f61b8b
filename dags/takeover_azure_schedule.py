"""Airflow fires instead of Azure: what an Azure ML schedule did, at the same instants.

``amlbatch schedules export`` writes such a file; this one has a check and the collecting added. The Azure schedule was
every second Monday and Wednesday at 18:30 in Los Angeles, which no cron expression says, and was handed over by
``amlbatch schedules takeover``, which printed the first slot that Azure would not fire: the DAG's ``start_date``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.operators.schedules import AzureMLDisableScheduleOperator
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable

SCHEDULE = os.environ.get("AMLBATCH_SCHEDULE", "score-patients-by-shift")
RESULTS = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute().parent / "results" / "taken-over"

with DAG(
    "takeover_azure_schedule",
    schedule=AzureMLRecurrenceTimetable(
        "Week",
        2,
        "2026-11-01T00:00:00",
        "Pacific Standard Time",
        week_days=["Monday", "Wednesday"],
        time_of_day="18:30",
    ),
    start_date=datetime(2026, 11, 12, 2, 30, tzinfo=UTC),  # the first slot that Azure does not fire
    catchup=True,  # slots that pass before the DAG is unpaused are run then, so that none is lost
    max_active_runs=1,  # Azure would start a run although the last one has not ended
    tags=["azureml"],
    doc_md=__doc__,
) as dag:
    azure = AzureMLDisableScheduleOperator(task_id="azure", schedule=SCHEDULE)

    @task
    def check_handover(schedule: dict) -> None:
        """Refuse to fire beside Azure: somebody has enabled the schedule again."""
        if schedule["changed"]:
            raise RuntimeError(f"Azure schedule {schedule['name']} was active, and is disabled now: look at its runs.")

    invoke = AzureMLInvokePipelineOperator(
        task_id="invoke", pipeline_endpoint="score-patients", experiment_name="scheduled", deferrable=True
    )
    collect = AzureMLCollectResultsOperator(
        task_id="collect",
        run_id=invoke.output,
        columns=["file", "prediction"],
        destination=f"{RESULTS}/{{{{ ts_nodash }}}}.parquet",
    )
    check_handover(azure.output) >> invoke >> collect
