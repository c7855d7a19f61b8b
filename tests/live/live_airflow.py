"""A whole Airflow on this machine: API server, scheduler with its workers, DAG processor and triggerer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests
from polling import wait_for

import local_airflow

DAGS = Path(__file__).parent / "dags"
#: Seconds until Airflow must be healthy.
STARTING = 120.0

#: So long, in seconds, may the supervisor of a task linger that has deferred, with Airflow's own settings.
HEARTBEAT = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"}
#: A test does not wait as long as a company for what died.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
}


class LiveAirflow:
    """Four processes over one home folder.

    :param home: Airflow's home folder.
    :param variables: what leads to the service.
    """

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self.home = home
        port = local_airflow.free_port()
        self._env = local_airflow.server_environment(home, port, variables | IMPATIENT | HEARTBEAT)
        self.url = f"http://127.0.0.1:{port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._http = requests.Session()
        self._http.trust_env = False

    # --- its processes ------------------------------------------------------------------------------------------

    def __enter__(self) -> LiveAirflow:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all parts and return when they are healthy."""
        local_airflow.migrate(self._env, self.home / "migrate.log")
        for part in local_airflow.PARTS:
            self.start_part(part)
        wait_for("healthy Airflow", self.is_healthy, STARTING)
        self._sign_in()

    def start_part(self, part: str, **settings: str) -> None:
        """Start a part that does not run.

        :param settings: variables that differ from those of the other parts.
        """
        with open(self.home / f"{part}.log", "ab") as log:
            self._processes[part] = subprocess.Popen(
                local_airflow.command(part),
                env=self._env | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_part(self, part: str) -> None:
        """Send SIGKILL to a part and to all that it started, as when its container dies."""
        self._end(self._processes.pop(part), signal.SIGKILL)

    def restart_part(self, part: str, **settings: str) -> None:
        """Stop a part in good order, start it again, and return when it is healthy."""
        self._end(self._processes.pop(part), signal.SIGTERM)
        self.start_part(part, **settings)
        wait_for(f"healthy Airflow after a restart of its {part}", self.is_healthy, STARTING)

    def stop(self) -> None:
        """End all parts."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + 5
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._processes.values():
            self._end(process, signal.SIGKILL)
        self._processes.clear()

    def kill_worker_process(self, pid: int) -> bool:
        """Send SIGKILL to a process below the scheduler, and to no other.

        :return: whether it was one. Airflow also knows the numbers of processes that have ended, which another may have
            by now.
        """
        with suppress(ProcessLookupError):
            if os.getsid(pid) == self._processes["scheduler"].pid:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    @contextmanager
    def paused(self, part: str) -> Iterator[None]:
        """Let a part stand still for a while: its connections stay open, and nobody answers."""
        self._signal(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(part, signal.SIGCONT)

    def is_healthy(self) -> bool:
        """Whether all parts live and say so."""
        for part, process in self._processes.items():
            assert process.poll() is None, f"The {part} ended with {process.returncode}: see {self.home}/{part}.log."
        try:
            health = self._http.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))
        except (requests.RequestException, KeyError):
            return False

    def cpu_seconds(self, part: str) -> float:
        """Processor time of a part and of what it started and still lives, in seconds."""
        total = 0.0
        for process in _session(self._processes[part].pid):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory(self) -> int:
        """Memory of all parts and of what they started, each shared page counted once, in bytes."""
        total = 0
        for part in self._processes.values():
            for process in _session(part.pid):
                with suppress(psutil.Error):
                    total += process.memory_full_info().pss
        return total

    def last_words(self) -> list[tuple[str, str]]:
        """The ends of the logs that tell most of a failure: of the newest tasks with an error, and of all parts."""
        failed = [log for log in (self.home / "logs").rglob("attempt=*.log*") if '"level":"error"' in log.read_text()]
        newest = sorted(failed, key=lambda log: log.stat().st_mtime)[-3:]
        logs = [*newest, *(self.home / f"{part}.log" for part in self._processes)]
        return [(str(log.relative_to(self.home)), "\n".join(log.read_text().splitlines()[-15:])) for log in logs]

    def _signal(self, part: str, number: signal.Signals) -> None:
        for process in _session(self._processes[part].pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _end(self, leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
        members = _session(leader.pid)
        if number is signal.SIGTERM:
            leader.terminate()
            with suppress(subprocess.TimeoutExpired):
                leader.wait(15)
            members = {*members, *_session(leader.pid)}
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        leader.wait(15)
        psutil.wait_procs(members, timeout=15)

    # --- its users ----------------------------------------------------------------------------------------------

    def _sign_in(self) -> None:
        login = {"username": local_airflow.LOGIN, "password": local_airflow.password(self.home)}
        token = self._http.post(f"{self.url}/auth/token", json=login, timeout=30).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the REST API, below ``/api/v2``."""
        answer = self._http.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.text else None

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until the DAG's file is known."""

        def is_known() -> bool:
            listed = self.api("GET", f"dags?dag_id_pattern={dag_id}")["dags"]
            return any(dag["dag_id"] == dag_id for dag in listed)

        wait_for(f"DAG {dag_id}", is_known)

    def pause_dag(self, dag_id: str, *, paused: bool) -> None:
        """Let the scheduler start runs of a DAG, or not."""
        self.wait_for_dag(dag_id)
        self.api("PATCH", f"dags/{dag_id}", {"is_paused": paused})

    def backfill(self, dag_id: str, first: str, last: str) -> None:
        """Have all runs made between two instants.

        By the command line and while nobody else writes: on SQLite Airflow refuses it otherwise.
        """
        self.pause_dag(dag_id, paused=False)
        others = [part for part in local_airflow.PARTS if part != "api-server"]
        for part in others:
            self._end(self._processes.pop(part), signal.SIGTERM)
        command = ["backfill", "create", "--dag-id", dag_id, "--from-date", first, "--to-date", last]
        done = subprocess.run(
            [str(local_airflow.BIN / "airflow"), *command], env=self._env, capture_output=True, text=True
        )
        for part in others:
            self.start_part(part)
        assert done.returncode == 0, done.stdout + done.stderr

    def asset_events(self, asset: str) -> list[dict[str, Any]]:
        """The events of an asset, oldest first."""
        address = f"{self.url}/api/v2/assets/events"
        query: dict[str, str | int] = {"name_pattern": asset, "order_by": "timestamp", "limit": 100}

        def look() -> requests.Response:
            answer = self._http.get(address, params=query, timeout=60)
            # Airflow 3.3.2 cannot answer while a DAG run that an event has made is not started.
            assert answer.ok or answer.status_code == 500, f"{answer.status_code} {answer.text}"
            return answer

        events: list[dict[str, Any]] = wait_for(f"events of {asset}", look).json()["asset_events"]
        return events

    def states_of_runs(self, dag_id: str) -> list[str]:
        """States of a DAG's runs."""
        states: list[str] = []
        while True:
            page = self.api("GET", f"dags/{dag_id}/dagRuns?limit=100&offset={len(states)}")
            states += [run["state"] for run in page["dag_runs"]]
            if len(states) >= page["total_entries"] or not page["dag_runs"]:
                return states

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> DagRun:
        """Start a DAG run, as soon as its file is known."""
        self.wait_for_dag(dag_id)
        made = self.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return DagRun(self, dag_id, made["dag_run_id"])


class DagRun:
    """A DAG run whose task of interest is called ``invoke``."""

    def __init__(self, airflow: LiveAirflow, dag_id: str, run_id: str) -> None:
        self.airflow = airflow
        self.dag_id = dag_id
        self.run_id = run_id
        self._path = f"dags/{dag_id}/dagRuns/{run_id}"
        self._logs = airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / "task_id=invoke"

    @property
    def state(self) -> str:
        """State of the DAG run."""
        return str(self.airflow.api("GET", self._path)["state"])

    @property
    def task(self) -> dict[str, Any]:
        """The task instance as the REST API describes it."""
        described: dict[str, Any] = self.airflow.api("GET", f"{self._path}/taskInstances/invoke")
        return described

    @property
    def result(self) -> Any:
        """What the task returned."""
        return self.airflow.api("GET", f"{self._path}/taskInstances/invoke/xcomEntries/return_value")["value"]

    def tasks(self) -> list[dict[str, Any]]:
        """All mapped instances of the task."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.airflow.api("GET", f"{self._path}/taskInstances?limit=100&offset={len(found)}")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return [task for task in found if task["task_id"] == "invoke"]

    def count_tasks(self, state: str) -> int:
        """How many mapped instances of the task are in a state."""
        page = self.airflow.api("GET", f"{self._path}/taskInstances/invoke/listMapped?state={state}&limit=1")
        return int(page["total_entries"])

    def wait_for_state(self, *states: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until the task is in one of the states, and return it."""

        def look() -> dict[str, Any] | None:
            task = self.task
            return task if task["state"] in states else None

        return wait_for(f"task of {self.dag_id} that is {' or '.join(states)}", look, seconds)

    def wait_for_end(self, seconds: float = 180.0) -> str:
        """Wait until the DAG run is over, and return its state."""

        def look() -> str | None:
            state = self.state
            return state if state in ("success", "failed") else None

        return wait_for(f"end of {self.dag_id}", look, seconds)

    def kill_task(self) -> None:
        """Send SIGKILL to the task's process."""
        assert self.airflow.kill_worker_process(int(self.task["pid"])), "The task has no process."

    def clear(self) -> None:
        """Clear the task, as a person does who wants it done again."""
        body = {"dry_run": False, "only_failed": False, "reset_dag_runs": True, "dag_run_id": self.run_id}
        self.airflow.api("POST", f"dags/{self.dag_id}/clearTaskInstances", body)

    def mark_failed(self) -> None:
        """Mark the task as failed, as a person does who wants it to end."""
        self.airflow.api("PATCH", f"{self._path}/taskInstances/invoke", {"new_state": "failed"})

    def mark_run_failed(self) -> None:
        """Mark the whole DAG run as failed, as a person does who wants all of it to end."""
        self.airflow.api("PATCH", self._path, {"state": "failed"})

    def is_watched(self, attempt: int = 1) -> bool:
        """Whether the trigger of a deferred try runs: before, no triggerer could notice that the task is killed."""
        return any(self._logs.glob(f"attempt={attempt}.log.trigger.*"))

    def log(self, attempt: int = 1) -> str:
        """What a try of the task has logged so far."""
        try:
            return (self._logs / f"attempt={attempt}.log").read_text()
        except FileNotFoundError:
            return ""


def _session(leader: int) -> set[psutil.Process]:
    """All processes of the session that a process began, which may itself be gone."""
    found = set()
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader:
                found.add(process)
    return found
