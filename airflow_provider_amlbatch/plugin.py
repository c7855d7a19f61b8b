"""The Airflow plugin of this package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable


class AzureMLBatchPlugin(AirflowPlugin):
    """Registers the timetable, without which Airflow refuses to serialise a DAG that uses it."""

    name = "amlbatch"
    timetables = [AzureMLRecurrenceTimetable]
