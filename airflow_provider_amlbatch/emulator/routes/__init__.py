"""HTTP to wire types and back: a module per service, short handlers, no rules."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_provider_amlbatch.emulator.routes import aad, arm, control, discovery

ROUTERS: list[APIRouter] = [
    aad.router,
    arm.router,
    control.router,
    discovery.router,
]
