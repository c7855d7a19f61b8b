"""When a recurrence fires, beside the cron expression that comes nearest to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from airflow_provider_amlbatch.aml.nearest_cron import nearest_cron
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence

_FORMAT = "%Y-%m-%d %H:%M"


@dataclass(frozen=True)
class Slot:
    """An instant at which the schedule, its nearest cron, or both of them fire."""

    at: datetime
    by_rule: bool
    by_cron: bool


def slots(rule: ScheduleRecurrence, cron: str | None, created: datetime, begin: datetime, count: int) -> list[Slot]:
    """Return the next slots of a rule, and those of the cron up to the last of them.

    :param created: the instant at which the schedule is made, aware.
    :param begin: slots after this instant are told, aware.
    :param count: so many of the rule's.
    """
    ours: list[datetime] = []
    instant = begin = max(begin, created - timedelta(microseconds=1))
    while len(ours) < count:
        instant = rule.next_after(instant, created=created)
        ours.append(instant)
    theirs = [] if cron is None else list(_cron_slots(cron, rule, begin, ours[-1]))
    return [Slot(at, at in set(ours), at in set(theirs)) for at in sorted({*ours, *theirs})]


def _cron_slots(cron: str, rule: ScheduleRecurrence, begin: datetime, end: datetime) -> Iterator[datetime]:
    import pendulum
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    timetable = CronTriggerTimetable(cron, timezone=getattr(rule.zone, "key", "UTC"))
    limits = TimeRestriction(pendulum.instance(begin + timedelta(microseconds=1)), pendulum.instance(end), True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=limits)
    while info is not None:
        yield datetime.fromtimestamp(info.run_after.timestamp(), UTC)
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=limits)


def preview(rule: ScheduleRecurrence, created: datetime, begin: datetime, count: int) -> list[str]:
    """Write the next slots of a rule: in UTC, by the zone's clock, and where plain cron would differ."""
    cron = nearest_cron(rule, created)
    table = slots(rule, cron, created, begin, count)
    lines = [rule.describe(), *(f"Note: {warning}" for warning in rule.warnings())]
    zone = getattr(rule.zone, "key", "UTC")
    if cron is None:
        lines.append("No cron expression comes near it.")
    else:
        lines.append(f"The nearest cron expression is '{cron}' ({zone}).")
    lines += ["", f"{'UTC':<18}{zone:<29}{'Azure':<8}{'cron' if cron else ''}".rstrip()]
    offsets = [slot.at.astimezone(rule.zone).utcoffset() for slot in table]
    changes = [False, *(before != after for before, after in pairwise(offsets))]
    for slot, changed in zip(table, changes, strict=True):
        lines.append(_line(slot, rule, with_cron=cron is not None, changed=changed))
    return lines


def _line(slot: Slot, rule: ScheduleRecurrence, *, with_cron: bool, changed: bool) -> str:
    local = slot.at.astimezone(rule.zone)
    summer = "DST" if local.dst() else ""
    notes = []
    if with_cron and slot.by_rule != slot.by_cron:
        notes.append("cron would miss it" if slot.by_rule else "cron only")
    if changed:
        notes.append("the clock has changed")
    return (
        f"{slot.at:{_FORMAT}}  {local:{_FORMAT} %z} {summer:<6}{'fires' if slot.by_rule else '-':<8}"
        f"{('fires' if slot.by_cron else '-') if with_cron else '':<8}{', '.join(notes)}"
    ).rstrip()
