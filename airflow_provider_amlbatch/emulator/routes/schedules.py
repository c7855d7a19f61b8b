"""The pipelines service: schedules (``/pipelines/v1.0/../Schedules``)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from airflow_provider_amlbatch.aml.pipelines import PipelineRun
from airflow_provider_amlbatch.aml.schedules import Schedule, ScheduleCreationInfo
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator

router = APIRouter(prefix="/pipelines/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])


@router.post("/Schedules/Create")
def create_schedule(emulator: TheEmulator, info: ScheduleCreationInfo) -> Schedule:
    """Make a schedule."""
    schedule = emulator.schedules.create(info)
    emulator.dispatcher.wake()
    return schedule


@router.get("/Schedules")
def list_schedules(
    emulator: TheEmulator, active_only: Annotated[bool, Query(alias="activeOnly")] = True
) -> list[Schedule]:
    """List the schedules."""
    return emulator.schedules.list_schedules(active_only=active_only)


@router.get("/Schedules/Pipeline/{pipeline_id}")
def list_schedules_of_pipeline(emulator: TheEmulator, pipeline_id: str) -> list[Schedule]:
    """List the schedules of a published pipeline."""
    return emulator.schedules.list_schedules(pipeline_id=pipeline_id)


@router.get("/Schedules/PipelineEndpoint/{endpoint_id}")
def list_schedules_of_endpoint(emulator: TheEmulator, endpoint_id: str) -> list[Schedule]:
    """List the schedules of a pipeline endpoint."""
    return emulator.schedules.list_schedules(endpoint_id=endpoint_id)


@router.get("/Schedules/{schedule_id}")
def get_schedule(emulator: TheEmulator, schedule_id: str) -> Schedule:
    """Get a schedule."""
    return emulator.schedules.get(schedule_id)


@router.put("/Schedules/{schedule_id}")
def update_schedule(emulator: TheEmulator, schedule_id: str, schedule: Schedule) -> Schedule:
    """Change a schedule."""
    return emulator.schedules.update(schedule_id, schedule)


@router.get("/PipelineRuns/Schedule/{schedule_id}")
def list_runs_of_schedule(emulator: TheEmulator, schedule_id: str) -> list[PipelineRun]:
    """List the runs that a schedule started."""
    return emulator.schedules.runs(schedule_id)


@router.get("/PipelineRuns/Schedule/{schedule_id}/Last", response_model=PipelineRun)
def get_last_run_of_schedule(emulator: TheEmulator, schedule_id: str) -> PipelineRun | Response:
    """Get the last run that a schedule started; nothing (204) before the first."""
    runs = emulator.schedules.runs(schedule_id)
    return runs[0] if runs else Response(status_code=204)
