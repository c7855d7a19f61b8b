"""Start and stop the emulator the way a user does: through ``amlbatch emulator``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from local_airflow import BIN


def _amlbatch(*arguments: str) -> str:
    done = subprocess.run([str(BIN / "amlbatch"), "emulator", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"amlbatch emulator {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def start(state: Path) -> dict[str, str]:
    """Start the emulator over a state folder and return the variables that lead to it."""
    _amlbatch("start", "--state", str(state))
    return environment(state)


def environment(state: Path) -> dict[str, str]:
    """The variables that lead the SDK and Airflow to a running emulator."""
    variables: dict[str, str] = json.loads(_amlbatch("env", "--state", str(state), "--json"))
    return variables


def stop(state: Path) -> None:
    """Stop the emulator of a state folder."""
    _amlbatch("stop", "--state", str(state))
