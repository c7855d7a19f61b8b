"""The operators that make, change and switch schedules, judged by the SDK and by what fires."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import Context
from schedule_bench import Bench, told

from airflow_provider_amlbatch.aml.errors import ArgumentError, NotFoundError
from airflow_provider_amlbatch.operators.schedules import (
    AzureMLCreateScheduleOperator,
    AzureMLDisableScheduleOperator,
    AzureMLEnableScheduleOperator,
    AzureMLUpdateScheduleOperator,
)

CONTEXT = cast(Context, {})


def create(**arguments: Any) -> dict[str, Any]:
    given = {"task_id": "create", "experiment_name": "scheduled", **arguments}
    return AzureMLCreateScheduleOperator(**given).execute(CONTEXT)


def test_a_schedule_is_made_once_and_brought_to_what_is_asked(bench: Bench) -> None:
    rule = {"frequency": "Week", "interval": 2, "start_time": "2027-01-04T00:00:00",
            "time_zone": "Europe/Berlin", "week_days": ["Monday"], "time_of_day": "18:30"}  # fmt: skip
    wanted = {"schedule_name": "made once", "pipeline_id": bench.ids["plain"], "recurrence": rule,
              "parameters": {"label": "first"}, "description": "by hand"}  # fmt: skip
    first = create(**wanted)
    assert (first["created"], first["status"]) == (True, "Active")
    assert create(**wanted) == {**first, "created": False, "changed": []}
    changed = create(**{**wanted, "parameters": {"label": 2}})
    assert (changed["id"], changed["changed"]) == (first["id"], ["pipeline_submission_info"])

    seen = told(bench, f"""
from azureml.pipeline.core import Schedule
s = Schedule.get(ws, {first["id"]!r})
r = s.recurrence
zone = getattr(r.time_zone, "value", r.time_zone)
print(json.dumps([s.name, s.description, s.status, s.pipeline_id, r.frequency, r.interval, str(r.start_time), zone,
                  r.week_days, r.hours, r.minutes, [x.name for x in Schedule.list(ws) if x.name == "made once"]]))
