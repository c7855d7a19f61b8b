"""A schedule is handed over in the middle of its work, and every slot is fired by exactly one side."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import takewhile

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from schedule_bench import Bench

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.scheduling import ScheduleChange, ensure_schedule, rule_of, switch_schedule
from airflow_provider_amlbatch.aml.takeover import LATENESS, Takeover, take_over
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.timetables.recurrence import AzureMLRecurrenceTimetable

HOUR = timedelta(hours=1)


def make(bench: Bench, name: str, rule: ScheduleRecurrence) -> None:
    target = find_target(bench.session, pipeline_id=bench.ids["plain"])
    ensure_schedule(bench.session, name, target, ScheduleChange(recurrence=rule, experiment_name="handover"))


def hourly(bench: Bench) -> ScheduleRecurrence:
    """Every hour, at half past, on the emulator's clock."""
    return ScheduleRecurrence("Hour", 1, (bench.now - 24 * HOUR).replace(minute=30, second=0, tzinfo=None))


def hand_over(bench: Bench, name: str, waits: list[float] | None = None) -> Takeover:
    """Take a schedule over without waiting: pauses move an own clock, and say so."""
    waited = [] if waits is None else waits

    def sleep(seconds: float) -> None:
        waited.append(seconds)

    return take_over(bench.session, bench.schedule(name), clock=lambda: sum(waited), sleep=sleep)


def airflow_slots(rule: ScheduleRecurrence, first: datetime, until: datetime) -> list[datetime]:
    """What Airflow runs of a DAG that starts with a slot, is unpaused hours later, and catches up."""
    timetable = AzureMLRecurrenceTimetable(rule.frequency, rule.interval, rule.start_time, rule.time_zone)
    limits = TimeRestriction(pendulum.instance(first), None, True)
    found: list[datetime] = []
    last: DataInterval | None = None
    while (info := timetable.next_run_at(until, last, limits)) is not None and info.run_after <= until:
        found.append(info.run_after)
        last = info.data_interval
    return found


@pytest.mark.parametrize("minutes_to_slot", [-20, -1, 1, 25])
def test_each_slot_is_fired_by_exactly_one_side(bench: Bench, minutes_to_slot: int) -> None:
    bench.move_to_minute(30)
    rule, name = hourly(bench), f"handed over {minutes_to_slot}"
    begun = bench.now
    make(bench, name, rule)
    bench.move(3 * HOUR)  # the clock stands at a slot: the handover comes shortly before or after the next
    bench.move(HOUR - timedelta(minutes=minutes_to_slot))
    done = hand_over(bench, name)
    bench.move(4 * HOUR)

    azure = [datetime.fromisoformat(str(run.properties["emulator.scheduledFor"])[:19] + "+00:00")
             for run in bench.runs(name)]  # fmt: skip
    airflow = airflow_slots(rule, done.first_slot, bench.now)
    due = list(takewhile(lambda slot: slot <= bench.now, rule.occurrences(begun)))
    assert len(due) >= 7
    assert azure
    assert airflow
    assert [*azure, *airflow] == due
    assert done.last_run is not None
    assert done.last_run.id == bench.runs(name)[-1].id
    bench.emulator.clock.shift(20 * HOUR)
    assert hand_over(bench, name).first_slot == done.first_slot  # the answer does not depend on when it is asked


def test_a_slot_that_is_due_and_not_fired_yet_is_waited_for_and_then_airflows(bench: Bench) -> None:
    bench.move_to_minute(29)
    make(bench, "late", hourly(bench))
    slot = bench.now + timedelta(minutes=1)
    # The service is late: its clock passes the slot, and the schedule is disabled before it looked.
    services = bench.emulator.services
    dispatcher = services.dispatcher
    dispatcher.stop()
    try:
        bench.emulator.clock.shift(timedelta(minutes=1, seconds=40))
        waits: list[float] = []
        done = hand_over(bench, "late", waits)
    finally:
        dispatcher.start()
    assert done.first_slot == slot
    assert sum(waits) >= LATENESS.total_seconds()
    bench.move(2 * HOUR)
    assert bench.runs("late") == []


def test_a_slot_whose_run_turns_up_while_waiting_is_azures(bench: Bench) -> None:
    bench.move_to_minute(29)
    make(bench, "slow", hourly(bench))
    services, slot = bench.emulator.services, bench.now + timedelta(minutes=1)
    services.dispatcher.stop()
    try:
        bench.emulator.clock.shift(timedelta(minutes=1, seconds=10))
        schedule = switch_schedule(bench.session, bench.schedule("slow"), on=False).schedule
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:  # now it shows the run that it had begun before
                assert schedule.pipeline_submission_info is not None
                services.pipeline_runs.submit_pipeline(
                    str(schedule.pipeline_id), schedule.pipeline_submission_info, schedule_id=schedule.id
                )  # fmt: skip

        done = take_over(bench.session, bench.schedule("slow"), clock=lambda: sum(waits), sleep=sleep)
    finally:
        services.dispatcher.start()
    assert len(waits) == 3
    assert done.first_slot == slot + HOUR


def test_a_rule_without_start_counts_from_the_making_of_the_schedule(bench: Bench) -> None:
    made = bench.now
    make(bench, "from creation", ScheduleRecurrence("Hour", 5))
    bench.move(7 * HOUR)
    done = hand_over(bench, "from creation")
    assert len(bench.runs("from creation")) == 2  # at once, and five hours later
    assert done.first_slot == made + 10 * HOUR
    assert rule_of(done.schedule).needs_anchor
