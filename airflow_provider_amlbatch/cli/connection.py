"""The connection that a command speaks over."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from airflow_provider_amlbatch.aml.errors import AzureMLBatchError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION, ConnectionSettings

if TYPE_CHECKING:
    from airflow_provider_amlbatch.aml.session import Session

P = ParamSpec("P")
R = TypeVar("R")

conn_id_option = click.option(
    "--conn-id",
    default=DEFAULT_CONNECTION,
    show_default=True,
    help="Connection to the workspace: the variable AIRFLOW_CONN_<ID> if it is set, otherwise Airflow's connection.",
)


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Tell what goes wrong in one line."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except AzureMLBatchError as error:
            raise click.ClickException(str(error)) from None

    return run


def session_of(conn_id: str) -> Session:
    """Open a session over a connection."""
    from airflow_provider_amlbatch.aml.session import Session

    return Session(settings_of(conn_id))


def settings_of(conn_id: str) -> ConnectionSettings:
    """Read a connection. Airflow, which takes seconds to import, is asked only if the environment does not tell.

    :raises click.ClickException: if there is no such connection.
    """
    if not re.fullmatch(r"[\w.-]+", conn_id):
        raise click.BadParameter(f"{conn_id!r} is no connection id.", param_hint="--conn-id")
    told = os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}", "")
    if told.lstrip().startswith("{"):
        return ConnectionSettings.from_json(conn_id, told)
    return _from_airflow(conn_id)


def _from_airflow(conn_id: str) -> ConnectionSettings:
    try:
        from airflow.models.connection import Connection
        from airflow.providers.common.compat.sdk import AirflowException
    except ImportError:
        raise click.ClickException(
            f"There is no connection {conn_id!r}: set AIRFLOW_CONN_{conn_id.upper()} to its JSON form."
        ) from None
    try:
        found = Connection.get_connection_from_secrets(conn_id)
    except AirflowException:
        raise click.ClickException(
            f"There is no connection {conn_id!r}: set AIRFLOW_CONN_{conn_id.upper()}, or add it to Airflow."
        ) from None
    return ConnectionSettings.from_fields(conn_id, found.login, found.password, found.extra_dejson)
