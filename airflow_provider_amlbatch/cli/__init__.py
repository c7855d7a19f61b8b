"""``amlbatch``: the command line of the provider, a module per group of commands."""

from __future__ import annotations

import click

from airflow_provider_amlbatch import __version__
from airflow_provider_amlbatch.cli.emulator import emulator
from airflow_provider_amlbatch.cli.results import results
from airflow_provider_amlbatch.cli.schedules import schedules


@click.group()
@click.version_option(__version__, prog_name="amlbatch")
def main() -> None:
    """Azure ML batch inference: the emulator, and what runs and schedules are doing."""


main.add_command(emulator)
main.add_command(results)
main.add_command(schedules)
