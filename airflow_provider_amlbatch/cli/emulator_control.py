"""``amlbatch emulator clock | faults | delivery | requests``: steer a running emulator over its control plane."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from airflow_provider_amlbatch.cli.emulator_options import state_option, told

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _number(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    return None if value is None else int(value)


@click.group()
def clock() -> None:
    """Show and move the emulator's clock: schedules fire and tokens expire by it."""


@clock.command("show")
@state_option
@told
def clock_show(state: Path) -> None:
    """Tell the time."""
    _print_clock(_control(state, "GET", "clock"))


@clock.command("freeze")
@click.argument("at", required=False)
@state_option
@told
def clock_freeze(at: str | None, state: Path) -> None:
    """Stop the clock, at an instant such as 2026-03-29T00:59:00+00:00 or where it is."""
    if at is not None and _instant(at).tzinfo is None:
        raise click.BadParameter(f"{at!r} has no offset: write {at}Z for UTC.", param_hint="AT")
    _print_clock(_control(state, "PUT", "clock", {"freeze": True} if at is None else {"freezeAt": at}))


@clock.command("shift", context_settings={"ignore_unknown_options": True})
@click.argument("span")
@state_option
@told
def clock_shift(span: str, state: Path) -> None:
    """Move the clock by a span such as 90s, 45m, 2h, 1d or -1h; frozen or not."""
    _print_clock(_control(state, "PUT", "clock", {"shiftSeconds": _span(span).total_seconds()}))


@clock.command("run")
@state_option
@told
def clock_run(state: Path) -> None:
    """Let a frozen clock go on from where it stands."""
    _print_clock(_control(state, "PUT", "clock", {"run": True}))


@click.group()
def faults() -> None:
    """Make operations fail, and see whether the failures were met."""


@faults.command("add")
@click.argument("operation")
@click.argument(
    "kind", type=click.Choice(["status", "reset_before", "reset_after", "truncate", "slow", "expire_token"])
)
@click.option("--times", type=click.IntRange(min=1), default=1, show_default=True, help="So many requests meet it.")
@click.option(
    "--status",
    type=click.Choice(["429", "500", "503"]),
    callback=_number,
    help="Answer of the kind status; by default 503.",
)
@click.option("--retry-after", type=click.IntRange(min=0), help="Seconds in the Retry-After header of a status.")
@click.option("--seconds", type=float, help="How long an answer of the kind slow takes; by default 2.")
@state_option
@told
def faults_add(state: Path, **fault: Any) -> None:
    """Arm a fault for OPERATION: a name such as history.get_run, or 'METHOD path-regex'.

    `amlbatch emulator faults operations` lists the names.
    """
    armed = _control(state, "POST", "faults", {name: value for name, value in fault.items() if value is not None})
    click.echo(f"Armed fault {armed['id']}: {_described(armed['fault'])}, times: {armed['fault']['times']}.")


@faults.command("list")
@state_option
@told
def faults_list(state: Path) -> None:
    """Tell which faults were met; exit code 1 while one is not."""
    report = _control(state, "GET", "faults")
    for fault in report["faults"]:
        click.echo(
            f"{fault['id']:>4}  met {fault['consumed']} of {fault['fault']['times']}  {_described(fault['fault'])}"
        )
    if not report["faults"]:
        click.echo("No fault is armed.")
    if not report["allConsumed"]:
        raise click.exceptions.Exit(1)


@faults.command("clear")
@state_option
@told
def faults_clear(state: Path) -> None:
    """Disarm and forget all faults."""
    _control(state, "DELETE", "faults")
    click.echo("No fault is armed.")


@faults.command("operations")
@state_option
@told
def faults_operations(state: Path) -> None:
    """List the names of all operations."""
    click.echo("\n".join(_control(state, "GET", "operations")["operations"]))


@click.command()
@click.option("--clear", is_flag=True, help="Begin to count at zero afterwards.")
@state_option
@told
def requests(state: Path, clear: bool) -> None:
    """Count the requests to the services since the start, by operation."""
    report = _control(state, "GET", "requests")
    for name, operation in report["operations"].items():
        answers = ", ".join(f"{answer} x {count}" for answer, count in operation["answers"].items())
        click.echo(f"{operation['count']:>8}  {name}  ({answers})")
    click.echo(f"{report['total']:>8}  in all")
    if clear:
        _control(state, "DELETE", "requests")


@click.command()
@click.option("--at-least-once", is_flag=True, help="Deliver one mini-batch of five twice, and all in any order.")
@click.option("--lose-every", type=click.IntRange(min=0), default=0, help="Lose one line of so many of the output.")
@state_option
@told
def delivery(state: Path, at_least_once: bool, lose_every: int) -> None:
    """Say what becomes of mini-batches and rows of runs submitted from now on; without options all is well again."""
    told = _control(state, "PUT", "delivery", {"atLeastOnce": at_least_once, "loseEvery": lose_every})
    click.echo(
        f"Mini-batches are delivered {'at least' if told['atLeastOnce'] else 'exactly'} once; "
        + (f"one line of {told['loseEvery']} is lost." if told["loseEvery"] else "no line is lost.")
    )


#: What ``amlbatch emulator`` offers besides starting and stopping.
COMMANDS = (clock, faults, delivery, requests)


def _control(state: Path, method: str, path: str, body: Any = None) -> Any:
    import requests as http

    from airflow_provider_amlbatch.emulator import server
    from airflow_provider_amlbatch.emulator.state import StateFolder
    from airflow_provider_amlbatch.emulator.tls import Certificates

    served, bundle = server.require(state), str(Certificates(StateFolder(state).tls).bundle)
    with http.Session() as session:
        session.trust_env = False  # no proxy lies between us and ourselves
        try:
            answer = session.request(method, f"{served.url}/_emulator/{path}", json=body, verify=bundle, timeout=90)
        except http.RequestException as error:
            raise click.ClickException(f"The emulator at {served.url} does not answer: {error}") from None
    content = answer.json() if answer.content else None
    if not answer.ok:
        raise click.ClickException(str((content or {}).get("message") or answer.status_code))
    return content


def _print_clock(state: dict[str, Any]) -> None:
    click.echo(f"{state['now']}{'  (frozen)' if state['frozen'] else ''}")


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an instant in ISO 8601.", param_hint="AT") from None


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a span such as 90s, 45m, 2h or -1d.", param_hint="SPAN")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _described(fault: dict[str, Any]) -> str:
    more = {
        "status": f" {fault['status']}"
        + (f" after {fault['retryAfter']} s" if fault["retryAfter"] is not None else ""),
        "slow": f" {fault['seconds']:g} s",
    }
    return f"{fault['kind']}{more.get(fault['kind'], '')} for {fault['operation']}"
