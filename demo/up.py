"""``make up``: the emulator, filled, and an Airflow beside it, until ``make down``."""

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

import emulated
import local_airflow

FOLDER = local_airflow.REPOSITORY / ".up"
STATE = FOLDER / "emulator"
HOME = FOLDER / "airflow"
SAMPLE = FOLDER / "sample"
#: Tells what was started: Airflow's address, and number and time of the process that leads each part.
SESSION = FOLDER / "session.json"
#: Written once the workspace is filled: the instant from which the DAGs that follow something look.
SEEDED = FOLDER / "seeded"

#: Seconds until Airflow must answer.
PATIENCE = 120


def up() -> None:
    """Start both, unless they run already, and print where they are."""
    session = _session()
    if session is None or not all(_leads(*leader) for leader in session["parts"].values()):
        down()  # of a session that has lost a part, the rest
        session = _start()
    _wait(session)
    _tell(session["url"])


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
    SESSION.unlink(missing_ok=True)
    if STATE.exists():
        emulated.stop(STATE)


def _start() -> dict[str, Any]:
    HOME.mkdir(parents=True, exist_ok=True)
    parts: dict[str, tuple[int, float]] = {}
    try:
        variables = emulated.start(STATE)
        variables |= {"AMLBATCH_DEMO": str(SAMPLE), "AIRFLOW_VAR_RESULTS": str(FOLDER / "results")}
        variables |= {"AMLBATCH_SINCE": _seed(variables)}
        port = local_airflow.free_port()
        env = local_airflow.server_environment(HOME, port, variables)
        local_airflow.migrate(env, HOME / "migrate.log")
        session = {"url": f"http://127.0.0.1:{port}", "parts": parts}
        for part in local_airflow.PARTS:
            parts[part] = _start_part(part, env)
            SESSION.write_text(json.dumps(session))
    except BaseException:  # also when the user interrupts it: nothing half started is left
        down()
        raise
    return session


def _start_part(part: str, env: dict[str, str]) -> tuple[int, float]:
    """Start a part of Airflow and return the number of its process and when that was made."""
    with open(_log(part), "ab") as output:
        process = subprocess.Popen(
            local_airflow.command(part),
            env=env,
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return process.pid, psutil.Process(process.pid).create_time()


def _seed(variables: dict[str, str]) -> str:
    """Fill the workspace if that was not done yet, and return when it was."""
    if not SEEDED.exists():
        print("Filling the workspace and preparing Airflow (half a minute, once)", flush=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        command = [sys.executable, str(local_airflow.REPOSITORY / "demo" / "seed.py"), str(SAMPLE)]
        env = local_airflow.environment(HOME, variables)
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"The workspace could not be filled.\n{done.stderr}")
        SEEDED.write_text(now)
    return SEEDED.read_text()


def _tell(url: str) -> None:
    emulator = emulated.environment(STATE)["ARM_CLOUD_METADATA_URL"].removesuffix("/metadata/endpoints")
    shown = STATE.relative_to(local_airflow.REPOSITORY)
    print(f"Airflow    {url}   login {local_airflow.LOGIN} / {local_airflow.password(HOME)}")
    print(f"Emulator   {emulator}/studio   (its certificate is its own: let the browser go on)")
    print("There is   the model breast-cancer, 285 files to score, the pipeline endpoint score-patients, and the")
    print("           schedules score-patients (every quarter of an hour) and score-arrivals (for new files)")
    print("Try        the DAG scoring_on_demand: press Trigger, choose a threshold, and follow the link of its task")
    print("           invoke; then notify_on_failure, which fails, and the log of its task invoke")
    print(f'Shell      eval "$(.venv/bin/amlbatch emulator env --state {shown})" leads the SDK to the workspace')
    print("Stop       make down")


def _session() -> dict[str, Any] | None:
    return json.loads(SESSION.read_text()) if SESSION.exists() else None


def _leads(pid: int, created: float) -> bool:
    """Whether the process lives, and its number was not given to another one."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _processes() -> list[psutil.Process]:
    """Find every process that the parts consist of, also of a part whose first process is gone."""
    session = _session()
    if session is None:
        return []
    # A number is not given to another process before all of its session are gone, unless the machine was restarted.
    leaders = {
        pid
        for pid, created in session["parts"].values()
        if created >= psutil.boot_time() and (_leads(pid, created) or not psutil.pid_exists(pid))
    }
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) in leaders:
                found.append(process)
    return found


def _wait(session: dict[str, Any]) -> None:
    """Return when all parts are healthy."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for part, leader in session["parts"].items():
            if not _leads(*leader):
                raise RuntimeError(f"Airflow's {part} has ended: see {_log(part)}.")
        with suppress(urllib.error.URLError, OSError, KeyError, ValueError):
            with urllib.request.urlopen(f"{session['url']}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
            if all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor")):
                return
        time.sleep(0.5)
    raise RuntimeError(f"Airflow did not become healthy within {PATIENCE} seconds: see the logs in {HOME}.")


def _log(part: str) -> Path:
    return HOME / f"{part}.log"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", action="store_true", help="stop what was started")
    try:
        down() if parser.parse_args().down else up()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
