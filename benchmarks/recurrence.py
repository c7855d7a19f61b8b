"""How long it takes to find the next occurrence, beside croniter and Airflow's CronTriggerTimetable.

Run ``python benchmarks/recurrence.py``. Every rule starts twenty years back and is asked about instants spread over the
last year; all three are timed in turn in one run on one machine, and the ratios are what counts. Where cron cannot say
the rule, the nearest expression stands in for it, marked ~.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable
from croniter import croniter  # type: ignore[import-untyped]

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable

START = datetime(2006, 11, 1, 9, 30)
CREATED = datetime(2006, 11, 1, tzinfo=UTC)
ZONE, IANA = "Pacific Standard Time", "America/Los_Angeles"
LIMIT_MICROSECONDS = 50
INSTANTS = 300
ROUNDS = 7
Moment = TypeVar("Moment", bound=datetime)


@dataclass(frozen=True)
class Subject:
    """A rule, and the cron expression that says it or comes near."""

    name: str
    rule: ScheduleRecurrence
    cron: str


SUBJECTS = [
    Subject("Minute, 15", ScheduleRecurrence("Minute", 15, START, ZONE), "*/15 * * * *"),
    Subject("Minute, 90", ScheduleRecurrence("Minute", 90, START, ZONE), "~0 */3 * * *"),
    Subject("Hour, 36", ScheduleRecurrence("Hour", 36, START, ZONE), "~30 9 */2 * *"),
    Subject("Day, 09:30", ScheduleRecurrence("Day", 1, START, ZONE), "30 9 * * *"),
    Subject(
        "Day, every minute",
        ScheduleRecurrence("Day", 1, START, ZONE, hours=range(24), minutes=range(60)),
        "* * * * *",
    ),
    Subject(
        "Week, 2, Mon+Wed",
        ScheduleRecurrence("Week", 2, START, ZONE, week_days=["Monday", "Wednesday"], time_of_day="18:30"),
        "~30 18 * * 1,3",
    ),
    Subject("Month, day 1", ScheduleRecurrence("Month", 1, START, ZONE), "30 9 1 * *"),
    Subject("Month, 5, day 31", ScheduleRecurrence("Month", 5, datetime(2006, 10, 31, 6), ZONE), "~0 6 31 * *"),
    Subject(
        "Month, day 31, skip",
        ScheduleRecurrence("Month", 1, datetime(2006, 10, 31, 6), ZONE, month_end="skip"),
        "0 6 31 * *",
    ),
]


def microseconds(call: Callable[[Moment], object], instants: Sequence[Moment]) -> float:
    """Time one call: the median over several rounds of the mean over all instants."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for instant in instants:
            call(instant)
        rounds.append((time.perf_counter() - begin) / len(instants) * 1e6)
    return statistics.median(rounds)


def measure(subject: Subject) -> tuple[float, float, float, float]:
    """Return microseconds a call: the rule, the timetable, croniter, CronTriggerTimetable."""
    cron = subject.cron.removeprefix("~")
    picks = random.Random(1)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    instants = [now - timedelta(minutes=picks.randrange(525_600)) for _ in range(INSTANTS)]
    moments = [pendulum.instance(instant) for instant in instants]
    local = [moment.in_timezone(IANA) for moment in moments]
    rule = subject.rule
    ours = AzureMLRecurrenceTimetable.from_schedule_recurrence(rule, month_end=rule.month_end)
    theirs = CronTriggerTimetable(cron, timezone=IANA)
    limits = TimeRestriction(pendulum.instance(CREATED), None, catchup=True)

    def timetable(which: AzureMLRecurrenceTimetable | CronTriggerTimetable) -> Callable[[pendulum.DateTime], object]:
        return lambda moment: which.next_dagrun_info(
            last_automated_data_interval=DataInterval.exact(moment), restriction=limits
        )

    return (
        microseconds(lambda instant: rule.next_after(instant, created=CREATED), instants),
        microseconds(timetable(ours), moments),
        microseconds(lambda moment: croniter(cron, moment).get_next(datetime), local),
        microseconds(timetable(theirs), moments),
    )


def main() -> None:
    """Print the table."""
    print("| rule | next_after | croniter | ratio | our timetable | CronTriggerTimetable | ratio | cron |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    slowest = 0.0
    for subject in SUBJECTS:
        rule, ours, cron, theirs = measure(subject)
        slowest = max(slowest, rule)
        print(
            f"| {subject.name} | {rule:.1f} us | {cron:.1f} us | {cron / rule:.1f} | {ours:.1f} us | {theirs:.1f} us "
            f"| {theirs / ours:.1f} | `{subject.cron}` |"
        )
    print(f"\nRatios are theirs to ours. Slowest next_after: {slowest:.1f} us; stated: under {LIMIT_MICROSECONDS} us.")


if __name__ == "__main__":
    main()
