"""The cron expression that comes nearest to a recurrence: what somebody without this package would write."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.recurrence_fields import WEEK_DAYS


def nearest_cron(rule: ScheduleRecurrence, created: datetime) -> str | None:
    """Return an expression of five fields, to be read on the clock of the rule's zone.

    It need not say the same: cron knows no start and begins anew each hour, day, month or year.

    :param created: the instant at which the schedule is made, aware.
    :returns: None where cron has no field that could hold the interval, such as every 36 hours.
    """
    base = rule.start_time or created.astimezone(rule.zone)
    minute, hour, every = str(base.minute), str(base.hour), rule.interval
    if rule.frequency == "Minute":
        if every < 60:
            return f"{_steps(base.minute, every, 59)} * * * *"
        return f"{minute} {_steps(base.hour, every // 60, 23)} * * *" if every % 60 == 0 and every < 1440 else None
    if rule.frequency == "Hour":
        return f"{minute} {_steps(base.hour, every, 23)} * * *" if every <= 24 else None
    if rule.frequency == "Month":
        return f"{minute} {hour} {base.day} {_steps(base.month - 1, every, 11, first=1)} *" if every <= 12 else None
    times = f"{_list(rule.minutes) or minute} {_list(rule.hours) or hour}"
    if rule.frequency == "Day":
        return f"{times} {'*' if every == 1 else f'*/{every}'} * *" if every <= 31 else None
    # Sunday is 0. Cron has no every n-th week: that is where the two differ.
    days = rule.week_days or (WEEK_DAYS[base.weekday()],)
    return f"{times} * * {','.join(str(day) for day in sorted((WEEK_DAYS.index(name) + 1) % 7 for name in days))}"


def _steps(anchor: int, every: int, highest: int, first: int = 0) -> str:
    if every == 1:
        return "*"
    if every > highest:
        return str(anchor + first)
    offset = anchor % every
    return f"*/{every}" if offset == 0 else f"{offset + first}-{highest + first}/{every}"


def _list(values: tuple[int, ...] | None) -> str:
    return ",".join(str(value) for value in values or ())
