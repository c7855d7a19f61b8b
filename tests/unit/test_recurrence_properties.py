"""Recurrences against a slow model that shares nothing with them: it walks every minute of UTC and every day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.recurrence_fields import WEEK_DAYS
from airflow_provider_amlbatch.aml.windows_zones import IANA_NAMES

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

# Zone; a time that the clock jumps over and where it goes in UTC; a time that the clock shows twice and its first UTC.
# Worked out by hand from the zones' offsets.
CHANGES = [
    ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:30", "2026-11-01T01:30", "2026-11-01T05:30"),
    ("America/Chicago", "2026-03-08T02:30", "2026-03-08T08:30", "2026-11-01T01:30", "2026-11-01T06:30"),
    ("America/Denver", "2026-03-08T02:30", "2026-03-08T09:30", "2026-11-01T01:30", "2026-11-01T07:30"),
    ("America/Los_Angeles", "2026-03-08T02:30", "2026-03-08T10:30", "2026-11-01T01:30", "2026-11-01T08:30"),
    ("America/St_Johns", "2026-03-08T02:30", "2026-03-08T06:00", "2026-11-01T01:30", "2026-11-01T04:00"),
    ("America/Havana", "2026-03-08T00:30", "2026-03-08T05:30", "2026-11-01T00:30", "2026-11-01T04:30"),
    ("America/Santiago", "2026-09-06T00:30", "2026-09-06T04:30", "2026-04-04T23:30", "2026-04-05T02:30"),
    ("Europe/London", "2026-03-29T01:30", "2026-03-29T01:30", "2026-10-25T01:30", "2026-10-25T00:30"),
    ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:30", "2026-10-25T02:30", "2026-10-25T00:30"),
    ("Europe/Bucharest", "2026-03-29T03:30", "2026-03-29T01:30", "2026-10-25T03:30", "2026-10-25T00:30"),
    ("Africa/Cairo", "2026-04-24T00:30", "2026-04-23T22:30", "2026-10-29T23:30", "2026-10-29T20:30"),
    ("Asia/Jerusalem", "2026-03-27T02:30", "2026-03-27T00:30", "2026-10-25T01:30", "2026-10-24T22:30"),
    ("Australia/Sydney", "2026-10-04T02:30", "2026-10-03T16:30", "2026-04-05T02:30", "2026-04-04T15:30"),
    ("Australia/Adelaide", "2026-10-04T02:30", "2026-10-03T17:00", "2026-04-05T02:30", "2026-04-04T16:00"),
    ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:45", "2026-04-05T01:45", "2026-04-04T14:45"),
    ("Pacific/Auckland", "2026-09-27T02:30", "2026-09-26T14:30", "2026-04-05T02:30", "2026-04-04T13:30"),
    ("Pacific/Chatham", "2026-09-27T03:00", "2026-09-26T14:15", "2026-04-05T03:00", "2026-04-04T13:15"),
]


@cache
def clock(zone: str, first: date, last: date) -> tuple[dict[datetime, datetime], list[datetime]]:
    """Every minute that the clock of a zone shows between two days, with the first UTC minute at which it does."""
    shown: dict[datetime, datetime] = {}
    instant = datetime(first.year, first.month, first.day, tzinfo=UTC) - 2 * DAY
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + 3 * DAY
    tz = ZoneInfo(zone)
    while instant < end:
        shown.setdefault(instant.astimezone(tz).replace(tzinfo=None), instant)
        instant += MINUTE
    return shown, sorted(shown)


def slow_instant(wall: datetime, zone: str, first: date, last: date) -> datetime:
    """Look a wall-clock minute up; a minute that is never shown moves on by the length of the jump."""
    shown, readings = clock(zone, first, last)
    if wall in shown:
        return shown[wall]
    before = max(reading for reading in readings if reading < wall)
    after = min(reading for reading in readings if reading > wall)
    return shown[wall + (after - before - MINUTE)]


def slow_days(rule: dict[str, Any], start: datetime, last: date) -> list[date]:
    """The calendar days of a Day, Week or Month rule, found by walking day by day from its start."""
    found = []
    day, weeks, months = start.date(), 0, 0
    if rule["frequency"] == "Week":
        while day.weekday() != 0:
            day -= DAY
    first_day = day
    while day <= last:
        if day != first_day:
            weeks += day.weekday() == 0
            months += day.day == 1
        if rule["frequency"] == "Day":
            on = (day - first_day).days % rule["interval"] == 0
        elif rule["frequency"] == "Week":
            names = rule.get("week_days") or [WEEK_DAYS[start.weekday()]]
            on = weeks % rule["interval"] == 0 and WEEK_DAYS[day.weekday()] in names
        else:
            ends_month = (day + DAY).month != day.month
            clamped = rule["month_end"] == "clamp" and ends_month and day.day < start.day
            on = months % rule["interval"] == 0 and (day.day == start.day or clamped)
        if on:
            found.append(day)
        day += DAY
    return found


def slow_occurrences(rule: dict[str, Any], created: datetime, first: date, last: date) -> list[datetime]:
    """Every occurrence before a day, for a rule with a start; ``first`` is a day before everything asked for."""
    start: datetime = rule["start_time"]
    instant = partial(slow_instant, zone=rule["time_zone"], first=first, last=last)
    hours, minutes = rule.get("hours") or [start.hour], rule.get("minutes") or [start.minute]
    found = {
        instant(datetime(day.year, day.month, day.day, hour, minute))
        for day in slow_days(rule, start, last)
        for hour in hours
        for minute in minutes
    }
    pattern = any(rule.get(name) for name in ("hours", "minutes", "week_days"))
    start_instant = instant(start)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) - DAY
    return sorted(
        slot for slot in found if created <= slot < end and (slot > start_instant if pattern else slot >= start_instant)
    )


def agrees_with_the_slow_model(rule: dict[str, Any], created: datetime, first: date, last: date) -> None:
    expected = slow_occurrences(rule, created, first, last)
    assert expected
    recurrence = ScheduleRecurrence(**rule)
    assert list(islice(recurrence.occurrences(created), len(expected))) == expected
    for before, after in pairwise(expected):
        middle = before + (after - before) / 2
        assert recurrence.next_after(middle, created=created) == after
        assert recurrence.previous_before(middle, created=created) == before
        assert recurrence.next_after(before, created=created) == after
        assert recurrence.previous_before(after, created=created) == before


@pytest.mark.parametrize(("zone", "jumped", "moved", "doubled", "first"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_daily_slot_on_both_changes_of_the_clock(
    zone: str, jumped: str, moved: str, doubled: str, first: str
) -> None:
    for wall, expected in ((datetime.fromisoformat(jumped), moved), (datetime.fromisoformat(doubled), first)):
        rule = ScheduleRecurrence("Day", 1, wall - 20 * DAY, zone)
        instant = datetime.fromisoformat(expected).replace(tzinfo=UTC)
        created = instant - 3 * DAY
        slots = list(islice(rule.occurrences(created), 12))
        assert instant in slots
        on_the_day = [slot for slot in slots if abs(slot - instant) < timedelta(hours=20)]
        assert on_the_day == [instant]


@pytest.mark.parametrize(("zone", "jumped", "doubled"), [(row[0], row[1], row[3]) for row in CHANGES])
def test_every_half_hour_of_the_days_around_both_changes(zone: str, jumped: str, doubled: str) -> None:
    for wall in (datetime.fromisoformat(jumped), datetime.fromisoformat(doubled)):
        rule = {
            "frequency": "Day",
            "interval": 1,
            "start_time": wall.replace(hour=12, minute=0) - 3 * DAY,
            "time_zone": zone,
            "hours": list(range(24)),
            "minutes": [0, 15, 30],
        }
        agrees_with_the_slow_model(
            rule, (wall - 2 * DAY).replace(tzinfo=UTC), wall.date() - 4 * DAY, wall.date() + 3 * DAY
        )


ZONES = [row[0] for row in CHANGES] + ["UTC", "Asia/Kolkata", "Africa/Casablanca", "America/Nuuk"]
STARTS = st.datetimes(datetime(2025, 10, 1), datetime(2026, 3, 1)).map(lambda t: t.replace(second=0, microsecond=0))


@st.composite
def calendar_rules(draw: st.DrawFn) -> dict[str, Any]:
    frequency = draw(st.sampled_from(["Day", "Week", "Month"]))
    rule: dict[str, Any] = {
        "frequency": frequency,
        "interval": draw(st.integers(1, {"Day": 40, "Week": 6, "Month": 5}[frequency])),
        "start_time": draw(STARTS),
        "time_zone": draw(st.sampled_from(ZONES)),
        "month_end": draw(st.sampled_from(["clamp", "skip"])),
    }
    if frequency != "Month":
        rule["hours"] = draw(st.none() | st.lists(st.integers(0, 23), min_size=1, max_size=4))
        rule["minutes"] = draw(st.none() | st.lists(st.integers(0, 59), min_size=1, max_size=3))
    if frequency == "Week":
        rule["week_days"] = draw(st.none() | st.lists(st.sampled_from(WEEK_DAYS), min_size=1, max_size=7))
    return rule


@settings(max_examples=100, deadline=None)
@given(calendar_rules(), st.sampled_from(["America/Los_Angeles", "Australia/Lord_Howe", "UTC"]), st.integers(-20, 120))
def test_calendar_rules_agree_with_the_slow_model(rule: dict[str, Any], zone: str, days: int) -> None:
    # Few zones and one span for all examples, so that the minutes of a zone are walked once.
    rule["time_zone"] = zone
    created = (rule["start_time"] + days * DAY).replace(tzinfo=UTC)
    expected = slow_occurrences(rule, created, date(2025, 9, 1), date(2026, 5, 1))
    assert list(islice(ScheduleRecurrence(**rule).occurrences(created), len(expected))) == expected


RULES = st.one_of(
    calendar_rules(),
    st.fixed_dictionaries(
        {
            "frequency": st.sampled_from(["Minute", "Hour"]),
            "interval": st.integers(1, 12_000),
            "start_time": STARTS,
            "time_zone": st.sampled_from(ZONES),
        }
    ),
)
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@settings(deadline=None)
@given(RULES, st.booleans(), INSTANTS)
def test_occurrences_strictly_increase_and_need_no_memory(
    rule: dict[str, Any], started: bool, created: datetime
) -> None:
    recurrence = ScheduleRecurrence(**(rule if started else {**rule, "start_time": None}))
    slots = list(islice(recurrence.occurrences(created), 40))
    assert slots[0] >= created
    assert started or slots[0] == created
    assert recurrence.next_after(created - DAY, created=created) == slots[0]
    for before, after in pairwise(slots):
        assert before < after
        for instant in (before, before + timedelta(microseconds=1), after - timedelta(microseconds=1)):
            assert recurrence.next_after(instant, created=created) == after
        for instant in (after, after - timedelta(microseconds=1), before + timedelta(microseconds=1)):
            assert recurrence.previous_before(instant, created=created) == before


@given(RULES, st.sampled_from(sorted(IANA_NAMES)))
def test_the_wire_keeps_the_rule(rule: dict[str, Any], windows_zone: str) -> None:
    recurrence = ScheduleRecurrence(**{**rule, "time_zone": windows_zone, "month_end": "clamp"})
    assert ScheduleRecurrence.from_wire(recurrence.to_wire()) == recurrence
