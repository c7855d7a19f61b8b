"""``make up``: the emulator and an Airflow beside it, until ``make down``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import emulated
import local_airflow

FOLDER = local_airflow.REPOSITORY / ".up"
STATE = FOLDER / "emulator"
HOME = FOLDER / "airflow"
LOG = FOLDER / "airflow.log"
PROCESS = FOLDER / "process.json"

#: Seconds until Airflow must answer.
PATIENCE = 120


def up() -> None:
    """Start both and print where they are."""
    if _running():
        raise RuntimeError("Airflow is up already: `make down` stops it.")
    FOLDER.mkdir(exist_ok=True)
    variables = emulated.start(STATE)
    port = local_airflow.free_port()
    env = local_airflow.server_environment(HOME, port, variables | _sample(variables))
    local_airflow.migrate(env, LOG)
    with open(LOG, "ab") as output:
        airflow = subprocess.Popen(
            [str(local_airflow.BIN / "airflow"), "standalone"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    PROCESS.write_text(json.dumps({"pid": airflow.pid, "port": port}))
    _wait(airflow, f"http://127.0.0.1:{port}/api/v2/monitor/health")
    print(f"Airflow    http://127.0.0.1:{port}   login {local_airflow.LOGIN} / {local_airflow.password(HOME)}")
    print(f"Emulator   {variables['ARM_CLOUD_METADATA_URL'].removesuffix('/metadata/endpoints')}")
    print("Try        open Airflow, choose the DAG batch_scoring and press Trigger")
    print("Stop       make down")


def down() -> None:
    """Stop what :func:`up` started, and nothing else."""
    process = _running()
    if process is not None:
        os.killpg(process, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while _running() is not None and time.monotonic() < deadline:
            time.sleep(0.2)
        if _running() is not None:
            os.killpg(process, signal.SIGKILL)
    PROCESS.unlink(missing_ok=True)
    if STATE.exists():
        emulated.stop(STATE)


def _sample(variables: dict[str, str]) -> dict[str, str]:
    folder = FOLDER / "sample"
    subprocess.run(
        [sys.executable, str(local_airflow.REPOSITORY / "demo" / "run.py"), "--prepare-only", str(folder)],
        env=local_airflow.environment(HOME, variables),
        check=True,
    )
    return {"AMLBATCH_DEMO": str(folder)}


def _running() -> int | None:
    if not PROCESS.exists():
        return None
    pid = int(json.loads(PROCESS.read_text())["pid"])
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return pid if b"airflow" in command else None  # the number may belong to another process by now


def _wait(airflow: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if airflow.poll() is not None:
            raise RuntimeError(f"Airflow ended with exit code {airflow.returncode}: see {LOG}.")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                health = json.load(answer)
            if all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor")):
                return
        except (urllib.error.URLError, OSError, KeyError, ValueError):
            pass
        time.sleep(0.5)
    raise RuntimeError(f"Airflow did not become healthy within {PATIENCE} seconds: see {LOG}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", action="store_true", help="stop what was started")
    try:
        down() if parser.parse_args().down else up()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
