"""Executing a script step: one process, in a copy of the snapshot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine import environment
from airflow_provider_amlbatch.emulator.engine.logs import open_driver_log
from airflow_provider_amlbatch.emulator.engine.outcome import Execution, Outcome, StepFailure

#: Seconds between two looks at the process, the request to stop and the time limit.
_TICK = 0.05


def execute(execution: Execution) -> Outcome:
    """Execute a script step to its end."""
    step = execution.step
    artifacts = Path(step.artifacts)
    folder = execution.scratch / "source"
    shutil.copytree(step.source, folder, dirs_exist_ok=True)
    for output in step.outputs:
        Path(output.path).mkdir(parents=True, exist_ok=True)
    for name in ("outputs", "logs"):
        _link(folder / name, artifacts / name)
    for name, target in step.links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).symlink_to(target)
        except FileExistsError:
            raise StepFailure(f"path_on_compute={name!r} is a file or folder of the snapshot.") from None
    process = _start(execution, folder, artifacts)
    try:
        with _mourned(process):
            return _wait(execution, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
        process.wait()


def _start(execution: Execution, folder: Path, artifacts: Path) -> subprocess.Popen[bytes]:
    step = execution.step
    assert step.script is not None
    command = [step.interpreter, step.script, *environment.arguments(step)]
    with open_driver_log(artifacts, "std_log.txt") as log:
        process = subprocess.Popen(
            environment.launch_command(command, environment.View.of(step)),
            cwd=folder,
            env={"PYTHONUNBUFFERED": "1", **environment.variables(step)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    execution.publish(RunStatus.RUNNING, None)
    return process


@contextmanager
def _mourned(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have what the script started killed when this process is.

    The script itself dies with this process by its own request; its children made none.
    """
    command = ["sh", "-c", f"read -r _; kill -KILL -{process.pid}"]  # nothing is ever written for it to read
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    ) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _wait(execution: Execution, process: subprocess.Popen[bytes]) -> Outcome:
    step, started = execution.step, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=_TICK)
            return _outcome(execution, code)
        if execution.stop.is_set():
            return Outcome(RunStatus.CANCELED)
        if step.timeout is not None and time.monotonic() - started > step.timeout:
            # Inferred: the step reads as failed.
            return Outcome(
                RunStatus.FAILED,
                error_code="UserError",
                error_message=f"The step did not end within its timeout of {step.timeout:g} seconds.",
            )


def _outcome(execution: Execution, code: int) -> Outcome:
    if code == 0:
        return Outcome(RunStatus.COMPLETED, exit_code=0)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    log = Path(execution.step.artifacts, "azureml-logs", "70_driver_log.txt")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f" Its last line: {lines[-1].strip()}" if lines else ""
    return Outcome(
        RunStatus.FAILED,
        exit_code=code,
        error_code="UserError",
        error_message=f"The script {execution.step.script} {how}.{last}",
    )


def _link(name: Path, target: Path) -> None:
    """Let the script write ``outputs/`` and ``logs/``, which the service keeps, straight into the artifacts."""
    target.mkdir(parents=True, exist_ok=True)
    if name.is_dir():
        shutil.copytree(name, target, dirs_exist_ok=True)
        shutil.rmtree(name)
    name.symlink_to(target)
