"""``amlbatch schedules``: see the Azure ML schedules of a workspace, and move them to Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from airflow_provider_amlbatch.cli.connection import conn_id_option, session_of, told

if TYPE_CHECKING:
    from airflow_provider_amlbatch.aml.schedules import Schedule
    from airflow_provider_amlbatch.aml.session import Session

#: Missed slots are counted up to here.
_COUNTED = 1000
_FORMAT = "%Y-%m-%d %H:%M:%S UTC"


@click.group()
def schedules() -> None:
    """The Azure ML schedules of a workspace, which the studio does not show."""


@schedules.command("list")
@click.option("--all", "everything", is_flag=True, help="Disabled schedules too.")
@conn_id_option
@told
def list_(everything: bool, conn_id: str) -> None:
    """List the schedules: when they fire, what they run, and their last run."""
    from airflow_provider_amlbatch.aml.schedules import list_schedules

    session = session_of(conn_id)
    found = session.send(list_schedules(active_only=not everything))
    rows: list[tuple[str, ...]] = [("NAME", "STATUS", "FIRES", "NEXT", "LAST RUN", "RUNS", "ID")]
    rows += [_row(session, schedule) for schedule in sorted(found, key=lambda entry: entry.name or "")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not found:
        click.echo("There is no schedule." if everything else "There is no active schedule; --all shows disabled ones.")


@schedules.command("preview")
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many slots.")
@click.option("--from", "begin", help="Begin after this instant, ISO 8601 with an offset; by default now.")
@conn_id_option
@told
def preview_(name: str, count: int, begin: str | None, conn_id: str) -> None:
    """Show when the schedule NAME (or id) fires next: in UTC, by its own clock, and where plain cron would differ."""
    from airflow_provider_amlbatch.aml.scheduling import find_schedule, rule_of
    from airflow_provider_amlbatch.cli.preview import preview

    after = datetime.now(UTC) if begin is None else _instant(begin)
    schedule = find_schedule(session_of(conn_id), name)
    if not schedule.is_active:
        click.echo(f"The schedule {schedule.name!r} is disabled; this is when it would fire.")
    click.echo("\n".join(preview(rule_of(schedule), schedule.created_date or after, after, count)))


@schedules.command("export")
@click.argument("name")
@click.option("--dag-id", help="Id of the DAG; by default made from the schedule's name.")
@conn_id_option
@told
def export(name: str, dag_id: str | None, conn_id: str) -> None:
    """Write a DAG file that does what the schedule NAME (or id) does.

    After a takeover the DAG starts with the first slot that Azure did not fire.
    """
    from airflow_provider_amlbatch.aml.pipelines import get_endpoint
    from airflow_provider_amlbatch.aml.scheduling import find_schedule
    from airflow_provider_amlbatch.cli.exported_dag import Export

    session = session_of(conn_id)
    schedule = find_schedule(session, name)
    endpoint = schedule.pipeline_endpoint_id
    endpoint_name = None if endpoint is None else session.send(get_endpoint(endpoint)).name
    if schedule.is_active:
        click.echo(
            f"The schedule {schedule.name!r} is active: take it over and export again before you unpause the DAG.",
            err=True,
        )
    starts = _starts(session, schedule)
    passed = 0 if schedule.is_active or schedule.is_reactive else _passed(schedule, starts)
    if passed:
        click.echo(
            f"{_some(passed)} passed since the schedule was disabled, and the DAG will run them when it is unpaused; "
            "move its start_date if you do not want that.",
            err=True,
        )
    click.echo(Export(schedule, starts, conn_id, dag_id, endpoint_name).source(), nl=False)


@schedules.command("takeover")
@click.argument("name")
@conn_id_option
@told
def takeover(name: str, conn_id: str) -> None:
    """Disable the schedule NAME (or id) and tell the first slot that is Airflow's.

    Every slot before it was fired by Azure, no slot from it on will be. Running this again gives the same answer. If a
    slot is due at this very moment, its run is waited for, at most three minutes.
    """
    from airflow_provider_amlbatch.aml.scheduling import find_schedule
    from airflow_provider_amlbatch.aml.takeover import take_over, take_over_blobs

    session = session_of(conn_id)
    schedule = find_schedule(session, name)
    if schedule.is_reactive:
        since = take_over_blobs(session, schedule)
        click.echo(f"The schedule {schedule.name!r} ({schedule.id}) is disabled.")
        click.echo(f"Airflow's blobs are those that changed since {since:{_FORMAT}}; Azure looked for the last time")
        click.echo("after that, at a moment that it does not tell: a blob of those minutes may run twice.")
    else:
        done = take_over(session, schedule)
        click.echo(f"The schedule {schedule.name!r} ({schedule.id}) is disabled.")
        if done.last_run is not None and done.last_run.created_date is not None:
            click.echo(f"Azure's last run: {done.last_run.id}, started {done.last_run.created_date:{_FORMAT}}")
        else:
            click.echo("Azure has never started a run of it.")
        click.echo(f"Airflow's first slot: {done.first_slot:{_FORMAT}}")
        passed = _passed(done.schedule, done.first_slot)
        if passed:
            click.echo(f"{_some(passed)} of Airflow's passed already, since the schedule was disabled.")
    click.echo(f"Next: amlbatch schedules export {schedule.id} > dags/FILE.py")


def _starts(session: Session, schedule: Schedule) -> datetime:
    """The first instant that would be Airflow's, or is."""
    from airflow_provider_amlbatch.aml.scheduling import rule_of
    from airflow_provider_amlbatch.aml.takeover import take_over, take_over_blobs

    now = datetime.now(UTC)
    if schedule.is_active:
        return now if schedule.is_reactive else rule_of(schedule).next_after(now, created=schedule.created_date or now)
    return take_over_blobs(session, schedule) if schedule.is_reactive else take_over(session, schedule).first_slot


