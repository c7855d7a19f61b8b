"""The SDK's ``Workspace`` for a connection.

The SDK reads its cloud, its certificates and its telemetry switch from environment variables, some of them when it is
imported. They are set here before that, and put back when the work is done.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml.auth import Tokens
from airflow_provider_amlbatch.aml.errors import redact
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk.errors import SdkError

if TYPE_CHECKING:
    from azureml.core import Workspace

log = logging.getLogger(__name__)

_NEEDED = "azureml-core, azureml-pipeline-core and azureml-pipeline-steps"


@contextmanager
def opened(session: Session) -> Iterator[Workspace]:
    """Open the workspace of a session for the SDK, for the duration of a block.

    While the block runs, what the SDK prints goes to the log, and the SDK's own errors become :class:`SdkError`.

    :param session: gives the settings, the cloud and the identity.
    :raises SdkError: if the SDK is missing, knows another cloud, or refuses.
    """
    with _variables(_environment(session)), _unchanged_path(), redirect_stdout(_LogStream()):
        _import_sdk(session)
        from azureml.core import Workspace
        from azureml.exceptions import AzureMLException

        settings = session.settings
        try:
            yield Workspace(
                settings.subscription_id,
                settings.resource_group,
                settings.workspace_name,
                auth=_authentication(session),
            )
        except AzureMLException as error:
            raise SdkError(redact(_sentence(error))) from None


def _authentication(session: Session) -> Any:
    from azureml.core.authentication import TokenAuthentication

    tokens = Tokens(session.credential, time.time)
    return TokenAuthentication(
        get_token_for_audience=lambda audience: tokens.get(f"{audience.rstrip('/')}/.default"),
        cloud=session.cloud.name,
    )


def _environment(session: Session) -> dict[str, str | None]:
    settings = session.settings
    variables: dict[str, str | None] = {
        "ARM_CLOUD_METADATA_URL": settings.metadata_url,
        "AZUREML_CURRENT_CLOUD": session.cloud.name,
        "HBI_WORKSPACE_JOB": "true",  # no telemetry
    }
    if settings.ca_bundle is not None:
        # The first is for Python's clients, the second for urllib and for the SDK's native data access.
        variables |= {"REQUESTS_CA_BUNDLE": settings.ca_bundle, "SSL_CERT_FILE": settings.ca_bundle}
    return variables


def _import_sdk(session: Session) -> None:
    """Import the SDK, with a configuration folder of its own where the cloud is not one of Microsoft's.

    It keeps a list of clouds in that folder and never refreshes it. The variable is put back at once, because the
    Azure CLI finds its login through it.
    """
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder:
        private = {"AZURE_CONFIG_DIR": folder} if session.settings.metadata_url else {}
        try:
            with _variables(private):
                import azureml.core
                import azureml.pipeline.steps  # noqa: F401
                from azureml._vendor.azure_cli_core.cloud import KNOWN_CLOUDS
        except ImportError as error:
            raise SdkError(
                f"The Azure ML SDK cannot be imported ({error}). Install {_NEEDED}, "
                "or name an interpreter that has them with sdk_python= or AMLBATCH_SDK_PYTHON."
            ) from None
    wanted = session.cloud
    logging.getLogger("azureml").setLevel(logging.WARNING)
    managers = {str(cloud.name): str(cloud.endpoints.resource_manager).rstrip("/") for cloud in KNOWN_CLOUDS}
    known = managers.get(wanted.name)
    if known != wanted.resource_manager:
        raise SdkError(
            f"In this process the Azure ML SDK was imported for the cloud at {known}, but connection "
            f"{session.settings.conn_id!r} needs {wanted.resource_manager}. Name an interpreter with sdk_python=: it "
            "works in a process of its own."
        )


@contextmanager
def _variables(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables for the duration of a block; None unsets."""
    before = {name: os.environ.get(name) for name in values}
    _put(values)
    try:
        yield
    finally:
        _put(before)


def _put(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _unchanged_path() -> Iterator[None]:
    """Undo what the SDK does to ``sys.path``: it puts the folder of the scoring script first."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def _sentence(error: Exception) -> str:
    message = getattr(error, "message", None) or str(error)
    return f"The Azure ML SDK refused ({type(error).__name__}): {' '.join(str(message).split())}"


class _LogStream(io.TextIOBase):
    """Turns what the SDK prints into debug lines; what matters is logged by whoever called it."""

    def __init__(self) -> None:
        self._rest = ""

    def writable(self) -> bool:
        """Whether one may write: yes."""
        return True

    def write(self, text: str) -> int:
        """Take text, and log every line that is complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                log.debug("%s", redact(line.rstrip()))
        return len(text)
