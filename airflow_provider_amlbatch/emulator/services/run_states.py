"""What state a pipeline run and its steps are in: read from the report of the job folder whenever it is asked for."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport, Progress, StepReport

#: Reports of runs that ended do not change; so many of them are kept in memory.
_KEPT = 4096


@dataclass(frozen=True)
class State:
    """Status of a run, its times by this machine's clock, and its error."""

    status: RunStatus
    started: datetime | None = None
    ended: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    progress: Progress | None = None


class RunStates:
    """Reads the reports of job folders."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._on_end: Callable[[str, PipelineReport], None] = lambda *_: None
        self._on_step_end: Callable[[str, PipelineReport], None] = lambda *_: None
        #: How many steps of a run that goes on have completed and were told of.
        self._completed: dict[str, int] = {}
        self._ended: OrderedDict[str, PipelineReport] = OrderedDict()
        self._lock = threading.Lock()

    def when_ended(
        self,
        call: Callable[[str, PipelineReport], None],
        for_steps: Callable[[str, PipelineReport], None] = lambda *_: None,
    ) -> None:
        """Have something done once a run, or a step of it, is seen to have ended, before anybody is told.

        :param call: may be called again for the same run.
        :param for_steps: called while the run goes on, and may be called again for the same steps.
        """
        self._on_end = call
        self._on_step_end = for_steps

    def folder(self, run_id: str) -> RunFolder:
        """The job folder of a pipeline run."""
        return RunFolder(self._runs / run_id)

    def report(self, run_id: str) -> PipelineReport | None:
        """The report of a pipeline run; None before it was submitted.

        A run that waits for its cluster is Queued, and one that was asked to end is CancelRequested until it has.
        """
        with self._lock:
            ended = self._ended.get(run_id)
            if ended is not None:
                self._ended.move_to_end(run_id)
                return ended
        if self._is_waiting(run_id):
            return PipelineReport(run_id, RunStatus.QUEUED)
        folder = self.folder(run_id)
        try:
            report = folder.read_report()
        except FileNotFoundError:
            return None
        if report.status.is_terminal:
            self._on_end(run_id, report)
            self._keep(run_id, report)
            self._completed.pop(run_id, None)
            return report
        completed = sum(step.status is RunStatus.COMPLETED for step in report.steps.values())
        if completed > self._completed.get(run_id, 0):
            self._on_step_end(run_id, report)
            self._completed[run_id] = completed
        if folder.is_cancel_requested:
            return _canceling(report)
        if report.status is RunStatus.NOT_STARTED:
            return replace(report, status=RunStatus.PREPARING)
        return report

    def is_launched(self, run_id: str) -> bool:
        """Whether a controller was ever started for the run."""
        return self.folder(run_id).lock_file.exists()

    def _is_waiting(self, run_id: str) -> bool:
        # Thousands may wait, and are asked about together: their folders are not read, only looked at.
        try:
            with os.scandir(f"{self._runs}/{run_id}") as entries:
                names = {entry.name for entry in entries}
        except FileNotFoundError:
            return False
        return "job.json" in names and "lock" not in names and "cancel" not in names

    def pipeline(self, run_id: str) -> State:
        """State of a pipeline run."""
        report = self.report(run_id)
        return State(RunStatus.NOT_STARTED) if report is None else _state(report)

    def step(self, run_id: str, step_run_id: str) -> State:
        """State of a step of a pipeline run."""
        report = self.report(run_id)
        step = None if report is None else report.steps.get(step_run_id)
        return State(RunStatus.NOT_STARTED) if step is None else _state(step)

    def _keep(self, run_id: str, report: PipelineReport) -> None:
        with self._lock:
            self._ended[run_id] = report
            while len(self._ended) > _KEPT:
                self._ended.popitem(last=False)


def _canceling(report: PipelineReport) -> PipelineReport:
    steps = {
        run_id: step if step.status.is_terminal else replace(step, status=RunStatus.CANCEL_REQUESTED)
        for run_id, step in report.steps.items()
    }
    return replace(report, status=RunStatus.CANCEL_REQUESTED, steps=steps)


def _state(report: PipelineReport | StepReport) -> State:
    return State(
        status=report.status,
        started=_instant(report.start_time),
        ended=_instant(report.end_time),
        error_code=report.error_code,
        error_message=report.error_message,
        progress=report.progress if isinstance(report, StepReport) else None,
    )


def _instant(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