def _passed(schedule: Schedule, first_slot: datetime) -> int:
    """So many slots from the first one on have passed, as far as it is worth counting."""
    from airflow_provider_amlbatch.aml.scheduling import rule_of

    rule, now, passed = rule_of(schedule), datetime.now(UTC), 0
    slot = first_slot
    while slot <= now and passed < _COUNTED:
        passed, slot = passed + 1, rule.next_after(slot, created=schedule.created_date or now)
    return passed


def _some(passed: int) -> str:
    count = f"{passed} or more" if passed == _COUNTED else str(passed)
    return f"{count} slot{'' if passed == 1 else 's'}"


def _row(session: Session, schedule: Schedule) -> tuple[str, ...]:
    from airflow_provider_amlbatch.aml.pipelines import get_endpoint, get_pipeline
    from airflow_provider_amlbatch.aml.schedules import get_last_run_of_schedule
    from airflow_provider_amlbatch.aml.scheduling import rule_of

    following = "-"
    if schedule.is_reactive:
        trigger = schedule.data_store_trigger_info
        assert trigger is not None
        fires = f"For blobs in {trigger.data_store_name}/{trigger.path_on_data_store or ''}"
    else:
        rule, now = rule_of(schedule), datetime.now(UTC)
        fires = rule.describe().removesuffix(".")
        if schedule.is_active:
            following = f"{rule.next_after(now, created=schedule.created_date or now):%Y-%m-%d %H:%MZ}"
    last = session.send(get_last_run_of_schedule(schedule.id))
    if schedule.pipeline_endpoint_id:
        runs = f"endpoint {session.send(get_endpoint(schedule.pipeline_endpoint_id)).name}"
    else:
        runs = f"pipeline {session.send(get_pipeline(schedule.pipeline_id or '')).name}"
    started = "never" if last is None or last.created_date is None else f"{last.created_date:%Y-%m-%d %H:%MZ}"
    if last is not None:
        started += f" {last.run_status.value}"
    status = "Active" if schedule.is_active else "Disabled"
    return (schedule.name or "", status, fires, following, started, runs, schedule.id)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an instant in ISO 8601.", param_hint="--from") from None
    if instant.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no offset: write {text}Z for UTC.", param_hint="--from")
    return instant
