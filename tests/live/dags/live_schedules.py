"""DAGs that the scheduler starts by itself.

Nobody gives their runs a configuration, so a Variable names the pipeline.
"""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG

from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable


def one_invocation(dag_id: str, timetable: AzureMLRecurrenceTimetable, **options: Any) -> DAG:
    with DAG(dag_id, schedule=timetable, **{"is_paused_upon_creation": True} | options) as dag:
        AzureMLInvokePipelineOperator(
            task_id="invoke",
            pipeline_id="{{ var.value.live_pipeline }}",
            experiment_name="live",
            tags={"slot": "{{ ts }}"},
            poll_interval=1,
        )
    return dag


# Berlin leaves summer time on 25 October 2026.
DAILY = AzureMLRecurrenceTimetable(
    "Day", 1, "2026-10-01T00:00:00", "Europe/Berlin", time_of_day="09:00", interval_style=True
)

caught_up = one_invocation(
    "live_caught_up",
    DAILY,
    start_date=datetime(2026, 10, 22, tzinfo=UTC),
    end_date=datetime(2026, 10, 28, 23, tzinfo=UTC),
    catchup=True,
)
daily = one_invocation(
    "live_daily",
    DAILY,
    start_date=datetime(2026, 10, 1, tzinfo=UTC),
    end_date=datetime(2026, 10, 31, tzinfo=UTC),  # nothing but backfills
    catchup=False,
)
minutely = one_invocation(
    "live_minutely",
    AzureMLRecurrenceTimetable("Minute", 1, "2026-11-01T00:00:00"),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
)

# For a browser to look at: it has all its slots before it.
by_shift = one_invocation(
    "live_by_shift",
    AzureMLRecurrenceTimetable(
        "Week",
        2,
        "2099-01-05T00:00:00",
        "Pacific Standard Time",
        week_days=["Monday", "Wednesday"],
        time_of_day="18:30",
    ),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,  # of a paused one Airflow tells no next run
)
