"""Test your Azure ML batch code without Azure: a pytest fixture that serves an emulator.

Installed with the ``emulator`` extra, the plugin needs no import::

    def test_my_pipeline(emulator):
        done = run_sdk("from azureml.core import Workspace; print(Workspace.from_config().name)", emulator.environment)
        assert done.stdout.strip() == "emulator"

    def test_my_dag(emulator, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_amlbatch.aml.sdk_python import sdk_python

if TYPE_CHECKING:  # the plugin is imported by every pytest run, so nothing heavy comes with it
    import requests

    from airflow_provider_amlbatch.emulator.clock import Clock
    from airflow_provider_amlbatch.emulator.emulator import Emulator


@dataclass(frozen=True)
class ServedEmulator:
    """An emulator that is being served.

    ``url`` is its address, ``root`` its state folder, ``environment`` the variables that the Azure ML SDK and Airflow
    need, ``services`` the emulator itself.
    """

    url: str
    root: Path
    environment: dict[str, str] = field(repr=False)
    services: Emulator = field(repr=False)

    @property
    def connection_json(self) -> str:
        """The Airflow connection, for ``AIRFLOW_CONN_<ID>``."""
        return self.environment["AIRFLOW_CONN_AZUREML_DEFAULT"]

    @property
    def ca_bundle(self) -> str:
        """Path of the certificates to trust."""
        return self.environment["REQUESTS_CA_BUNDLE"]

    @property
    def clock(self) -> Clock:
        """Time as the services see it: freeze or shift it, and let it run again afterwards."""
        return self.services.clock

    @property
    def scope(self) -> str:
        """The workspace's resource id, as it stands in every path."""
        return self.services.identity.scope

    def token(self, audience: str = "https://management.core.windows.net/") -> str:
        """Sign an access token for the emulator's one user."""
        return self.services.tokens.issue(audience)

    def session(self) -> requests.Session:
        """Make an HTTP session that trusts the emulator and is signed in."""
        import requests

        session = requests.Session()
        session.trust_env = False
        session.verify = self.ca_bundle
        session.headers["Authorization"] = f"Bearer {self.token()}"
        return session


@contextmanager
def serving(root: Path, clock: Clock | None = None, *, keep_jobs: bool = False) -> Iterator[ServedEmulator]:
    """Serve an emulator over a folder for as long as the context lasts.

    :param clock: time as the services see it; by default this machine's.
    :param keep_jobs: let jobs go on that are running at the end, for a test of a restart; by default they are canceled
        and waited for.
    """
    from airflow_provider_amlbatch.emulator.server import running

    with running(root, clock, keep_jobs=keep_jobs) as (served, services):
        yield ServedEmulator(served.url, root, served.environment(root), services)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEmulator]:
    """One emulator for the whole session, whose running jobs are canceled at its end.

    Use :func:`serving` for a test that needs one of its own.
    """
    with serving(tmp_path_factory.mktemp("emulator")) as served:
        yield served


def run_sdk(
    script: str, env: Mapping[str, str], *, cwd: Path | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run Python code that uses the Azure ML SDK in a process of its own, with a home directory of its own.

    The SDK reads its environment when it is imported and keeps caches in the home directory, so it is not imported
    into the test's process. ``config.json`` for ``Workspace.from_config()`` lies in the working directory meanwhile;
    one of your own is put back afterwards.

    :param env: variables of the emulator, such as ``emulator.environment``.
    :param cwd: working directory; by default an empty one.
    :param timeout: in seconds.
    :raises AssertionError: if the script fails, with what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="sdk-") as home:
        folder = cwd if cwd is not None else Path(home) / "work"
        folder.mkdir(exist_ok=True)
        config = {
            "subscription_id": env["AZUREML_SUBSCRIPTION_ID"],
            "resource_group": env["AZUREML_RESOURCE_GROUP"],
            "workspace_name": env["AZUREML_WORKSPACE_NAME"],
        }
        with _for_a_while(folder / "config.json", json.dumps(config)):
            done = subprocess.run(
                [sdk_python() or sys.executable, "-c", script],
                env={**os.environ, **env, "HOME": home},
                cwd=folder,
                timeout=timeout,
                capture_output=True,
                text=True,
                check=False,
            )
    if done.returncode != 0:
        raise AssertionError(f"The script ended with {done.returncode}.\n{done.stdout}\n{done.stderr}")
    return done


@contextmanager
def _for_a_while(file: Path, text: str) -> Iterator[None]:
    before = file.read_bytes() if file.exists() else None
    file.write_text(text)
    try:
        yield
    finally:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(before)