""")  # fmt: skip
    assert seen == [
        "made once", "by hand", "Active", bench.ids["plain"], "Week", 2, "2027-01-04T00:00:00",
        "W. Europe Standard Time", ["Monday"], [18], [30], ["made once"],
    ]  # fmt: skip
    assert bench.schedule("made once").pipeline_submission_info.parameter_assignments == {"label": "2"}  # type: ignore[union-attr]


def test_a_disabled_schedule_stays_disabled_until_it_is_enabled(bench: Bench) -> None:
    start = (bench.now + timedelta(hours=1)).replace(tzinfo=None)
    wanted = {"schedule_name": "switched", "pipeline_endpoint": "plain-endpoint",
              "recurrence": {"frequency": "Hour", "interval": 1, "start_time": start}}  # fmt: skip
    create(**wanted)
    switch = {"task_id": "switch", "schedule": "switched"}
    assert AzureMLDisableScheduleOperator(**switch).execute(CONTEXT)["changed"] == ["entity_status"]
    assert AzureMLDisableScheduleOperator(**switch).execute(CONTEXT)["changed"] == []
    assert create(**wanted)["status"] == "Disabled"
    bench.move(timedelta(hours=2))
    assert bench.runs("switched") == []
    assert AzureMLEnableScheduleOperator(**switch).execute(CONTEXT)["status"] == "Active"
    bench.move(timedelta(hours=1))
    assert len(bench.runs("switched")) == 1
    AzureMLDisableScheduleOperator(**switch).execute(CONTEXT)


def test_an_update_changes_what_it_names_and_nothing_else(bench: Bench) -> None:
    start = (bench.now + timedelta(days=30)).replace(tzinfo=None)
    create(schedule_name="updated", pipeline_id=bench.ids["plain"], parameters={"label": "kept"},
           recurrence={"frequency": "Day", "interval": 1, "start_time": start})  # fmt: skip
    update = AzureMLUpdateScheduleOperator(
        task_id="update", schedule="updated", description="later",
        recurrence={"frequency": "Day", "interval": 2, "start_time": start},
    )  # fmt: skip
    assert sorted(update.execute(CONTEXT)["changed"]) == ["pipeline_submission_info", "recurrence"]
    assert update.execute(CONTEXT)["changed"] == []
    now = bench.schedule("updated")
    assert now.recurrence is not None
    assert now.recurrence.interval == 2
    info = now.pipeline_submission_info
    assert info is not None
    assert (info.parameter_assignments, info.description) == ({"label": "kept"}, "later")
    AzureMLDisableScheduleOperator(task_id="off", schedule="updated").execute(CONTEXT)


def test_a_schedule_for_changed_blobs_fires_with_the_path(bench: Bench) -> None:
    create(schedule_name="reactive", pipeline_id=bench.ids["watched"], datastore="workspaceblobstore",
           path_on_datastore="operator-incoming", polling_interval=5, data_path_parameter_name="place")  # fmt: skip
    bench.put("operator-incoming/a.csv", "1")
    bench.move(timedelta(minutes=6))
    (run,) = bench.runs("reactive")
    assert run.data_path_assignments["place"].relative_path == "operator-incoming/a.csv"
    AzureMLDisableScheduleOperator(task_id="off", schedule="reactive").execute(CONTEXT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": {"lable": 1}}, "'lable'"),
        ({"datastore": "nowhere", "recurrence": None}, "nowhere"),
        ({"recurrence": {"frequency": "Month", "interval": 1, "month_end": "skip"}}, "month_end='skip'"),
        ({"recurrence": None, "datastore": "workspaceblobstore", "data_path_parameter_name": "label"}, "'label'"),
    ],
)
def test_what_would_not_work_is_refused_before_a_schedule_is_made(
    bench: Bench, arguments: dict[str, Any], message: str
) -> None:
    rule = {"frequency": "Day", "interval": 1, "time_of_day": "09:00"}
    given = {"schedule_name": "refused", "pipeline_id": bench.ids["plain"], "recurrence": rule, **arguments}
    with pytest.raises((ArgumentError, NotFoundError), match=message):
        create(**given)
    with pytest.raises(NotFoundError):
        bench.schedule("refused")


def test_a_schedule_of_another_pipeline_or_kind_is_not_taken_over(bench: Bench) -> None:
    start = (bench.now + timedelta(days=30)).replace(tzinfo=None)
    rule = {"frequency": "Day", "interval": 1, "start_time": start}
    create(schedule_name="fixed", pipeline_id=bench.ids["plain"], recurrence=rule)
    with pytest.raises(ArgumentError, match=f"runs {bench.ids['plain']} and not {bench.ids['watched']}"):
        create(schedule_name="fixed", pipeline_id=bench.ids["watched"], recurrence=rule)
    with pytest.raises(ArgumentError, match="fires by recurrence and cannot be changed to datastore"):
        create(schedule_name="fixed", pipeline_id=bench.ids["plain"], datastore="workspaceblobstore")
    AzureMLDisableScheduleOperator(task_id="off", schedule="fixed").execute(CONTEXT)


def test_a_lost_answer_makes_no_second_schedule(bench: Bench) -> None:
    start = (bench.now + timedelta(days=30)).replace(tzinfo=None)
    bench.emulator.session().post(
        f"{bench.emulator.url}/_emulator/faults",
        json={"operation": "schedules.create_schedule", "kind": "reset_after", "times": 1},
    ).raise_for_status()
    made = create(schedule_name="lost", pipeline_id=bench.ids["plain"],
                  recurrence={"frequency": "Day", "interval": 1, "start_time": start})  # fmt: skip
    listed = bench.emulator.services.schedules.list_schedules()
    assert [entry.id for entry in listed if entry.name == "lost"] == [made["id"]]
    AzureMLDisableScheduleOperator(task_id="off", schedule="lost").execute(CONTEXT)


def test_the_traps_of_a_recurrence_are_logged(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    create(schedule_name="trapped", pipeline_id=bench.ids["plain"], recurrence={"frequency": "Hour", "interval": 5})
    assert "Azure starts the first run the instant the schedule is made" in capsys.readouterr().out
    bench.move(timedelta(0))
    assert len(bench.runs("trapped")) == 1
    AzureMLDisableScheduleOperator(task_id="off", schedule="trapped").execute(CONTEXT)
