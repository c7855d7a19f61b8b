"""The timetable through Airflow's own API: DAG files, serialisation, and the runs that a scheduler makes of it."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow_names import DagBag, DagSerialization, next_run

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable

CASES = json.loads((Path(__file__).parents[1] / "unit" / "data" / "recurrence_cases.json").read_text())
MINUTE = timedelta(minutes=1)


def utc(text: str) -> pendulum.DateTime:
    return pendulum.instance(datetime.fromisoformat(text).replace(tzinfo=UTC))


def restriction(earliest: str | None, *, catchup: bool = False, latest: str | None = None) -> TimeRestriction:
    return TimeRestriction(
        None if earliest is None else utc(earliest), None if latest is None else utc(latest), catchup
    )


def scheduler(
    timetable: AzureMLRecurrenceTimetable, limits: TimeRestriction, unpaused: datetime
) -> Iterator[tuple[DagRunInfo, datetime]]:
    """Do what Airflow does: ask for the next run, wait for it, make it a little late, ask again.

    :returns: each run and the instant at which it was made.
    """
    now, last = unpaused, None
    while (info := timetable.next_run_at(now, last, limits)) is not None:
        # The DAG file is parsed again and again while the run is being waited for, also just before it is made.
        made = max(now, info.run_after) + timedelta(seconds=20)
        for parsed in (info.run_after - MINUTE, info.run_after, made - timedelta(seconds=1)):
            if parsed >= now:
                assert timetable.next_run_at(parsed, last, limits) == info
        yield info, made
        now, last = made, info.data_interval


def slots(timetable: AzureMLRecurrenceTimetable, limits: TimeRestriction, unpaused: str, count: int) -> list[str]:
    runs = islice(scheduler(timetable, limits, utc(unpaused)), count)
    return [f"{info.run_after:%Y-%m-%dT%H:%M:%SZ}" for info, _ in runs]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
@pytest.mark.parametrize("catchup", [False, True])
def test_a_dag_whose_start_date_is_the_making_of_the_schedule_runs_when_azure_fires(
    case: dict[str, Any], catchup: bool
) -> None:
    timetable = AzureMLRecurrenceTimetable(**case["rule"])
    created = case["created_utc"].removesuffix("Z")
    expected = [fires for fires in case["fires_utc"] if "start_time" in case["rule"] or fires != case["created_utc"]]
    assert slots(timetable, restriction(created, catchup=catchup), created, len(expected)) == expected


@pytest.mark.parametrize(
    "case", [case for case in CASES if "start_time" not in case["rule"]], ids=lambda case: case["id"]
)
def test_the_instant_first_run_is_an_option(case: dict[str, Any]) -> None:
    timetable = AzureMLRecurrenceTimetable(**case["rule"], run_on_create=True)
    created = case["created_utc"].removesuffix("Z")
    for catchup in (False, True):
        limits = restriction(created, catchup=catchup)
        info = timetable.next_run_at(utc(created), None, limits)
        found = []
        while info is not None and len(found) < len(case["fires_utc"]):
            found.append(f"{info.run_after:%Y-%m-%dT%H:%M:%SZ}")
            info = timetable.next_run_at(info.run_after + MINUTE, info.data_interval, limits)
        assert found == case["fires_utc"]


def test_slots_missed_while_paused_are_dropped() -> None:
    # Every Monday at 09:00; unpaused on Saturday 21 November. Airflow's cron timetables would run Monday 16th at once.
    timetable = AzureMLRecurrenceTimetable("Week", 1, "2026-01-01T00:00:00", week_days=["Monday"], time_of_day="09:00")
    assert slots(timetable, restriction("2026-01-01"), "2026-11-21T10:07", 2) == [
        "2026-11-23T09:00:00Z",
        "2026-11-30T09:00:00Z",
    ]
    last = DataInterval.exact(utc("2026-10-05T09:00"))
    info = timetable.next_run_at(utc("2026-11-21T10:07"), last, restriction("2026-01-01"))
    assert info == DagRunInfo.exact(utc("2026-11-23T09:00"))


def test_catchup_makes_every_missed_run() -> None:
    timetable = AzureMLRecurrenceTimetable("Week", 2, "2026-10-01T00:00:00", week_days=["Monday"], time_of_day="09:00")
    assert slots(timetable, restriction("2026-10-01", catchup=True), "2026-11-21T10:07", 5) == [
        "2026-10-12T09:00:00Z",
        "2026-10-26T09:00:00Z",
        "2026-11-09T09:00:00Z",
        "2026-11-23T09:00:00Z",
        "2026-12-07T09:00:00Z",
    ]


@pytest.mark.parametrize(
    ("options", "still", "too_late"),
    [
        ({}, "2026-11-21T09:59:59", "2026-11-21T10:00"),
        ({"grace": timedelta(hours=30)}, "2026-11-22T08:59:59", "2026-11-22T15:00"),
    ],
    ids=["an hour", "longer than a day: the next slot takes over"],
)
def test_a_slot_is_due_for_a_while_and_then_missed(options: dict[str, Any], still: str, too_late: str) -> None:
    made = AzureMLRecurrenceTimetable("Day", 1, time_of_day="09:00", **options)
    timetable = AzureMLRecurrenceTimetable.deserialize(json.loads(json.dumps(made.serialize())))
    for limits in (restriction("2026-01-01"), restriction(None)):
        for now in ("2026-11-21T09:00", "2026-11-21T09:05", still):
            assert timetable.next_run_at(utc(now), None, limits) == DagRunInfo.exact(utc("2026-11-21T09:00"))
        assert timetable.next_run_at(utc(too_late), None, limits) == DagRunInfo.exact(utc("2026-11-22T09:00"))
    last = DataInterval.exact(utc("2026-11-21T09:00"))
    info = timetable.next_run_at(utc("2026-11-21T09:01"), last, restriction("2026-01-01"))
    assert info == DagRunInfo.exact(utc("2026-11-22T09:00"))
    with pytest.raises(ArgumentError, match="grace is 0:00:00"):
        AzureMLRecurrenceTimetable("Day", 1, grace=timedelta(0))


def test_a_run_that_goes_on_beyond_the_next_slot_costs_no_slot() -> None:
    # max_active_runs=1: Airflow makes the run of 10:00 when that of 09:00 has ended, at 10:06.
    timetable = AzureMLRecurrenceTimetable("Hour", 1, "2026-11-01T00:00:00")
    last = DataInterval.exact(utc("2026-11-21T09:00"))
    info = timetable.next_run_at(utc("2026-11-21T10:06"), last, restriction("2026-11-01"))
    assert info == DagRunInfo.exact(utc("2026-11-21T10:00"))


def test_a_slot_before_the_start_date_never_runs() -> None:
    # A takeover: Azure fired the slot of 09:00 and was disabled at 09:01.
    timetable = AzureMLRecurrenceTimetable("Day", 1, "2026-01-01T00:00:00", time_of_day="09:00")
    assert slots(timetable, restriction("2026-11-21T09:01"), "2026-11-21T09:02", 1) == ["2026-11-22T09:00:00Z"]
    assert slots(timetable, restriction("2026-11-21T09:00"), "2026-11-21T09:00", 1) == ["2026-11-21T09:00:00Z"]


def test_nothing_runs_after_the_end_date() -> None:
    timetable = AzureMLRecurrenceTimetable("Day", 1, "2026-11-01T00:00:00", time_of_day="09:00")
    limits = restriction("2026-11-21", latest="2026-11-22T09:00")
    assert slots(timetable, limits, "2026-11-21", 9) == ["2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z"]


def intervals(timetable: AzureMLRecurrenceTimetable, limits: TimeRestriction, unpaused: str, count: int) -> list[str]:
    runs = islice(scheduler(timetable, limits, utc(unpaused)), count)
    found = [info for info, _ in runs]
    assert all(info.data_interval is not None and info.run_after == info.data_interval.end for info in found)
    return [
        f"{info.data_interval.start:%m-%d %H:%M} {info.data_interval.end:%m-%d %H:%M}"
        for info in found
        if info.data_interval is not None
    ]


def test_intervals_reach_from_slot_to_slot_and_leave_no_gap() -> None:
    timetable = AzureMLRecurrenceTimetable("Hour", 36, "2026-11-01T00:00:00", interval_style=True)
    assert intervals(timetable, restriction("2026-11-01T01:00", catchup=True), "2026-11-21T10:07", 3) == [
        "11-02 12:00 11-04 00:00",
        "11-04 00:00 11-05 12:00",
        "11-05 12:00 11-07 00:00",
    ]
    expected = ["11-20 12:00 11-22 00:00", "11-22 00:00 11-23 12:00", "11-23 12:00 11-25 00:00"]
    assert intervals(timetable, restriction("2026-11-01"), "2026-11-21T10:07", 3) == expected
    assert intervals(timetable, restriction("2026-11-21"), "2026-11-21T10:07", 2) == expected[1:]


def test_a_manual_run_has_the_instant_or_the_last_whole_interval() -> None:
    trigger = AzureMLRecurrenceTimetable("Hour", 36, "2026-11-01T00:00:00")
    now = utc("2026-11-22T00:00")
    assert trigger.infer_manual_data_interval(run_after=now) == DataInterval.exact(now)
    interval = AzureMLRecurrenceTimetable("Hour", 36, "2026-11-01T00:00:00", interval_style=True)
    whole = DataInterval(utc("2026-11-20T12:00"), utc("2026-11-22T00:00"))
    assert interval.infer_manual_data_interval(run_after=now) == whole
    assert interval.infer_manual_data_interval(run_after=now + MINUTE) == whole
    early = utc("2026-11-01T12:00")
    assert interval.infer_manual_data_interval(run_after=early) == DataInterval.exact(early)


def test_changing_style_never_repeats_a_logical_date() -> None:
    interval = AzureMLRecurrenceTimetable("Day", 1, "2026-11-01T00:00:00", interval_style=True)
    last = DataInterval.exact(utc("2026-11-20T00:00"))
    for catchup in (False, True):
        info = interval.next_run_at(utc("2026-11-20T00:01"), last, restriction("2026-11-01", catchup=catchup))
        assert info == DagRunInfo.interval(utc("2026-11-21"), utc("2026-11-22"))


@pytest.mark.parametrize(
    "timetable",
    [
        AzureMLRecurrenceTimetable("Minute", 15, created=datetime(2026, 11, 21, 10, 7, tzinfo=UTC), run_on_create=True),
        AzureMLRecurrenceTimetable(
            "Week", 2, datetime(2026, 11, 1), "Pacific Standard Time", [18], [30], ["Monday", "Wednesday"]
        ),
        AzureMLRecurrenceTimetable("Month", 1, "2026-01-31T09:00:00", "Europe/Berlin", month_end="skip"),
        AzureMLRecurrenceTimetable("Day", 3, "2026-01-31T09:00:00", time_of_day="09:05", interval_style=True),
    ],
    ids=lambda timetable: timetable.recurrence.frequency,
)
def test_a_dag_survives_airflows_serialisation(timetable: AzureMLRecurrenceTimetable) -> None:
    dag = DAG("mirrored", schedule=timetable, start_date=datetime(2026, 11, 1, tzinfo=UTC))
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    rebuilt = DagSerialization.from_dict(stored).timetable
    assert rebuilt == timetable
    assert hash(rebuilt) == hash(timetable)
    assert rebuilt.description == timetable.description
    limits, now = restriction("2026-11-01", catchup=True), utc("2026-11-21")
    assert rebuilt.next_run_at(now, None, limits) == timetable.next_run_at(now, None, limits)


def test_timetables_differ_when_an_option_does() -> None:
    plain = AzureMLRecurrenceTimetable("Day", 1, "2026-11-01T00:00:00")
    assert plain == AzureMLRecurrenceTimetable("Day", 1, datetime(2026, 11, 1), "UTC")
    assert plain != AzureMLRecurrenceTimetable("Day", 1, "2026-11-01T00:00:00", interval_style=True)
    assert plain != AzureMLRecurrenceTimetable("Day", 2, "2026-11-01T00:00:00")


DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable

with DAG(
    "every_other_week",
    schedule=AzureMLRecurrenceTimetable(
        "Week", 2, "2026-11-01T00:00:00", "Pacific Standard Time", week_days=["Monday"], time_of_day="18:30"
    ),
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    catchup=True,
):
    EmptyOperator(task_id="nothing")
"""


