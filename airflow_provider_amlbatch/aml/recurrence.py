"""When an Azure ML schedule fires.

:class:`ScheduleRecurrence` holds the rule that ``azureml.pipeline.core.ScheduleRecurrence`` holds and computes the
instants that the SDK leaves to the service. The rules, by the documentation of the SDK and of Logic Apps, whose
recurrence trigger stands behind schedules; what neither of them says is marked *Inferred* and unverified on Azure:

- Without ``start_time`` the first run starts the instant the schedule is made; the slots follow.
- A past ``start_time`` still sets the grid; the slots before the schedule was made are dropped.
- With hours, minutes or week days, a slot that falls exactly on ``start_time`` is skipped.
- ``hours`` x ``minutes`` is every combination. What is left out is taken from ``start_time``, or from the instant at
  which the schedule was made (minutes: documented; hours and week days: Inferred).
- Day, Week and Month keep to the wall clock of the zone; Minute and Hour count elapsed time (Inferred).
- Every n-th day counts from the date of the start, every n-th week from its week, which begins on Monday (Inferred).
- A month that lacks the day of ``start_time`` fires on its last day (Inferred), or not at all: ``month_end``.
- A slot at the very instant at which the schedule is made counts (Inferred).

Nothing here reads the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from functools import cached_property
from typing import Any, Self

from airflow_provider_amlbatch.aml import recurrence_fields as fields
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.recurrence_fields import WEEK_DAYS, Frequency, MonthEnd
from airflow_provider_amlbatch.aml.schedules import Recurrence, RecurrenceSchedule
from airflow_provider_amlbatch.aml.slots import (
    DayGrid,
    ElapsedGrid,
    Grid,
    MonthGrid,
    instant_of,
    next_slot,
    previous_slot,
    wall_of,
)
from airflow_provider_amlbatch.aml.windows_zones import OBSOLETE, windows_id, zone_of

_TICK = timedelta(microseconds=1)
_STEPS = {"Minute": timedelta(minutes=1), "Hour": timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class _Plan:
    """A recurrence applied to the instant at which its schedule was made."""

    grid: Grid
    zone: tzinfo
    #: Slots at or before this instant do not fire.
    after: datetime
    #: The run that starts when the schedule is made, if there is one.
    first_run: datetime | None


@dataclass(frozen=True, init=False)
class ScheduleRecurrence:
    """A rule by which a schedule fires, checked by the rules of the service.

    ``time_of_day`` is kept as one hour and one minute; hours, minutes and week days are kept in order, each once.

    :param frequency: Minute, Hour, Day, Week or Month.
    :param interval: how many of those from one run to the next; at most 72,000 minutes, 12,000 hours, 500 days,
        71 weeks or 16 months.
    :param start_time: wall-clock time in ``time_zone``, naive, or the same as text, ``YYYY-MM-DDThh:mm:ss``.
    :param time_zone: Windows id or IANA name; UTC if left out, which the field then says beside a ``start_time``.
    :param hours: 0 to 23; Day and Week only.
    :param minutes: 0 to 59; Day and Week only.
    :param week_days: English names, Monday to Sunday; Week only.
    :param time_of_day: ``hh:mm``, in place of one hour and one minute.
    :param month_end: what Month does in a month that lacks the day of ``start_time``: ``clamp`` fires on the last day,
        ``skip`` does not fire. The service has no such field.
    :raises ArgumentError: if the service would refuse the rule, or if it means nothing.
    """

    frequency: Frequency
    interval: int
    start_time: datetime | None
    time_zone: str | None
    hours: tuple[int, ...] | None
    minutes: tuple[int, ...] | None
    week_days: tuple[str, ...] | None
    month_end: MonthEnd

    def __init__(
        self,
        frequency: str,
        interval: int,
        start_time: datetime | str | None = None,
        time_zone: str | None = None,
        hours: Sequence[int] | None = None,
        minutes: Sequence[int] | None = None,
        week_days: Sequence[str] | None = None,
        time_of_day: str | None = None,
        month_end: str = "clamp",
    ) -> None:
        if time_of_day is not None:
            hours, minutes = fields.split_time_of_day(time_of_day, hours, minutes)
        fields.check_applies(frequency, hours=hours, minutes=minutes, week_days=week_days)
        values = {
            "frequency": frequency,
            "interval": fields.check_interval(frequency, interval),
            "start_time": fields.parse_start_time(start_time, time_zone),
            "time_zone": time_zone,
            "hours": fields.parse_numbers("hours", hours, 23),
            "minutes": fields.parse_numbers("minutes", minutes, 59),
            "week_days": fields.parse_week_days(week_days),
            "month_end": fields.check_month_end(month_end),
        }
        if time_zone is not None:
            zone_of(fields.check_text("time_zone", time_zone))
        elif start_time is not None:
            values["time_zone"] = "UTC"
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @cached_property
    def zone(self) -> tzinfo:
        """The zone whose clock the rule goes by."""
        return UTC if self.time_zone is None else zone_of(self.time_zone)

    @cached_property
    def start(self) -> datetime | None:
        """The instant of ``start_time``, in UTC."""
        return None if self.start_time is None else instant_of(self.start_time, self.zone)

    @property
    def needs_anchor(self) -> bool:
        """Whether the slots depend on the instant at which the schedule is made."""
        if self.start_time is not None:
            return False
        times = self.hours is not None and self.minutes is not None
        days = self.frequency == "Day" or self.week_days is not None
        return not (times and days and self.interval == 1)

    def occurrences(self, created: datetime) -> Iterator[datetime]:
        """Yield the instants at which a schedule with this rule fires, in order, without end.

        :param created: the instant at which the schedule is made, aware.
        :returns: aware instants in UTC.
        """
        plan = self._plan(created)
        if plan.first_run is not None:
            yield plan.first_run
        instant = plan.after
        while True:
            instant = next_slot(plan.grid, plan.zone, instant)
            yield instant

    def next_after(self, instant: datetime, *, created: datetime) -> datetime:
        """Return the first occurrence after an instant. Takes the same time however long ago the schedule started.

        :param instant: aware.
        :param created: the instant at which the schedule is made, aware.
        :returns: an aware instant in UTC.
        """
        plan = self._plan(created)
        instant = _utc("instant", instant)
        if plan.first_run is not None and instant < plan.first_run:
            return plan.first_run
        return next_slot(plan.grid, plan.zone, max(instant, plan.after))

    def previous_before(self, instant: datetime, *, created: datetime) -> datetime | None:
        """Return the last occurrence before an instant; None if there is none.

        :param instant: aware.
        :param created: the instant at which the schedule is made, aware.
        :returns: an aware instant in UTC.
        """
        plan = self._plan(created)
        instant = _utc("instant", instant)
        if instant > plan.after:
            found = previous_slot(plan.grid, plan.zone, instant)
            if found > plan.after:
                return found
        return plan.first_run if plan.first_run is not None and plan.first_run < instant else None

    def summary(self) -> str:
        """Say in a few English words when the rule fires, without zone and start."""
        unit = self.frequency.lower()
        every = f"Every {unit}" if self.interval == 1 else f"Every {self.interval} {unit}s"
        return " ".join(part for part in (every, self._days_in_words(), self._times_in_words()) if part)

    def describe(self, creation: str = "its creation") -> str:
        """Say in one English sentence when the rule fires.

        :param creation: what to call the instant from which a rule without ``start_time`` counts.
        """
        since = ""
        if self.start_time is not None:
            since = f" from {self.start_time:%Y-%m-%d %H:%M}"
        elif self.needs_anchor:
            since = f" counted from {creation}"
        zone = "UTC" if self.time_zone is None else self.time_zone
        return f"{self.summary()} ({zone}){since}."

    def warnings(self) -> list[str]:
        """Return one sentence for each trap that the rule walks into."""
        found = []
        if self.start_time is None:
            found.append("Without start_time, Azure starts the first run the instant the schedule is made.")
        elif self._has_pattern and self.start == self._first_on_grid():
            found.append(
                f"start_time {self.start_time.isoformat()} is itself a slot, and Azure skips it: start one minute "
                "earlier to have it."
            )
        if self.frequency == "Month" and self.start_time is not None and self.start_time.day > 28:
            what = "fires on the last day of" if self.month_end == "clamp" else "leaves out"
            found.append(
                f"start_time lies on day {self.start_time.day}: month_end={self.month_end!r} {what} a month that "
                "lacks it. What Azure does there is not documented."
            )
        if self.time_zone in OBSOLETE:
            found.append(
                f"{self.time_zone!r} is obsolete and stands for {OBSOLETE[self.time_zone]!r} here; name another "
                "zone to be sure."
            )
        return found

    @classmethod
    def from_sdk(cls, recurrence: Any, *, month_end: str = "clamp") -> Self:
        """Read the SDK's own ``ScheduleRecurrence``, or anything with its attributes.

        :param recurrence: the SDK's object; its time zone may be a member of ``TimeZone`` or its value.
        :raises ArgumentError: if the service would refuse the rule.
        """
        zone = recurrence.time_zone
        return cls._read(
            recurrence.frequency,
            recurrence.interval,
            recurrence.start_time,
            zone.value if isinstance(zone, Enum) else zone,
            recurrence.hours,
            recurrence.minutes,
            recurrence.week_days,
            month_end,
        )

    @classmethod
    def from_wire(cls, recurrence: Recurrence, *, month_end: str = "clamp") -> Self:
        """Read a recurrence from the wire; frequency and week days may be names or the older back end's digits.

        :raises ArgumentError: if the service would refuse the rule.
        """
        schedule = recurrence.schedule or RecurrenceSchedule()
        days = schedule.week_days
        return cls._read(
            fields.FREQUENCY_DIGITS.get(recurrence.frequency, recurrence.frequency),
            recurrence.interval,
            recurrence.start_time,
            recurrence.time_zone,
            schedule.hours,
            schedule.minutes,
            None if days is None else [fields.WEEK_DAY_DIGITS.get(day, day) for day in days],
            month_end,
        )

    def to_wire(self) -> Recurrence:
        """Write the rule as the service takes it, with the zone's Windows id. ``month_end`` stays behind.

        :raises ArgumentError: if the zone has no Windows id.
        """
        zone = None if self.time_zone is None else windows_id(self.time_zone)
        schedule = None
        if self._has_pattern:
            schedule = RecurrenceSchedule(
                hours=_list(self.hours), minutes=_list(self.minutes), week_days=_list(self.week_days)
            )
        start = None if self.start_time is None else self.start_time.isoformat(timespec="seconds")
        return Recurrence(
            frequency=self.frequency, interval=self.interval, start_time=start, time_zone=zone, schedule=schedule
        )

    @classmethod
    def _read(
        cls,
        frequency: str,
        interval: int,
        start_time: datetime | str | None,
        time_zone: str | None,
        hours: Sequence[int] | None,
        minutes: Sequence[int] | None,
        week_days: Sequence[str] | None,
        month_end: str,
    ) -> Self:
        # The SDK writes UTC beside every start_time that came without a zone, so that Z beside UTC is no contradiction.
        if isinstance(start_time, str) and time_zone == "UTC":
            start_time = start_time.removesuffix("Z")
        return cls(frequency, interval, start_time, time_zone, hours, minutes, week_days, month_end=month_end)

    @property
    def _has_pattern(self) -> bool:
        return any(field is not None for field in (self.hours, self.minutes, self.week_days))

    def _plan(self, created: datetime) -> _Plan:
        created = _utc("created", created)
        zone = UTC if self.frequency in _STEPS else self.zone
        if self.start is None or self._start_grid is None:
            return _Plan(self._grid(wall_of(created, self.zone), created), zone, created, created)
        skips_start = self._has_pattern and self.start >= created
        after = self.start if skips_start else max(self.start, created) - _TICK
        return _Plan(self._start_grid, zone, after, None)

    def _first_on_grid(self) -> datetime | None:
        """The first slot at or after the start."""
        if self.start is None or self._start_grid is None:
            return None
        return next_slot(self._start_grid, self.zone, self.start - _TICK)

    @cached_property
    def _start_grid(self) -> Grid | None:
        if self.start_time is None or self.start is None:
            return None
        return self._grid(self.start_time, self.start)

    def _grid(self, base: datetime, base_instant: datetime) -> Grid:
        """The slots that follow from a start, given both as wall clock and as instant."""
        if self.frequency in _STEPS:
            return ElapsedGrid(base_instant.replace(tzinfo=None), self.interval * _STEPS[self.frequency])
        if self.frequency == "Month":
            return MonthGrid(base, self.interval, self.month_end == "clamp")
        rest = timedelta()
        if self.hours is None and self.minutes is None:
            rest = timedelta(seconds=base.second, microseconds=base.microsecond)
        hours, minutes = self.hours or (base.hour,), self.minutes or (base.minute,)
        if self.frequency == "Day":
            return DayGrid(base.toordinal(), self.interval, (0,), hours, minutes, rest)
        days = tuple(WEEK_DAYS.index(day) for day in self.week_days or (WEEK_DAYS[base.weekday()],))
        return DayGrid(base.toordinal() - base.weekday(), 7 * self.interval, days, hours, minutes, rest)

    def _days_in_words(self) -> str:
        if self.week_days is not None:
            return f"on {fields.in_words(self.week_days)}"
        if self.start_time is None or self.frequency not in ("Week", "Month"):
            return ""
        if self.frequency == "Week":
            return f"on {WEEK_DAYS[self.start_time.weekday()]}"
        day = self.start_time.day
        short_months = {"clamp": " or the last day of a shorter month", "skip": " of the months that have it"}
        return f"on day {day}" + (short_months[self.month_end] if day > 28 else "")

    def _times_in_words(self) -> str:
        if self.frequency in _STEPS or (self.start_time is None and not (self.hours and self.minutes)):
            return ""
        base = self.start_time or datetime.min
        return fields.times_in_words(self.hours or (base.hour,), self.minutes or (base.minute,))


def _utc(name: str, instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ArgumentError(f"{name} must be an aware datetime, not {instant.isoformat()} without a time zone.")
    utc = instant.astimezone(UTC)
    # Airflow hands in pendulum's subclass, whose arithmetic does not mix with the standard library's.
    return datetime.combine(utc.date(), utc.time(), UTC)


def _list(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)
