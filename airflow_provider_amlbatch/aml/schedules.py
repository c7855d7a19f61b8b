"""Schedules of the pipelines service (``/pipelines/v1.0/../Schedules``)."""

from __future__ import annotations

from airflow_provider_amlbatch.aml.pipelines import ACTIVE, PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.wire import Instant, Pascal


class RecurrenceSchedule(Pascal):
    """Hours, minutes and week days at which a Day or Week recurrence fires."""

    hours: list[int] | None = None
    minutes: list[int] | None = None
    week_days: list[str] | None = None


class Recurrence(Pascal):
    """A recurrence as the wire writes it; ``frequency`` is a name or the digit of the older back end."""

    frequency: str
    interval: int
    start_time: str | None = None
    time_zone: str | None = None
    schedule: RecurrenceSchedule | None = None


class DataStoreTriggerInfo(Pascal):
    """What a data-store schedule watches. ``polling_interval`` is in minutes."""

    data_store_name: str | None = None
    polling_interval: int | None = None
    data_path_parameter_name: str | None = None
    path_on_data_store: str | None = None


class Schedule(Pascal):
    """A schedule (``PipelineScheduleEntity``). ``schedule_type`` is Recurrence or DataStore."""

    id: str
    name: str | None = None
    pipeline_id: str | None = None
    pipeline_endpoint_id: str | None = None
    pipeline_submission_info: PipelineSubmissionInfo | None = None
    recurrence: Recurrence | None = None
    schedule_type: str | None = None
    data_store_trigger_info: DataStoreTriggerInfo | None = None
    provisioning_status: str | None = None
    entity_status: str = ACTIVE
    etag: str | None = None
    created_date: Instant | None = None
    last_modified_date: Instant | None = None