@pytest.fixture(scope="module")
def dag_bag(tmp_path_factory: pytest.TempPathFactory) -> DagBag:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "every_other_week.py").write_text(DAG_FILE)
    return DagBag(dag_folder=str(folder))


def test_airflow_loads_schedules_and_backfills_a_dag_file(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag_bag.dags["every_other_week"]))
    assert dag.timetable.summary == "Every 2 weeks on Monday at 18:30"
    assert dag.timetable.description == (
        "Every 2 weeks on Monday at 18:30 (Pacific Standard Time) from 2026-11-01 00:00."
    )
    # The week of Sunday 1 November is on, its Monday is over before the start: 9 November is the first.
    first = next_run(dag, None)
    assert first is not None
    assert first.run_after == utc("2026-11-10T02:30")
    second = next_run(dag, first)
    assert second is not None
    assert second.logical_date == utc("2026-11-24T02:30")
    backfill = dag.iter_dagrun_infos_between(utc("2026-11-15"), utc("2026-12-31"))
    assert [info.run_after for info in backfill] == [
        utc("2026-11-24T02:30"),
        utc("2026-12-08T02:30"),
        utc("2026-12-22T02:30"),
    ]


def test_a_rule_that_counts_from_nothing_is_refused_by_name() -> None:
    timetable = AzureMLRecurrenceTimetable("Hour", 36)
    with pytest.raises(ValueError, match=r"'Every 36 hours' .*start_time or created.*start_date"):
        timetable.next_run_at(utc("2026-11-21"), None, restriction(None))
    anchored = AzureMLRecurrenceTimetable("Hour", 36, created=utc("2026-11-01"))
    info = anchored.next_run_at(utc("2026-11-21T10:07"), None, restriction(None))
    assert info == DagRunInfo.exact(utc("2026-11-22"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval_style": True}, "interval_style=True needs start_time"),
        ({"start_time": "2026-11-01T00:00:00", "run_on_create": True}, "run_on_create and created .*2026-11-01"),
        ({"start_time": "2026-11-01T00:00:00", "created": utc("2026-11-01")}, "run_on_create and created"),
        ({"created": datetime(2026, 11, 1)}, "created must be an aware datetime"),
        ({"interval": 501}, "interval must be an integer from 1 to 500"),
    ],
)
def test_options_that_contradict_the_rule_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AzureMLRecurrenceTimetable(**{"frequency": "Day", "interval": 1, **options})


def test_the_sdks_own_recurrence_becomes_a_timetable() -> None:
    schedule = pytest.importorskip("azureml.pipeline.core.schedule")
    theirs = schedule.ScheduleRecurrence(
        frequency="Week",
        interval=2,
        start_time=datetime(2026, 11, 1),
        time_zone=schedule.TimeZone.PacificStandardTime,
        week_days=["Monday", "Wednesday"],
        time_of_day="18:30",
    )
    theirs.validate()
    ours = AzureMLRecurrenceTimetable(
        "Week",
        2,
        "2026-11-01T00:00:00",
        "Pacific Standard Time",
        week_days=["Monday", "Wednesday"],
        time_of_day="18:30",
        month_end="skip",
    )
    assert AzureMLRecurrenceTimetable.from_schedule_recurrence(theirs, month_end="skip") == ours


def test_the_table_of_the_documentation_is_what_the_timetables_answer() -> None:
    script = Path(__file__).parents[2] / "docs" / "generate_schedules_table.py"
    generator = runpy.run_path(str(script))
    page = generator["PAGE"].read_text()
    assert generator["page_with_table"](page) == page
