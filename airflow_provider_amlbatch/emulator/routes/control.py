"""The emulator's own controls, under a prefix that no Azure service has: health, time, faults, counts, reset.

They need no token, and all but health answer callers on this machine only.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, ConfigDict, Field

from airflow_provider_amlbatch import __version__
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.delivery import Delivery
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.faults import Fault, FaultReport, FaultState, RequestReport
from airflow_provider_amlbatch.emulator.interception import UNTOUCHED, operation_name
from airflow_provider_amlbatch.emulator.routes.access import TheEmulator
from airflow_provider_amlbatch.emulator.routes.local import LOCAL_ONLY

router = APIRouter(prefix="/_emulator")
_controls = APIRouter(dependencies=[LOCAL_ONLY])

_CENTURY = 100 * 365 * 86400


class Health(Camel):
    """That the emulator answers, and which it is."""

    status: str
    version: str
    workspace_id: str
    now: Instant


class ClockChange(Camel):
    """What to do to the clock, in this order: freeze it at an instant or where it is, shift it, let it run."""

    model_config = ConfigDict(extra="forbid")

    freeze: bool = False
    freeze_at: AwareDatetime | None = None
    shift_seconds: float = Field(default=0, ge=-_CENTURY, le=_CENTURY, allow_inf_nan=False)
    run: bool = False


class ClockState(Camel):
    """What the services take for now, and whether it stands still."""

    now: Instant
    frozen: bool


class ResetRequest(Camel):
    """How to reset. ``force`` cancels runs that are going on."""

    model_config = ConfigDict(extra="forbid")

    force: bool = False


class Operations(Camel):
    """The names under which faults are armed and requests are counted."""

    operations: list[str]


@router.get("/health")
def get_health(emulator: TheEmulator) -> Health:
    """Say that the emulator is up."""
    return Health(
        status="ok", version=__version__, workspace_id=emulator.identity.workspace_id, now=emulator.clock.now()
    )


@_controls.get("/clock")
def get_clock(emulator: TheEmulator) -> ClockState:
    """Tell the time."""
    return _clock(emulator)


@_controls.put("/clock")
def put_clock(emulator: TheEmulator, change: ClockChange) -> ClockState:
    """Freeze or shift the clock, or let it run again."""
    before = emulator.clock.now()
    try:
        (change.freeze_at or before) + timedelta(seconds=change.shift_seconds)
    except OverflowError:
        raise BadRequest("The clock cannot go beyond the years 1 to 9999.") from None
    if change.freeze or change.freeze_at is not None:
        emulator.clock.freeze(change.freeze_at)
    emulator.clock.shift(timedelta(seconds=change.shift_seconds))
    if change.run:
        emulator.clock.run()
    return _clock(emulator)


@_controls.get("/operations")
def get_operations(request: Request) -> Operations:
    """Name the operations of all services."""
    return Operations(operations=sorted(_operations(request)))


@_controls.post("/faults", status_code=201)
def post_fault(emulator: TheEmulator, request: Request, fault: Fault) -> FaultState:
    """Arm a fault."""
    return emulator.faults.arm(fault, _operations(request))


@_controls.get("/faults")
def get_faults(emulator: TheEmulator) -> FaultReport:
    """Tell which faults were armed, and which of them were met."""
    return emulator.faults.report()


@_controls.delete("/faults", status_code=204)
def delete_faults(emulator: TheEmulator) -> None:
    """Disarm and forget all faults."""
    emulator.faults.clear()


@_controls.get("/delivery")
def get_delivery(emulator: TheEmulator) -> Delivery:
    """Tell what becomes of mini-batches and rows."""
    return emulator.delivery


@_controls.put("/delivery")
def put_delivery(emulator: TheEmulator, delivery: Delivery) -> Delivery:
    """Say what becomes of mini-batches and rows."""
    emulator.delivery = delivery
    return delivery


@_controls.get("/requests")
def get_requests(emulator: TheEmulator) -> RequestReport:
    """Count the requests to the services, by operation."""
    return emulator.requests.report()


@_controls.delete("/requests", status_code=204)
def delete_requests(emulator: TheEmulator) -> None:
    """Begin to count at zero."""
    emulator.requests.clear()


@_controls.post("/reset", status_code=204)
def post_reset(emulator: TheEmulator, request: ResetRequest) -> None:
    """Delete all documents, blobs and runs."""
    emulator.reset(force=request.force)


router.include_router(_controls)


def _clock(emulator: Emulator) -> ClockState:
    return ClockState(now=emulator.clock.now(), frozen=emulator.clock.is_frozen)


def _operations(request: Request) -> set[str]:
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    return {operation_name(route.endpoint) for route in routes if not route.path.startswith(UNTOUCHED)}
