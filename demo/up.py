"""``make up``: the emulator and an Airflow beside it, until ``make down``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

import psutil

import emulated
import local_airflow
import sample

FOLDER = local_airflow.REPOSITORY / ".up"
STATE = FOLDER / "emulator"
HOME = FOLDER / "airflow"
LOG = FOLDER / "airflow.log"
SESSION = FOLDER / "session.json"

#: Seconds until Airflow must answer.
PATIENCE = 120


def up() -> None:
    """Start both and print where they are."""
    if _processes():
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
    leader = psutil.Process(airflow.pid)
    SESSION.write_text(json.dumps({"leader": leader.pid, "created": leader.create_time()}))
    _wait(airflow, f"http://127.0.0.1:{port}/api/v2/monitor/health")
    print(f"Airflow    http://127.0.0.1:{port}   login {local_airflow.LOGIN} / {local_airflow.password(HOME)}")
    print(f"Emulator   {variables['ARM_CLOUD_METADATA_URL'].removesuffix('/metadata/endpoints')}")
    print("Try        open Airflow, choose the DAG batch_scoring and press Trigger")
    print("Stop       make down")


def down() -> None:
    """Stop what :func:`up` started, and nothing else."""
    processes = _processes()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=20)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    if STATE.exists():
        emulated.stop(STATE)


def _sample(variables: dict[str, str]) -> dict[str, str]:
    folder = FOLDER / "sample"
    sample.prepare(folder, local_airflow.environment(HOME, variables))
    return {"AMLBATCH_DEMO": str(folder)}


def _processes() -> list[psutil.Process]:
    """Find every process of the session that :func:`up` began, also where its leader is gone."""
    if not SESSION.exists():
        return []
    known = json.loads(SESSION.read_text())
    with suppress(psutil.NoSuchProcess):
        if psutil.Process(known["leader"]).create_time() != known["created"]:
            return []  # the number was given to another process, which happens only when all of ours are gone
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == known["leader"]:
                found.append(process)
    return found


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
