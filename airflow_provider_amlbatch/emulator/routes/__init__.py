"""HTTP to wire types and back: a module per service, short handlers, no rules."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_provider_amlbatch.emulator.routes import (
    aad,
    arm,
    artifacts,
    blob,
    compute,
    control,
    datasets,
    datastores,
    discovery,
    endpoints,
    environments,
    history,
    metrics,
    models,
    pipeline_runs,
    pipelines,
    schedules,
    snapshots,
    studio,
)

ROUTERS: list[APIRouter] = [
    aad.router,
    arm.router,
    artifacts.router,
    blob.router,
    compute.router,
    control.router,
    datasets.router,
    datastores.router,
    discovery.router,
    endpoints.router,
    environments.router,
    history.router,
    metrics.router,
    models.router,
    pipeline_runs.router,
    pipelines.router,
    schedules.router,
    snapshots.router,
    studio.router,
]
