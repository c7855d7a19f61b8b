"""When a recurrence fires, what it refuses, and how it is written on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import Recurrence
from airflow_provider_amlbatch.aml.windows_zones import IANA_NAMES, OBSOLETE, windows_id, zone_of

CASES = json.loads((Path(__file__).parent / "data" / "recurrence_cases.json").read_text())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(rule: ScheduleRecurrence, created: str, count: int) -> list[str]:
    return [f"{slot:%Y-%m-%dT%H:%M:%SZ}" for slot in islice(rule.occurrences(datetime.fromisoformat(created)), count)]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_published_cases_fire_exactly_when_they_say(case: dict[str, Any]) -> None:
    rule = ScheduleRecurrence(**case["rule"])
    expected = case["fires_utc"]
    assert fires(rule, case["created_utc"], len(expected)) == expected

    created = datetime.fromisoformat(case["created_utc"])
    by_iana = ScheduleRecurrence(**{**case["rule"], "time_zone": case["iana"]})
    assert fires(by_iana, case["created_utc"], len(expected)) == expected
    instants = [datetime.fromisoformat(text) for text in expected]
    for before, after in pairwise(instants):
        assert rule.next_after(before, created=created) == after
        assert rule.previous_before(after, created=created) == before


@pytest.mark.parametrize(
    ("time_of_day", "expected"),
    [
        ("01:30", ["2019-03-10T07:30:00Z", "2019-03-11T06:30:00Z", "2019-11-03T06:30:00Z"]),
        ("02:30", ["2019-03-10T08:30:00Z", "2019-03-11T07:30:00Z", "2019-11-03T08:30:00Z"]),
    ],
)
def test_the_worked_example_of_the_logic_apps_documentation(time_of_day: str, expected: list[str]) -> None:
    rule = ScheduleRecurrence("Day", 1, "2019-03-01T00:00:00", "Central Standard Time", time_of_day=time_of_day)
    created = utc("2019-03-01")
    days = [utc("2019-03-10T06:00"), utc("2019-03-11T05:00"), utc("2019-11-03T05:00")]
    found = [rule.next_after(midnight, created=created) for midnight in days]
    assert [f"{slot:%Y-%m-%dT%H:%M:%SZ}" for slot in found] == expected


@pytest.mark.parametrize(
    ("rule", "created", "expected"),
    [
        pytest.param(
            {"frequency": "Month", "interval": 1, "start_time": "2026-01-31T09:00:00", "month_end": "clamp"},
            "2026-01-31T08:00:00Z",
            ["2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z", "2026-04-30T09:00:00Z"],
            id="clamp counts from the anchor",
        ),
        pytest.param(
            {"frequency": "Month", "interval": 1, "start_time": "2026-01-31T09:00:00", "month_end": "skip"},
            "2026-01-31T10:00:00Z",
            ["2026-03-31T09:00:00Z", "2026-05-31T09:00:00Z", "2026-07-31T09:00:00Z"],
            id="skip leaves short months out",
        ),
        pytest.param(
            {"frequency": "Month", "interval": 12, "start_time": "2024-02-29T09:00:00", "month_end": "skip"},
            "2096-03-01T00:00:00Z",
            ["2104-02-29T09:00:00Z"],
            id="a leap day across 2100",
        ),
        pytest.param(
            {
                "frequency": "Week",
                "interval": 1,
                "week_days": ["Friday", "Monday"],
                "start_time": "2026-11-02T07:45:00",
            },
            "2026-11-21T10:07:00Z",
            ["2026-11-23T07:45:00Z", "2026-11-27T07:45:00Z", "2026-11-30T07:45:00Z"],
            id="week days take the time of the start",
        ),
        pytest.param(
            {"frequency": "Week", "interval": 1, "hours": [6], "start_time": "2026-11-18T07:45:00"},
            "2026-11-21T10:07:00Z",
            ["2026-11-25T06:45:00Z", "2026-12-02T06:45:00Z"],
            id="hours take minute and week day of the start",
        ),
        pytest.param(
            {"frequency": "Day", "interval": 1, "minutes": [5, 50], "start_time": "2026-11-18T07:45:00"},
            "2026-11-21T07:30:00Z",
            ["2026-11-21T07:50:00Z", "2026-11-22T07:05:00Z", "2026-11-22T07:50:00Z"],
            id="minutes take the hour of the start",
        ),
        pytest.param(
            {"frequency": "Day", "interval": 1, "start_time": "2026-12-01T09:00:00"},
            "2026-11-21T10:07:00Z",
            ["2026-12-01T09:00:00Z", "2026-12-02T09:00:00Z"],
            id="a future start without a pattern fires at the start",
        ),
        pytest.param(
            {"frequency": "Day", "interval": 1, "time_zone": "Pacific/Apia", "start_time": "2011-12-28T09:00:00"},
            "2011-12-28T00:00:00Z",
            ["2011-12-28T19:00:00Z", "2011-12-29T19:00:00Z", "2011-12-30T19:00:00Z", "2011-12-31T19:00:00Z"],
            id="Samoa left out 30 December 2011: its slot falls on that of the 31st, once",
        ),
        pytest.param(
            {
                "frequency": "Day",
                "interval": 1,
                "time_zone": "America/Scoresbysund",
                "start_time": "2025-03-28T00:00:00",
                "hours": [0, 23],
                "minutes": [15, 30],
            },
            "2025-03-30T00:00:00Z",
            ["2025-03-30T01:15:00Z", "2025-03-30T01:30:00Z", "2025-03-31T00:15:00Z", "2025-03-31T00:30:00Z"],
            id="an hour before midnight that is jumped over merges with the first hour of the next day",
        ),
    ],
)
def test_rules_beyond_the_published_cases(rule: dict[str, Any], created: str, expected: list[str]) -> None:
    assert fires(ScheduleRecurrence(**rule), created, len(expected)) == expected


def test_slots_that_a_jump_puts_out_of_order_come_in_order() -> None:
    # On Lord Howe Island 02:00 becomes 02:30: the slot of 02:15 falls on 02:45, behind that of 02:30.
    rule = ScheduleRecurrence("Day", 1, "2026-10-01T00:00:00", "Lord Howe Standard Time", hours=[2], minutes=[15, 30])
    created = utc("2026-10-03T00:00")
    assert fires(rule, "2026-10-03T00:00:00Z", 3) == [
        "2026-10-03T15:30:00Z",
        "2026-10-03T15:45:00Z",
        "2026-10-04T15:15:00Z",
    ]
    assert rule.previous_before(utc("2026-10-04T00:00"), created=created) == utc("2026-10-03T15:45")
    assert rule.previous_before(utc("2026-10-03T15:45"), created=created) == utc("2026-10-03T15:30")
    assert rule.previous_before(utc("2026-10-03T15:30"), created=created) is None


def test_nothing_lies_before_the_first_run() -> None:
    rule = ScheduleRecurrence("Hour", 12)
    created = utc("2026-11-21T10:07")
    assert rule.previous_before(created, created=created) is None
    assert rule.previous_before(utc("2026-11-21T11:00"), created=created) == created
    assert rule.next_after(utc("2020-01-01"), created=created) == created


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frequency": "day"}, r"frequency .*Month.*'day'"),
        ({"frequency": "Year"}, r"frequency .*'Year'"),
        ({"interval": 0}, r"interval .*1 to 500 for Day.* 0"),
        ({"interval": 1.0}, r"interval .*1\.0"),
        ({"interval": True}, r"interval .*True"),
        ({"frequency": "Month", "interval": 17}, r"interval .*16.*17"),
        ({"frequency": "Week", "interval": 72}, r"interval .*71.*72"),
        ({"interval": 501}, r"interval .*500.*501"),
        ({"frequency": "Hour", "interval": 12_001}, r"interval .*12000.*12001"),
        ({"frequency": "Minute", "interval": 72_001}, r"interval .*72000.*72001"),
        ({"start_time": utc("2026-01-01")}, r"start_time .*tzinfo.*time_zone"),
        ({"start_time": "2026-01-01T00:00:00Z", "time_zone": "Pacific Standard Time"}, r"start_time .*Z.*Pacific"),
        ({"start_time": "2026-01-01T00:00:00Z", "time_zone": "UTC"}, r"start_time .*Z.*UTC"),
        ({"start_time": "2026-01-01"}, r"start_time .*YYYY-MM-DDThh:mm:ss.*'2026-01-01'"),
        ({"start_time": "2026-02-30T00:00:00"}, r"start_time .*2026-02-30"),
        ({"start_time": "2026-01-01T00:00:00+01:00"}, r"start_time .*\+01:00"),
        ({"start_time": "0001-01-01T00:00:00"}, r"start_time .*1900"),
        ({"time_zone": "Pacific Time"}, r"time_zone 'Pacific Time' .*Did you mean"),
        ({"time_zone": "../etc/passwd"}, r"time_zone"),
        ({"time_zone": 1}, r"time_zone must be text, not 1"),
        ({"frequency": "Month", "hours": [9]}, r"hours .*Month"),
        ({"frequency": "Month", "time_of_day": "09:00"}, r"hours .*Month.*time_of_day"),
        ({"frequency": "Minute", "minutes": [0]}, r"minutes .*Minute"),
        ({"week_days": ["Monday"]}, r"week_days .*Day"),
        ({"frequency": "Week", "week_days": ["monday"]}, r"week_days .*'monday'"),
        ({"frequency": "Week", "week_days": "Monday"}, r"week_days .*list.*'Monday'"),
        ({"hours": [24]}, r"hours .*0 to 23.*24"),
        ({"hours": []}, r"hours .*\[\]"),
        ({"hours": ["9"]}, r"hours .*'9'"),
        ({"minutes": [60]}, r"minutes .*0 to 59.*60"),
        ({"time_of_day": "24:00"}, r"time_of_day .*'24:00'"),
        ({"time_of_day": "9"}, r"time_of_day .*'9'"),
        ({"time_of_day": "09:00", "minutes": [0]}, r"time_of_day .*excludes hours and minutes"),
        ({"month_end": "drift"}, r"month_end .*'drift'"),
    ],
)
def test_what_azure_refuses_is_refused_by_the_name_of_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleRecurrence(**{"frequency": "Day", "interval": 1, **fields})


def test_an_instant_without_a_zone_is_refused() -> None:
    rule = ScheduleRecurrence("Day", 1)
    with pytest.raises(ValueError, match="created must be an aware datetime"):
        next(rule.occurrences(datetime(2026, 1, 1)))
    with pytest.raises(ValueError, match="instant must be an aware datetime"):
        rule.next_after(datetime(2026, 1, 1), created=utc("2026-01-01"))


def test_equal_rules_are_equal_however_they_are_written() -> None:
    short = ScheduleRecurrence("Day", 1, "2026-11-01T00:00:00", time_of_day="9:05")
    long = ScheduleRecurrence("Day", 1, datetime(2026, 11, 1), "UTC", [9, 9], (5,))
    assert short == long
    assert hash(short) == hash(long)


def test_the_wire_form_is_the_one_the_sdk_sends() -> None:
    rule = ScheduleRecurrence(
        "Week", 2, datetime(2026, 11, 23), "Europe/Berlin", week_days=["Wednesday", "Monday"], time_of_day="18:30"
    )
    assert rule.to_wire().to_wire() == {
        "Frequency": "Week",
        "Interval": 2,
        "StartTime": "2026-11-23T00:00:00",
        "TimeZone": "W. Europe Standard Time",
        "Schedule": {"Hours": [18], "Minutes": [30], "WeekDays": ["Monday", "Wednesday"]},
    }
    assert ScheduleRecurrence("Hour", 12).to_wire().to_wire(exclude_none=True) == {"Frequency": "Hour", "Interval": 12}


@pytest.mark.parametrize(
    ("digit", "name"), [("0", "Month"), ("1", "Week"), ("2", "Day"), ("3", "Hour"), ("4", "Minute")]
)
def test_the_older_back_ends_digits_are_read(digit: str, name: str) -> None:
    wire = Recurrence.model_validate({"Frequency": digit, "Interval": 1, "StartTime": "2026-11-23T00:00:00Z"})
    assert ScheduleRecurrence.from_wire(wire) == ScheduleRecurrence(name, 1, "2026-11-23T00:00:00")
    week = Recurrence.model_validate({"Frequency": "1", "Interval": 1, "Schedule": {"WeekDays": ["0", "6", "Friday"]}})
    assert ScheduleRecurrence.from_wire(week).week_days == ("Monday", "Friday", "Sunday")


def test_the_sdks_own_object_is_read_by_its_attributes() -> None:
    class TimeZone(Enum):
        UTC = "UTC"
        PACIFIC = "Pacific Standard Time"

    theirs = SimpleNamespace(
        frequency="Day",
        interval=1,
        start_time="2026-03-01T00:00:00",
        time_zone=TimeZone.PACIFIC,
        hours=[2],
        minutes=[30],
        week_days=None,
    )
    assert ScheduleRecurrence.from_sdk(theirs) == ScheduleRecurrence(
        "Day", 1, "2026-03-01T00:00:00", "Pacific Standard Time", time_of_day="02:30"
    )
    theirs.start_time, theirs.time_zone = "2026-03-01T00:00:00Z", TimeZone.UTC
    assert ScheduleRecurrence.from_sdk(theirs).start == utc("2026-03-01")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (ScheduleRecurrence("Minute", 15), "Every 15 minutes (UTC) counted from its creation."),
        (
            ScheduleRecurrence(
                "Week",
                2,
                "2026-11-01T00:00:00",
                "Pacific Standard Time",
                week_days=["Wednesday", "Monday"],
                time_of_day="18:30",
            ),
            "Every 2 weeks on Monday and Wednesday at 18:30 (Pacific Standard Time) from 2026-11-01 00:00.",
        ),
        (
            ScheduleRecurrence("Day", 1, hours=range(8, 12), minutes=[0, 30]),
            "Every day at minutes 0 and 30 of hours 8, 9, 10 and 11 (UTC).",
        ),
        (
            ScheduleRecurrence("Month", 1, "2026-01-31T09:00:00"),
            "Every month on day 31 or the last day of a shorter month at 09:00 (UTC) from 2026-01-31 09:00.",
        ),
        (
            ScheduleRecurrence("Week", 1, "2020-01-01T00:00:00"),
            "Every week on Wednesday at 00:00 (UTC) from 2020-01-01 00:00.",
        ),
    ],
)
def test_a_rule_reads_as_one_sentence(rule: ScheduleRecurrence, sentence: str) -> None:
    assert rule.describe() == sentence


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (ScheduleRecurrence("Day", 1, time_of_day="09:00"), ["first run the instant"]),
        (ScheduleRecurrence("Day", 1, "2026-12-01T09:00:00", time_of_day="09:00"), ["itself a slot"]),
        (ScheduleRecurrence("Day", 1, "2026-12-01T08:59:00", time_of_day="09:00"), []),
        (ScheduleRecurrence("Day", 1, "2026-12-01T09:00:00"), []),
        (ScheduleRecurrence("Month", 1, "2026-01-29T09:00:00"), ["day 29"]),
        (ScheduleRecurrence("Month", 1, "2026-01-28T09:00:00"), []),
        (ScheduleRecurrence("Hour", 1, "2026-01-28T09:00:00", "Kamchatka Standard Time"), ["Asia/Kamchatka"]),
    ],
)
def test_documented_traps_are_named(rule: ScheduleRecurrence, words: list[str]) -> None:
    found = rule.warnings()
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_every_windows_id_of_the_sdk_names_a_zone_and_goes_back_to_itself() -> None:
    ids = [*IANA_NAMES, *OBSOLETE]
    assert len(ids) == 131
    for name in ids:
        zone_of(name)
        assert windows_id(name) == name
    assert {windows_id(iana) for iana in IANA_NAMES.values()} == set(IANA_NAMES)
    assert windows_id("Asia/Kolkata") == "India Standard Time"
    with pytest.raises(ValueError, match="'Europe/Amsterdam' has no Windows id"):
        windows_id("Europe/Amsterdam")
