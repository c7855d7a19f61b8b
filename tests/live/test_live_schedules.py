"""The scheduler itself starts what the recurrence timetable says: one run in the service for each slot."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from live_airflow import LiveAirflow
from live_service import LiveService
from polling import wait_for

BERLIN = ZoneInfo("Europe/Berlin")


def starts_of_days(first: int, last: int) -> list[str]:
    """Nine o'clock in Berlin on days of October 2026, as a logical date."""
    instants = (datetime(2026, 10, day, 9, tzinfo=BERLIN).astimezone(UTC) for day in range(first, last + 1))
    return [instant.isoformat() for instant in instants]


def slots(service: LiveService, dag_id: str) -> list[str]:
    """The slots for which there are runs in the service, each as often as there are."""
    return sorted(run.tags["slot"] or "" for run in service.pipeline_runs() if run.tags["airflow_dag_id"] == dag_id)


def wait_for_slots(airflow: LiveAirflow, dag_id: str, count: int, seconds: float) -> None:
    def are_done() -> bool:
        states = airflow.states_of_runs(dag_id)
        return len(states) >= count and set(states) == {"success"}

    wait_for(f"{count} successful runs of {dag_id}", are_done, seconds, interval=0.5)


def test_catching_up_makes_one_run_for_each_slot(live_airflow: LiveAirflow, live_service: LiveService) -> None:
    live_airflow.pause_dag("live_caught_up", paused=False)
    expected = starts_of_days(22, 28)  # Airflow holds the end date against the beginning of an interval
    wait_for_slots(live_airflow, "live_caught_up", len(expected), 120)
    assert slots(live_service, "live_caught_up") == expected


@pytest.mark.slow
def test_a_backfill_of_a_week_makes_one_run_for_each_day(live_airflow: LiveAirflow, live_service: LiveService) -> None:
    live_airflow.backfill("live_daily", "2026-10-22T00:00:00Z", "2026-10-28T23:00:00Z")
    expected = starts_of_days(22, 28)
    wait_for_slots(live_airflow, "live_daily", len(expected), 120)
    assert slots(live_service, "live_daily") == expected


@pytest.mark.slow
def test_slots_fire_as_the_clock_reaches_them(live_airflow: LiveAirflow, live_service: LiveService) -> None:
    unpaused = datetime.now(UTC)
    live_airflow.pause_dag("live_minutely", paused=False)
    try:
        wait_for_slots(live_airflow, "live_minutely", 3, 240)
    finally:
        live_airflow.pause_dag("live_minutely", paused=True)
    fired = [datetime.fromisoformat(str(slot)) for slot in slots(live_service, "live_minutely")]
    assert fired[0] > unpaused - timedelta(minutes=1)  # of the slots that have passed, the last one at most
    assert [later - earlier for earlier, later in itertools.pairwise(fired)] == [timedelta(minutes=1)] * (
        len(fired) - 1
    )
