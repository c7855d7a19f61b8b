"""What the commands of ``amlbatch emulator`` share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import platformdirs

P = ParamSpec("P")
R = TypeVar("R")

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
    default=lambda: platformdirs.user_data_path("amlbatch") / "emulator",
    help="Folder that holds everything the emulator keeps. Default: a folder below your data directory.",
)


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the emulator's own refusals into one line and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            from airflow_provider_amlbatch.emulator.server import ServerError
            from airflow_provider_amlbatch.emulator.state import StateError
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"The emulator needs {error.name!r}: pip install 'airflow-provider-amlbatch[emulator]'."
            ) from None
        try:
            return command(*args, **kwargs)
        except (ServerError, StateError) as error:
            raise click.ClickException(str(error)) from None

    return run
