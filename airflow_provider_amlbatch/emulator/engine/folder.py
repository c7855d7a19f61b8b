"""The job folder: the one class that names its files, and the only way in which service and controller speak.

``job.json`` is written by the service before the launch, ``cancel`` by the service at any time, ``report.json`` by the
controller. The controller holds ``lock`` while it lives; the launcher takes the lock before the file gets its name, and
hands it over, so there is no moment at which a launched run looks dead. A run whose lock is free and whose report is
not final has lost its controller: it reads as Failed at once, and nobody has to notice or to write it down.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport, StepReport

CONTROLLER = "airflow_provider_amlbatch.emulator.engine.controller"

#: What the reading of a file raises that was not written to its end.
_UNREADABLE = (ValueError, TypeError, KeyError)


class AlreadyLaunchedError(RuntimeError):
    """Raised when a controller was already started for the job folder."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one pipeline run."""

    path: Path

    @property
    def job_file(self) -> Path:
        """What is to be done. Holds a run token, so only its owner may read it."""
        return self.path / "job.json"

    @property
    def report_file(self) -> Path:
        """What has happened; replaced as a whole, so a reader never sees half of it."""
        return self.path / "report.json"

    @property
    def cancel_file(self) -> Path:
        """Present when somebody asked for the end of the run."""
        return self.path / "cancel"

    @property
    def lock_file(self) -> Path:
        """Held by the living controller."""
        return self.path / "lock"

    @property
    def log_file(self) -> Path:
        """Standard output and error of the controller itself."""
        return self.path / "controller.log"

    def scratch(self, step_run_id: str) -> Path:
        """The folder in which a step's workers live and leave their temporary files."""
        return self.path / "steps" / step_run_id

    def create(self, job: PipelineJob) -> None:
        """Write the job and an initial report."""
        self.path.mkdir(parents=True, exist_ok=True)
        steps = {step.run_id: StepReport(step.run_id) for step in job.steps}
        self.write_report(PipelineReport(job.run_id, steps=steps))
        _replace(self.job_file, json.dumps(job.to_json()), mode=0o600)

    def read_job(self) -> PipelineJob:
        """Read the job."""
        return PipelineJob.from_json(json.loads(self.job_file.read_text()))

    def write_report(self, report: PipelineReport) -> None:
        """Replace the report."""
        _replace(self.report_file, json.dumps(report.to_json()))

    def read_report(self) -> PipelineReport:
        """Read the state of the run, which includes whether its controller still lives."""
        # In this order: a lock file is held from its first moment, and a controller writes its last report before it
        # lets go.
        launched = self.lock_file.exists()
        alive = self.has_controller()
        text = self.report_file.read_bytes()
        ended = self.report_file.stat().st_mtime
        try:
            report = PipelineReport.from_json(json.loads(text))
        except _UNREADABLE:  # the machine lost its power while the file was on its way to the disk
            if alive:
                raise
            return _lost_controller(self._unknown_report(), ended)
        if alive or report.status.is_terminal or not launched:
            return report
        return _lost_controller(report, ended)

    def _unknown_report(self) -> PipelineReport:
        """A report of steps of which is not known how far they came."""
        try:
            steps = {step.run_id: StepReport(step.run_id, RunStatus.RUNNING) for step in self.read_job().steps}
        except (FileNotFoundError, *_UNREADABLE):
            steps = {}
        return PipelineReport(self.path.name, RunStatus.RUNNING, steps=steps)

    def cancel(self) -> None:
        """Ask for the end of the run."""
        self.cancel_file.touch()

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the end of the run was asked for."""
        return self.cancel_file.exists()

    def has_controller(self) -> bool:
        """Whether a controller holds the folder now."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two readers do not take each other for one
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def launch(self) -> int:
        """Start a detached controller for the folder and return its process id.

        :raises AlreadyLaunchedError: if one was started before.
        """
        with self._locked() as descriptor, open(self.log_file, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", CONTROLLER, str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[descriptor],  # the lock belongs to the open file, so the child keeps it
                start_new_session=True,
            )
        return process.pid

    @contextmanager
    def _locked(self) -> Iterator[int]:
        unnamed = self.path / f".lock.{os.getpid()}.{time.monotonic_ns()}"
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # nobody else knows the file yet, so no reader can be in the way
            os.link(unnamed, self.lock_file)
            yield descriptor
        except FileExistsError:
            raise AlreadyLaunchedError(f"{self.path} already had a controller") from None
        finally:
            unnamed.unlink()
            os.close(descriptor)


def running_folders(runs: Path) -> list[RunFolder]:
    """Find the job folders below a folder that a controller holds now."""
    found = [RunFolder(path) for path in sorted(runs.iterdir())] if runs.is_dir() else []
    return [folder for folder in found if folder.has_controller()]


def end_runs(folders: list[RunFolder], seconds: float) -> bool:
    """Ask for the end of runs, and wait for the end of their controllers.

    :returns: whether all have ended within that time.
    """
    for folder in folders:
        folder.cancel()
    deadline = time.monotonic() + seconds
    while any(folder.has_controller() for folder in folders):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
        beside.replace(path)
    finally:  # on a full disk, nothing is left of it
        beside.unlink(missing_ok=True)


def _lost_controller(report: PipelineReport, ended: float) -> PipelineReport:
    message = "The process that executed this run ended without a report: it was killed, or the machine was restarted."

    def end(step: StepReport) -> StepReport:
        if step.status.is_terminal:
            return step
        if step.status is RunStatus.NOT_STARTED:
            return replace(step, status=RunStatus.CANCELED, end_time=ended)
        return replace(
            step, status=RunStatus.FAILED, end_time=ended, error_code="ControllerLost", error_message=message
        )

    return replace(
        report,
        status=RunStatus.FAILED,
        end_time=ended,
        error_code="ControllerLost",
        error_message=message,
        steps={run_id: end(step) for run_id, step in report.steps.items()},
    )
