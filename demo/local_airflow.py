"""Settings of an Airflow that lives in one folder, listens on this machine only and fits two cores."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOGIN = "admin"
#: What an Airflow consists of; the scheduler starts the workers.
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: Those that would serve logs to other machines, on all addresses. Here everybody reads them from the one disk.
_SERVING_LOGS = ("scheduler", "triggerer")


def environment(home: Path, extra: dict[str, str]) -> dict[str, str]:
    """The environment of every Airflow process of this home.

    :param home: Airflow's home folder; made if it does not exist.
    :param extra: further variables, such as the emulator's connection.
    """
    home.mkdir(parents=True, exist_ok=True)
    others = ("AIRFLOW", "AMLBATCH", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return inherited | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # One process writes at a time; by default the others give up after five seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        # SQLite locks up under the default of 32.
        "AIRFLOW__CORE__PARALLELISM": "4",
        # Airflow can fail a task whose trigger fires within this many seconds of its deferral.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        **extra,
    }


def server_environment(home: Path, port: int, extra: dict[str, str]) -> dict[str, str]:
    """The environment of an Airflow with an API server: that of :func:`environment`, an address and a login."""
    secrets_file = home / "secrets.json"
    env = environment(home, extra)
    if not secrets_file.exists():
        secrets_file.touch(0o600)
        secrets_file.write_text(json.dumps({"jwt": secrets.token_hex(32), "api": secrets.token_hex(32)}))
    known = json.loads(secrets_file.read_text())
    passwords = home / "passwords.json"
    if not passwords.exists():
        passwords.touch(0o600)
        passwords.write_text(json.dumps({LOGIN: secrets.token_urlsafe(9)}))
    return env | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": known["jwt"],
        "AIRFLOW__API__SECRET_KEY": known["api"],
        # Who may edit connections here may also press *Test*, which makes Airflow call what the connection names.
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }


def password(home: Path) -> str:
    """The password of :data:`LOGIN`."""
    return str(json.loads((home / "passwords.json").read_text())[LOGIN])


def command(part: str) -> list[str]:
    """The command line of one of :data:`PARTS`."""
    options = ["--skip-serve-logs"] if part in _SERVING_LOGS else []
    return [str(BIN / "airflow"), part, *options]


def migrate(env: dict[str, str], log: Path) -> None:
    """Bring the metadata database up to date.

    :raises RuntimeError: if Airflow could not.
    """
    with open(log, "ab") as output:
        if subprocess.run([str(BIN / "airflow"), "db", "migrate"], env=env, stdout=output, stderr=output).returncode:
            raise RuntimeError(f"Airflow could not prepare its database: see {log}.")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
