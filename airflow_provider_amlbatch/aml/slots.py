"""The slots of a recurrence: a numbered grid of wall-clock times, and the instants at which they fall.

A grid numbers its slots ..., -1, 0, 1, ... in order of the wall clock, so that the slot nearest to any time is found by
arithmetic, however far away the first one lies. A zone then turns wall clock into instants:

- a time that the clock jumps over in spring falls one jump later on the same day (02:30 becomes 03:30);
- a time that the clock shows twice in autumn falls once, the first time.

A jump can put slots out of order (02:30 becomes 03:30, which is after 03:00) or on top of each other; the two searches
below put them right.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

#: Longer than the longest jump of a clock: Samoa left out a whole day in 2011.
_LONGEST_JUMP = timedelta(hours=25)


class Grid(Protocol):
    """Slots on the wall clock, numbered in order."""

    def index(self, wall: datetime) -> int:
        """Return the number of the first slot at or after a naive wall-clock time."""

    def wall(self, index: int) -> datetime | None:
        """Return the naive wall-clock time of a slot; None if the calendar lacks that day and the slot is left out."""


@dataclass(frozen=True, slots=True)
class ElapsedGrid:
    """Slots a fixed time apart, on a clock that never jumps."""

    anchor: datetime
    step: timedelta

    def index(self, wall: datetime) -> int:
        """Return the number of the first slot at or after a naive wall-clock time."""
        return -((self.anchor - wall) // self.step)

    def wall(self, index: int) -> datetime:
        """Return the naive wall-clock time of a slot."""
        return self.anchor + index * self.step


@dataclass(frozen=True, slots=True)
class DayGrid:
    """The same times of day, on the same days of each cycle.

    :param first_day: proleptic ordinal of the day at which cycle 0 begins.
    :param cycle: length of a cycle in days.
    :param days: days of the cycle that have slots, from 0, ascending.
    :param hours: hours that have slots, ascending.
    :param minutes: minutes of each of those hours, ascending.
    :param rest: seconds and microseconds of every slot, below one minute.
    """

    first_day: int
    cycle: int
    days: tuple[int, ...]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    rest: timedelta = timedelta()

    def index(self, wall: datetime) -> int:
        """Return the number of the first slot at or after a naive wall-clock time."""
        cycle, day = divmod(wall.toordinal() - self.first_day, self.cycle)
        nth_day = bisect_left(self.days, day)
        index = (cycle * len(self.days) + nth_day) * len(self.hours) * len(self.minutes)
        if nth_day < len(self.days) and self.days[nth_day] == day:
            index += self._slots_before(wall)
        return index

    def _slots_before(self, wall: datetime) -> int:
        nth_hour = bisect_left(self.hours, wall.hour)
        nth_minute = 0
        if nth_hour < len(self.hours) and self.hours[nth_hour] == wall.hour:
            past = timedelta(seconds=wall.second, microseconds=wall.microsecond) > self.rest
            nth_minute = bisect_left(self.minutes, wall.minute + past)
        return nth_hour * len(self.minutes) + nth_minute

    def wall(self, index: int) -> datetime:
        """Return the naive wall-clock time of a slot."""
        index, nth_minute = divmod(index, len(self.minutes))
        index, nth_hour = divmod(index, len(self.hours))
        cycle, nth_day = divmod(index, len(self.days))
        day = datetime.fromordinal(self.first_day + cycle * self.cycle + self.days[nth_day])
        return day.replace(hour=self.hours[nth_hour], minute=self.minutes[nth_minute]) + self.rest


@dataclass(frozen=True, slots=True)
class MonthGrid:
    """The same day and time in every n-th month.

    :param anchor: the slot number 0.
    :param interval: months from one slot to the next.
    :param clamp: put a day that a month lacks on its last day; otherwise leave that month out.
    """

    anchor: datetime
    interval: int
    clamp: bool

    def index(self, wall: datetime) -> int:
        """Return the number of the first slot at or after a naive wall-clock time."""
        months = (wall.year - self.anchor.year) * 12 + wall.month - self.anchor.month
        index, rest = divmod(months, self.interval)
        if rest:
            return index + 1
        slot = self.wall(index)
        return index + 1 if slot is not None and slot < wall else index

    def wall(self, index: int) -> datetime | None:
        """Return the naive wall-clock time of a slot; None if the month lacks the day and is left out."""
        years, month = divmod(self.anchor.month - 1 + index * self.interval, 12)
        year, month = self.anchor.year + years, month + 1
        if self.anchor.day <= 28:
            return self.anchor.replace(year=year, month=month)
        last_day = monthrange(year, month)[1]
        if self.anchor.day > last_day and not self.clamp:
            return None
        return self.anchor.replace(year=year, month=month, day=min(self.anchor.day, last_day))


def instant_of(wall: datetime, zone: tzinfo) -> datetime:
    """Return the UTC instant of a naive wall-clock time: moved out of a jump, the first of two in autumn."""
    # With fold=0 the offset before the change holds, which is both rules at once.
    return wall.replace(tzinfo=zone).astimezone(UTC)


def wall_of(instant: datetime, zone: tzinfo) -> datetime:
    """Return what the clock of a zone shows at an instant, naive."""
    return instant.astimezone(zone).replace(tzinfo=None)


def next_slot(grid: Grid, zone: tzinfo, instant: datetime) -> datetime:
    """Return the first slot that falls after an instant.

    :param instant: aware, in UTC.
    """
    best: datetime | None = None
    index = grid.index(_earliest_reading(instant, zone))
    while True:
        wall = grid.wall(index)
        index += 1
        if wall is None:
            continue
        found = instant_of(wall, zone)
        if found <= instant:
            continue
        if best is None or found < best:
            best = found
        # Slots after one that was jumped over may come before it; slots after any other cannot.
        if not _is_jumped_over(wall, zone):
            return best


def previous_slot(grid: Grid, zone: tzinfo, instant: datetime) -> datetime:
    """Return the last slot that falls before an instant.

    :param instant: aware, in UTC.
    """
    best: datetime | None = None
    limit = datetime.min
    index = grid.index(max(_readings(instant, zone)))
    while True:
        index -= 1
        wall = grid.wall(index)
        if wall is None:
            continue
        if best is not None and wall < limit:
            return best
        found = instant_of(wall, zone)
        if found < instant and (best is None or found > best):
            best, limit = found, _earliest_reading(found, zone)


def _is_jumped_over(wall: datetime, zone: tzinfo) -> bool:
    before, after = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return before is not None and after is not None and after > before


def _readings(instant: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """What the clock shows, and what it would show without a change that can still move slots past the instant."""
    reading = wall_of(instant, zone)
    unchanged = wall_of(instant - _LONGEST_JUMP, zone) + _LONGEST_JUMP
    if unchanged != reading:
        # A change moves slots by its own length, and so no longer matters when that much time has passed.
        length = abs(unchanged - reading)
        unchanged = wall_of(instant - length, zone) + length
    return reading, unchanged


def _earliest_reading(instant: datetime, zone: tzinfo) -> datetime:
    """No slot before this wall-clock time falls after the instant."""
    return min(_readings(instant, zone))
