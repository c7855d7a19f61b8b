"""``amlbatch emulator``: start and stop the emulator, and lead clients to it.

The emulator's modules are imported inside the commands: ``--help`` has to answer where the extra is not installed.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_provider_amlbatch.cli.emulator_control import COMMANDS
from airflow_provider_amlbatch.cli.emulator_options import state_option, told

if TYPE_CHECKING:
    from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
    from airflow_provider_amlbatch.emulator.server import Served

port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port; by default the last one, or any free one."
)
host_option = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on: this one, or 0.0.0.0, which lets the network in.",
)


@click.group()
def emulator() -> None:
    """An Azure ML workspace on this machine: the official SDK and this provider are its clients."""


for _command in COMMANDS:
    emulator.add_command(_command)


@emulator.command()
@state_option
@port_option
@host_option
@told
def start(state: Path, port: int, host: str) -> None:
    """Start the emulator in the background; return when it answers."""
    from airflow_provider_amlbatch.emulator import server

    served = server.start(state, port, host)
    click.echo(f"Azure ML emulator at {served.url} (process {served.pid}), state in {state}")
    click.echo(f'Lead this shell to it:  eval "$({_again("env", state)})"')


@emulator.command()
@state_option
@port_option
@host_option
@told
def serve(state: Path, port: int, host: str) -> None:
    """Run the emulator in the foreground until it is interrupted."""
    from airflow_provider_amlbatch.emulator import server

    server.serve(state.absolute(), host, port)


@emulator.command()
@state_option
@click.option("--jobs", is_flag=True, help="End the jobs that are running, too.")
@told
def stop(state: Path, jobs: bool) -> None:
    """Stop the emulator. Jobs that are running go on, and the next start knows how they ended."""
    from airflow_provider_amlbatch.emulator import server

    click.echo("Stopped." if server.stop(state) else f"No emulator serves {state}.")
    running = _jobs(state)
    if jobs:
        for job in running:
            job.cancel()
        click.echo(f"Jobs asked to end: {len(running)}.")
    elif running:
        click.echo(f"Jobs that go on: {len(running)}. End them with:  {_again('stop --jobs', state)}")


@emulator.command()
@state_option
@told
def status(state: Path) -> None:
    """Tell whether and where the emulator runs; exit code 3 when it does not."""
    from airflow_provider_amlbatch.emulator import server

    served = server.status(state)
    if served is None:
        click.echo(f"No emulator serves {state}.")
        raise click.exceptions.Exit(3)
    click.echo(f"Azure ML emulator at {served.url} (process {served.pid}), state in {state}")


@emulator.command()
@state_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@told
def reset(state: Path, yes: bool) -> None:
    """Delete everything that the emulator keeps: models, data, pipelines, runs.

    The next start makes a new workspace with a new id, so that nothing the SDK has cached is taken for current.
    """
    from airflow_provider_amlbatch.emulator import server
    from airflow_provider_amlbatch.emulator.state import StateFolder

    if server.status(state) is not None:
        raise click.ClickException(f"An emulator serves {state}: stop it first.")
    if running := _jobs(state):
        advice = _again("stop --jobs", state)
        raise click.ClickException(f"Jobs of {state} are running still ({len(running)}): end them with {advice}")
    if not state.exists():
        click.echo(f"{state} is empty already.")
        return
    if not StateFolder(state).is_state and any(state.iterdir()):
        raise click.ClickException(f"{state} holds no emulator state: it is left as it is.")
    if not yes:
        click.confirm(f"Delete everything in {state}?", abort=True)
    shutil.rmtree(state)
    click.echo(f"Deleted {state}.")


@emulator.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of export lines.")
@told
def env(state: Path, as_json: bool) -> None:
    """Print the variables that lead the SDK and Airflow to the running emulator, as export lines.

    They hold the emulator's secrets, which open nothing else.
    """
    variables = _served(state).environment(state.absolute())
    if as_json:
        click.echo(json.dumps(variables))
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@emulator.command()
@state_option
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("config.json"))
@told
def config(state: Path, path: Path) -> None:
    """Write the config.json that Workspace.from_config() reads, by default into this folder."""
    from airflow_provider_amlbatch.emulator.environment import config as content
    from airflow_provider_amlbatch.emulator.state import StateFolder

    path.write_text(json.dumps(content(StateFolder(state).open()), indent=2) + "\n")
    click.echo(f"Wrote {path}.")


def _served(state: Path) -> Served:
    from airflow_provider_amlbatch.emulator import server

    return server.require(state)


def _jobs(state: Path) -> list[RunFolder]:
    from airflow_provider_amlbatch.emulator.engine.folder import running_folders
    from airflow_provider_amlbatch.emulator.state import StateFolder

    return running_folders(StateFolder(state).runs)


def _again(command: str, state: Path) -> str:
    return shlex.join(["amlbatch", "emulator", *command.split(), "--state", str(state)])
