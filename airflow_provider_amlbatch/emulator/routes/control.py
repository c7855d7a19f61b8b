"""The emulator's own controls, under a prefix that no Azure service has: health, and time."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter
from pydantic import AwareDatetime

from airflow_provider_amlbatch import __version__
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.routes.access import TheEmulator

router = APIRouter(prefix="/_emulator")


class Health(Camel):
    """That the emulator answers, and which it is."""

    status: str
    version: str
    workspace_id: str
    now: Instant


class ClockChange(Camel):
    """What to do to the clock, in this order: freeze it at an instant or where it is, shift it, let it run."""

    freeze: bool = False
    freeze_at: AwareDatetime | None = None
    shift_seconds: float = 0
    run: bool = False


class ClockState(Camel):
    """What the services take for now."""

    now: Instant


@router.get("/health")
def get_health(emulator: TheEmulator) -> Health:
    """Say that the emulator is up."""
    return Health(
        status="ok", version=__version__, workspace_id=emulator.identity.workspace_id, now=emulator.clock.now()
    )


@router.get("/clock")
def get_clock(emulator: TheEmulator) -> ClockState:
    """Tell the time."""
    return ClockState(now=emulator.clock.now())


@router.put("/clock")
def put_clock(emulator: TheEmulator, change: ClockChange) -> ClockState:
    """Freeze or shift the clock, or let it run again."""
    return ClockState(now=_changed(emulator, change))


def _changed(emulator: Emulator, change: ClockChange) -> datetime:
    if change.freeze or change.freeze_at is not None:
        emulator.clock.freeze(change.freeze_at)
    emulator.clock.shift(timedelta(seconds=change.shift_seconds))
    return emulator.clock.run() if change.run else emulator.clock.now()
