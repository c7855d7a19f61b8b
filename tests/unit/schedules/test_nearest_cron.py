"""The nearest cron expression, judged by Airflow's own cron timetable where it says the same as the rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from airflow_provider_amlbatch.aml.nearest_cron import nearest_cron
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.cli.preview import preview, slots

CREATED = datetime(2026, 11, 21, 10, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "cron"),
    [
        (ScheduleRecurrence("Minute", 15, "2026-11-01T00:07:00"), "7-59/15 * * * *"),
        (ScheduleRecurrence("Minute", 120, "2026-11-01T01:10:00"), "10 1-23/2 * * *"),
        (ScheduleRecurrence("Hour", 6, "2026-11-01T02:30:00"), "30 2-23/6 * * *"),
        (ScheduleRecurrence("Hour", 24, "2026-11-01T02:30:00"), "30 2 * * *"),
        (ScheduleRecurrence("Day", 1, "2026-11-01T00:00:00", hours=[8, 17], minutes=[0, 15]), "0,15 8,17 * * *"),
        (ScheduleRecurrence("Week", 1, "2026-11-18T18:30:00"), "30 18 * * 3"),
        (
            ScheduleRecurrence("Week", 1, "2026-11-01T00:00:00", week_days=["Sunday", "Monday"], time_of_day="9:05"),
            "5 9 * * 0,1",
        ),
        (ScheduleRecurrence("Month", 3, "2026-11-15T06:00:00"), "0 6 15 2-12/3 *"),
        (ScheduleRecurrence("Minute", 15), "7-59/15 * * * *"),
    ],
)
def test_an_expression_that_can_say_the_rule_says_it(rule: ScheduleRecurrence, cron: str) -> None:
    assert nearest_cron(rule, CREATED) == cron
    table = slots(rule, cron, CREATED, CREATED, 12)
    assert [(slot.by_rule, slot.by_cron) for slot in table] == [(True, True)] * 12


@pytest.mark.parametrize("rule", [("Minute", 90), ("Minute", 1440 * 2), ("Hour", 36), ("Day", 40), ("Month", 14)])
def test_what_no_field_holds_has_no_expression(rule: tuple[str, int]) -> None:
    assert nearest_cron(ScheduleRecurrence(*rule, "2026-11-01T00:00:00"), CREATED) is None


def test_the_preview_marks_summer_time_and_what_cron_does_otherwise() -> None:
    # 01:30 comes twice on 1 November in Los Angeles: Azure fires at the first (08:30Z), Airflow's cron at the second.
    rule = ScheduleRecurrence("Day", 1, "2026-10-01T00:00:00", "Pacific Standard Time", time_of_day="01:30")
    lines = preview(rule, datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 30, 20, tzinfo=UTC), 3)
    assert lines[-4:] == [
        "2026-10-31 08:30  2026-10-31 01:30 -0700 DST   fires   fires",
        "2026-11-01 08:30  2026-11-01 01:30 -0700 DST   fires   -       cron would miss it",
        "2026-11-01 09:30  2026-11-01 01:30 -0800       -       fires   cron only, the clock has changed",
        "2026-11-02 09:30  2026-11-02 01:30 -0800       fires   fires",
    ]
    assert "The nearest cron expression is '30 1 * * *' (America/Los_Angeles)." in lines


def test_every_other_week_differs_from_cron_every_other_time() -> None:
    rule = ScheduleRecurrence("Week", 2, "2026-11-01T00:00:00", week_days=["Monday"], time_of_day="18:30")
    table = slots(rule, nearest_cron(rule, CREATED), CREATED, CREATED, 3)
    expected = list(islice((CREATED.replace(day=23, hour=18, minute=30) + n * timedelta(7) for n in range(5)), 5))
    assert [slot.at for slot in table] == expected
    assert [slot.by_rule for slot in table] == [True, False, True, False, True]
    assert all(slot.by_cron for slot in table)
