"""Schedules of the pipelines service (``/pipelines/v1.0/../Schedules``)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.pipelines import ACTIVE, PIPELINES, PipelineRun, PipelineSubmissionInfo
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


#: Values of ``schedule_type``; the older back end writes digits.
RECURRENCE = "Recurrence"
DATA_STORE = "DataStore"


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

    @property
    def is_active(self) -> bool:
        """Whether it fires."""
        return self.entity_status in (ACTIVE, "0")

    @property
    def is_reactive(self) -> bool:
        """Whether it fires for changed blobs, and not by a recurrence."""
        return self.schedule_type in (DATA_STORE, "1")


class ScheduleCreationInfo(Pascal):
    """The body of a request to make a schedule."""

    name: str | None = None
    pipeline_id: str | None = None
    pipeline_endpoint_id: str | None = None
    pipeline_submission_info: PipelineSubmissionInfo | None = None
    recurrence: Recurrence | None = None
    schedule_type: str | None = None
    data_store_trigger_info: DataStoreTriggerInfo | None = None


_BASE = f"/pipelines/v1.0{WORKSPACE}"


def _schedules(body: list[Any] | None) -> list[Schedule]:
    return [Schedule.model_validate(item) for item in body or []]


def list_schedules(active_only: bool = True) -> Call[list[Schedule]]:
    """List the schedules of the workspace."""
    return Call("GET", PIPELINES, f"{_BASE}/Schedules", _schedules, {"activeOnly": active_only})


def list_schedules_of_pipeline(pipeline_id: str) -> Call[list[Schedule]]:
    """List the schedules that submit a published pipeline."""
    return Call("GET", PIPELINES, f"{_BASE}/Schedules/Pipeline/{quote(pipeline_id)}", _schedules)


def list_schedules_of_endpoint(endpoint_id: str) -> Call[list[Schedule]]:
    """List the schedules that submit a pipeline endpoint."""
    return Call("GET", PIPELINES, f"{_BASE}/Schedules/PipelineEndpoint/{quote(endpoint_id)}", _schedules)


def get_schedule(schedule_id: str) -> Call[Schedule]:
    """Read a schedule."""
    return Call("GET", PIPELINES, f"{_BASE}/Schedules/{quote(schedule_id)}", Schedule.model_validate)


def create_schedule(info: ScheduleCreationInfo) -> Call[Schedule]:
    """Make a schedule. Sending it twice makes two of the same name."""
    path, body = f"{_BASE}/Schedules/Create", info.to_wire(exclude_none=True)
    return Call("POST", PIPELINES, path, Schedule.model_validate, body=body, retriable=False)


def update_schedule(schedule: Schedule) -> Call[Schedule]:
    """Replace a schedule. Set ``entity_status`` to switch it on or off."""
    path = f"{_BASE}/Schedules/{quote(schedule.id)}"
    return Call("PUT", PIPELINES, path, Schedule.model_validate, body=schedule.to_wire())


def list_runs_of_schedule(schedule_id: str) -> Call[list[PipelineRun]]:
    """List the runs that a schedule has submitted."""
    path = f"{_BASE}/PipelineRuns/Schedule/{quote(schedule_id)}"
    return Call("GET", PIPELINES, path, lambda body: [PipelineRun.model_validate(item) for item in body or []])


def get_last_run_of_schedule(schedule_id: str) -> Call[PipelineRun | None]:
    """Read the last run that a schedule has submitted; None if there is none."""
    path = f"{_BASE}/PipelineRuns/Schedule/{quote(schedule_id)}/Last"
    return Call("GET", PIPELINES, path, lambda body: PipelineRun.model_validate(body) if body else None)
