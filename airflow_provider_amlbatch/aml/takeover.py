"""Hand a schedule over, from Azure to Airflow, so that every slot is fired by exactly one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.pipelines import PipelineRun
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import Schedule, list_runs_of_schedule
from airflow_provider_amlbatch.aml.scheduling import POLLING_INTERVAL, rule_of, switch_schedule
from airflow_provider_amlbatch.aml.session import Session

#: Azure may fire a slot about a minute late; after this span a slot without a run has not been fired.
LATENESS = timedelta(minutes=3)
#: A run's own date may lie this much before its slot: two clocks of one service.
_SKEW = timedelta(seconds=5)
#: Seconds between two looks at the runs.
_PAUSE = 5.0


@dataclass(frozen=True)
class Takeover:
    """A schedule that was handed over.

    :param schedule: as it is now, disabled.
    :param first_slot: the first slot that is Airflow's, aware, UTC.
    :param last_run: the last run that Azure has started; None if it never did.
    """

    schedule: Schedule
    first_slot: datetime
    last_run: PipelineRun | None


def take_over(
    session: Session,
    schedule: Schedule,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Takeover:
    """Disable a schedule and tell the first slot that Azure will not fire.

    That is the next slot after the instant at which the service disabled it, by the service's own clock. If a slot was
    due just before, it may be on its way still: then its run is waited for. If none appears, the slot is Airflow's.

    Of a schedule that is disabled already the instant is the one of its last change, so that asking again gives the
    same answer, until somebody changes the disabled schedule.

    :param clock: current epoch seconds, for how long to wait.
    :param sleep: waits, in seconds.
    :raises ArgumentError: if the schedule does not fire by a recurrence.
    """
    rule = rule_of(schedule)
    disabled = switch_schedule(session, schedule, on=False).schedule
    at, created = disabled.last_modified_date, disabled.created_date
    if at is None or created is None:
        raise ArgumentError(
            f"Schedule {schedule.name!r} ({schedule.id}) is disabled now, but the service does not tell when it was "
            "made and changed, so nobody can tell its first slot: look at its runs and choose the next slot."
        )
    waits_until = clock() + LATENESS.total_seconds()
    while True:
        last = _last_of(session.send(list_runs_of_schedule(disabled.id)))
        slot = _slot_on_the_way(rule, at, created, last)
        if slot is None:
            return Takeover(disabled, rule.next_after(at, created=created), last)
        if clock() >= waits_until:
            return Takeover(disabled, slot, last)
        sleep(_PAUSE)


def take_over_blobs(session: Session, schedule: Schedule) -> datetime:
    """Disable a data-store schedule and tell since when the changes of blobs are Airflow's.

    That is one polling interval before the service disabled it: it looked since, but does not tell when. A blob that
    changed in between may have been run by Azure as well; none is left out.

    :returns: an aware instant.
    """
    disabled = switch_schedule(session, schedule, on=False).schedule
    trigger = disabled.data_store_trigger_info
    if disabled.last_modified_date is None or trigger is None:
        raise ArgumentError(f"Schedule {schedule.name!r} is disabled now, but the service does not tell since when.")
    return disabled.last_modified_date - timedelta(minutes=trigger.polling_interval or POLLING_INTERVAL)


def _slot_on_the_way(
    rule: ScheduleRecurrence, at: datetime, created: datetime, last: PipelineRun | None
) -> datetime | None:
    """The first slot that was due shortly before an instant and has no run; None if there is none.

    What was due longer ago and has no run failed to start, which is not for Airflow to make up.
    """
    after = at - LATENESS
    if last is not None and last.created_date is not None:
        after = max(after, last.created_date + _SKEW)
    slot = rule.next_after(after, created=created)
    return slot if slot <= at else None


def _last_of(runs: list[PipelineRun]) -> PipelineRun | None:
    dated = [(run.created_date, run) for run in runs if run.created_date is not None]
    return max(dated, key=lambda pair: pair[0])[1] if dated else None
