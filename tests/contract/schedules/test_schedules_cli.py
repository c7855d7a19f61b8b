"""``amlbatch schedules`` against the emulator."""

from __future__ import annotations

import ast
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from schedule_bench import Bench

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.scheduling import BlobTrigger, ScheduleChange, ensure_schedule, switch_schedule
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.cli import main


def amlbatch(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["schedules", *arguments])


def make(bench: Bench, name: str, pipeline: str = "plain", **change: Any) -> None:
    target = find_target(bench.session, pipeline_id=bench.ids[pipeline])
    ensure_schedule(bench.session, name, target, ScheduleChange(experiment_name="cli", **change))


@pytest.fixture(scope="module")
def scheduled(served_bench: Bench) -> Bench:
    rule = ScheduleRecurrence("Week", 2, "2026-11-01T00:00:00", "Pacific Standard Time",
                              week_days=["Monday"], time_of_day="01:30")  # fmt: skip
    make(served_bench, "cli weekly", recurrence=rule, parameters={"label": "x"})
    blobs = BlobTrigger("workspaceblobstore", "cli-incoming", 7, "place")
    make(served_bench, "cli reactive", "watched", blobs=blobs)
    return served_bench


@pytest.mark.usefixtures("scheduled")
def test_the_list_tells_what_the_studio_of_azure_does_not(bench: Bench) -> None:
    lines = {line.split("  ")[0]: line for line in amlbatch("list").output.splitlines()}
    assert "Every 2 weeks on Monday at 01:30 (Pacific Standard Time) from 2026-11-01 00:00" in lines["cli weekly"]
    assert "pipeline plain" in lines["cli weekly"]
    assert "never" in lines["cli weekly"]
    assert bench.schedule("cli weekly").id in lines["cli weekly"]
    assert "For blobs in workspaceblobstore/cli-incoming" in lines["cli reactive"]
    switch_schedule(bench.session, bench.schedule("cli weekly"), on=False)
    assert "cli weekly" not in amlbatch("list").output
    assert "Disabled" in next(line for line in amlbatch("list", "--all").output.splitlines() if "cli weekly" in line)
    switch_schedule(bench.session, bench.schedule("cli weekly"), on=True)


@pytest.mark.usefixtures("bench", "scheduled")
def test_the_preview_goes_over_the_change_of_the_clock() -> None:
    lines = amlbatch("preview", "cli weekly", "-n", "2", "--from", "2027-03-01T00:00:00Z").output.splitlines()
    assert lines[-3:] == [
        "2027-03-01 09:30  2027-03-01 01:30 -0800       fires   fires",
        "2027-03-08 09:30  2027-03-08 01:30 -0800       -       fires   cron only",
        "2027-03-15 08:30  2027-03-15 01:30 -0700 DST   fires   fires   the clock has changed",
    ]


@pytest.mark.usefixtures("scheduled")
def test_a_data_store_schedule_is_taken_over_and_exported_too(bench: Bench) -> None:
    disabled_at = bench.now
    taken = amlbatch("takeover", "cli reactive")
    since = disabled_at - timedelta(minutes=7)
    assert f"since {since:%Y-%m-%d %H:%M:%S} UTC" in taken.output
    assert not bench.schedule("cli reactive").is_active
    source = amlbatch("export", "cli reactive").output
    ast.parse(source)
    assert "data_paths=changed.output.map(lambda blob: {'place': blob})" in source
    assert f"since=datetime({since.year}, {since.month}, {since.day}, {since.hour}, {since.minute}" in source


@pytest.mark.usefixtures("bench", "scheduled")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["preview", "nobody"], "There is no schedule with the name or id 'nobody'"),
        (["preview", "cli reactive"], "fires for changed blobs, not by a recurrence"),
        (["preview", "cli weekly", "--from", "2026-11-01"], "has no offset"),
        (["preview", "cli weekly", "--from", "soon"], "is not an instant in ISO 8601"),
        (["list", "--conn-id", "not_there"], "There is no connection 'not_there'"),
        (["list", "--conn-id", "a b"], "is no connection id"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], message: str) -> None:
    done = amlbatch(*arguments)
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output
