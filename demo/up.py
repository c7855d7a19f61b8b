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

#: Seconds until Airflow must answer.
PATIENCE = 120


class Up:
    """An emulator and an Airflow that share nothing with others.

    :param folder: everything that they keep.
    """

    def __init__(self, folder: Path) -> None:
        self.state = folder / "emulator"
        self.home = folder / "airflow"
        self._folder = folder
        #: Tells what was started: Airflow's address, and number and time of the process that leads each part.
        self._session_file = folder / "session.json"
        #: Written once the workspace is filled: the instant from which the DAGs that follow something look.
        self._seeded = folder / "seeded"

    @property
    def url(self) -> str:
        """Airflow's address."""
        return str(self._session()["url"])

    @property
    def password(self) -> str:
        """What the user ``admin`` signs in with."""
        return local_airflow.password(self.home)

    def start(self) -> None:
        """Start both, unless they run already, and return when they are healthy."""
        parts = self._session()["parts"]
        if not parts or not all(_leads(*leader) for leader in parts.values()):
            self.stop()  # what is left when one of them has died
            try:
                self._start()
            except BaseException:  # also when a person interrupts it: nothing is left half started
                self.stop()
                raise
        self._wait()

    def stop(self) -> None:
        """Stop what :meth:`start` started, and nothing else."""
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(processes, timeout=20)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        self._session_file.unlink(missing_ok=True)
        if self.state.exists():
            emulated.stop(self.state)

    def processes(self) -> list[psutil.Process]:
        """Find every process that Airflow consists of, also of a part whose first process is gone."""
        # A number is not given to another process before all of its session are gone, unless the machine was restarted.
        leaders = {
            pid
            for pid, created in self._session()["parts"].values()
            if created >= psutil.boot_time() and (_leads(pid, created) or not psutil.pid_exists(pid))
        }
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if os.getsid(process.pid) in leaders:
                    found.append(process)
        return found

    def _session(self) -> dict[str, Any]:
        session: dict[str, Any] = {"url": "", "parts": {}}
        return session | json.loads(self._session_file.read_text()) if self._session_file.exists() else session

    def _start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        variables = emulated.start(self.state)
        variables |= {
            "AMLBATCH_DEMO": str(self._folder / "sample"),
            "AMLBATCH_SINCE": self._seed(variables),
            "AIRFLOW_VAR_RESULTS": str(self._folder / "results"),
        }
        port = local_airflow.free_port()
        env = local_airflow.server_environment(self.home, port, variables)
        local_airflow.migrate(env, self.home / "migrate.log")
        parts: dict[str, tuple[int, float]] = {}
        for part in local_airflow.PARTS:
            parts[part] = self._start_part(part, env)
            self._session_file.write_text(json.dumps({"url": f"http://127.0.0.1:{port}", "parts": parts}))

    def _start_part(self, part: str, env: dict[str, str]) -> tuple[int, float]:
        """Start a part of Airflow and return the number of its process and when that was made."""
        with open(self._log(part), "ab") as output:
            process = subprocess.Popen(
                local_airflow.command(part),
                env=env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return process.pid, psutil.Process(process.pid).create_time()

    def _seed(self, variables: dict[str, str]) -> str:
        """Fill the workspace if that was not done yet, and return when it was."""
        if not self._seeded.exists():
            print("Filling the workspace and preparing Airflow (half a minute, once)", flush=True)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            script = local_airflow.REPOSITORY / "demo" / "seed.py"
            done = subprocess.run(
                [sys.executable, str(script), str(self._folder / "sample")],
                env=local_airflow.environment(self.home, variables),
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"The workspace could not be filled.\n{done.stderr}")
            self._seeded.write_text(now)
        return self._seeded.read_text()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for part, leader in self._session()["parts"].items():
                if not _leads(*leader):
                    raise RuntimeError(f"Airflow's {part} has ended: see {self._log(part)}.")
            with suppress(urllib.error.URLError, OSError, KeyError, ValueError):
                with urllib.request.urlopen(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:
                    health = json.load(answer)
                if all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor")):
                    return
            time.sleep(0.5)
        raise RuntimeError(f"Airflow did not become healthy within {PATIENCE} seconds: see the logs in {self.home}.")

    def _log(self, part: str) -> Path:
        return self.home / f"{part}.log"


def _leads(pid: int, created: float) -> bool:
    """Whether the process lives, and its number was not given to another one."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tell(up: Up) -> None:
    """Print where everything is, and what to try."""
    emulator = emulated.environment(up.state)["ARM_CLOUD_METADATA_URL"].removesuffix("/metadata/endpoints")
    print(f"Airflow    {up.url}   login {local_airflow.LOGIN} / {up.password}")
    print(f"Emulator   {emulator}/studio   (its certificate is its own: let the browser go on)")
    print("There is   the model breast-cancer, 285 files to score, the pipeline endpoint score-patients, and the")
    print("           schedules score-patients (every quarter of an hour) and score-arrivals (for new files)")
    print("Try        the DAG scoring_on_demand: press Trigger, choose a threshold, and follow the link of its task")
    print("           score.invoke; then notify_on_failure, which fails, and the log of its task score.invoke")
    print(f'Shell      eval "$({local_airflow.BIN}/amlbatch emulator env --state {up.state})" leads the SDK there')
    print("Stop       make down")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", action="store_true", help="stop what was started")
    up = Up(local_airflow.REPOSITORY / ".up")
    try:
        if parser.parse_args().down:
            up.stop()
            print("Nothing runs any more. make up goes on with what lies in .up; without that folder it begins anew.")
        else:
            up.start()
            tell(up)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
