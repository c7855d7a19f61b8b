"""The detached process that executes one pipeline run: ``python -m ...engine.controller FOLDER``.

It inherits the lock of the folder and holds it by living. Everything that goes wrong ends in the report.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob, StepJob
from airflow_provider_amlbatch.emulator.engine.outcome import Execution, Outcome, StepFailure
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport, Progress, StepReport

#: Seconds between two looks at the request to cancel.
_TICK = 0.1
#: Seconds between two reports that differ only in their progress, and between two tries to write one.
_WRITE_INTERVAL = 0.5
#: Seconds for which the last report is tried to be written.
_LAST_WRITE_SECONDS = 60.0


class Board:
    """The report of the run, which several threads update and which is written when it changed.

    What cannot be written, because the disk is full for example, is tried again: no step ends for it.
    """

    def __init__(self, folder: RunFolder, report: PipelineReport) -> None:
        self._folder = folder
        self._report = report
        self._written: PipelineReport | None = None
        self._next_write = 0.0
        self._lock = threading.Lock()
        self._write()

    def step(self, step: StepReport) -> None:
        """Replace the state of a step. Progress alone is left for :meth:`refresh` to write."""
        with self._lock:
            before = self._report.steps[step.run_id]
            if before != step:
                self._report = self._report.with_step(step)
            if before.status is not step.status:
                self._write()

    def run(self, **changes: object) -> None:
        """Change the state of the run itself."""
        with self._lock:
            self._report = replace(self._report, **changes)  # type: ignore[arg-type]
            self._write()

    def refresh(self) -> None:
        """Write what was held back or could not be written, at most every half second."""
        with self._lock:
            if self._report is not self._written and time.monotonic() >= self._next_write:
                self._write()

    def close(self, seconds: float) -> None:
        """See to it that the report is written.

        :param seconds: how long to try.
        :raises OSError: if it cannot be written in this time; the run then reads as one that lost its controller.
        """
        deadline = time.monotonic() + seconds
        while self._report is not self._written:
            if time.monotonic() > deadline:
                raise OSError(f"The report of the run could not be written for {seconds:g} seconds.")
            time.sleep(_TICK)
            self.refresh()

    def __getitem__(self, run_id: str) -> StepReport:
        return self._report.steps[run_id]

    @property
    def report(self) -> PipelineReport:
        """The report as it is now."""
        return self._report

    def _write(self) -> None:
        self._next_write = time.monotonic() + _WRITE_INTERVAL
        try:
            self._folder.write_report(self._report)
        except OSError as error:
            _say(f"The report cannot be written and is tried again: {error}")
        else:
            self._written = self._report


class Controller:
    """Executes the steps of a run, those that do not depend on one another side by side."""

    def __init__(self, folder: RunFolder, job: PipelineJob, terminated: threading.Event) -> None:
        self._folder = folder
        self._job = job
        self._terminated = terminated
        self._stop = threading.Event()
        self._canceled = False
        self._threads: list[threading.Thread] = []
        self._finished = threading.Condition()
        steps = {step.run_id: StepReport(step.run_id) for step in job.steps}
        report = PipelineReport(job.run_id, RunStatus.RUNNING, start_time=time.time(), steps=steps)
        self._board = Board(folder, report)

    def run(self) -> None:
        """Execute the run to its end."""
        waiting = list(self._job.steps)
        while waiting or any(thread.is_alive() for thread in self._threads):
            self._watch_cancel()
            self._watch_failure()
            self._board.refresh()
            waiting = [step for step in waiting if not self._advance(step)]
            with self._finished:
                if all(thread.is_alive() for thread in self._threads) or not waiting:
                    self._finished.wait(_TICK)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._board.run(**self._end())
        self._board.close(_LAST_WRITE_SECONDS)

    def _watch_cancel(self) -> None:
        if not self._canceled and (self._terminated.is_set() or self._folder.is_cancel_requested):
            self._canceled = True
            self._stop.set()
            self._board.run(status=RunStatus.CANCEL_REQUESTED)

    def _watch_failure(self) -> None:
        # Inferred: without continue_on_step_failure, steps that are running when another fails are canceled too.
        if not self._job.continue_on_step_failure and self._failed_steps():
            self._stop.set()

    def _advance(self, step: StepJob) -> bool:
        """Start or skip a step that waits; false if it has to wait on."""
        before = [self._board[run_id].status for run_id in step.depends_on]
        if self._stop.is_set() or any(status in (RunStatus.FAILED, RunStatus.CANCELED) for status in before):
            self._board.step(StepReport(step.run_id, RunStatus.CANCELED, end_time=time.time()))
            return True
        if not all(status is RunStatus.COMPLETED for status in before):
            return False
        if step.reused_from is not None:
            now = time.time()
            self._board.step(StepReport(step.run_id, RunStatus.COMPLETED, start_time=now, end_time=now))
            return True
        thread = threading.Thread(target=self._execute, args=(step,), name=step.name)
        self._threads.append(thread)
        thread.start()
        return True

    def _execute(self, step: StepJob) -> None:
        started = StepReport(step.run_id, RunStatus.RUNNING, start_time=time.time())

        def publish(status: RunStatus, progress: Progress | None) -> None:
            self._board.step(replace(started, status=status, progress=progress))

        scratch = self._folder.scratch(step.run_id)
        try:
            self._board.step(started)
            scratch.mkdir(parents=True, exist_ok=True)
            outcome = _executor(step)(Execution(step, scratch, publish, self._stop))
        except StepFailure as failure:
            outcome = Outcome(RunStatus.FAILED, error_code="UserError", error_message=failure.reason)
        except BaseException as error:
            _say(traceback.format_exc())
            outcome = Outcome(
                RunStatus.FAILED, error_code="ServiceError", error_message=f"{type(error).__name__}: {error}"
            )
        shutil.rmtree(scratch, ignore_errors=True)  # the workers' folders may hold copies of models
        self._board.step(
            replace(
                self._board[step.run_id],
                status=outcome.status,
                end_time=time.time(),
                exit_code=outcome.exit_code,
                error_code=outcome.error_code,
                error_message=outcome.error_message,
            )
        )
        with self._finished:
            self._finished.notify()

    def _failed_steps(self) -> list[StepReport]:
        return [step for step in self._board.report.steps.values() if step.status is RunStatus.FAILED]

    def _end(self) -> dict[str, object]:
        failed = self._failed_steps()
        if failed:
            return {
                "status": RunStatus.FAILED,
                "end_time": time.time(),
                "error_code": failed[0].error_code,
                "error_message": failed[0].error_message,
            }
        unfinished = [step for step in self._board.report.steps.values() if not step.status.is_terminal]
        if unfinished:
            return {
                "status": RunStatus.FAILED,
                "end_time": time.time(),
                "error_code": "ServiceError",
                "error_message": f"The step {unfinished[0].run_id} has not been seen to end.",
            }
        canceled = any(step.status is RunStatus.CANCELED for step in self._board.report.steps.values())
        return {"status": RunStatus.CANCELED if canceled else RunStatus.COMPLETED, "end_time": time.time()}


def _say(text: str) -> None:
    """Write to the controller's own log, which may lie on the full disk that is to be told of."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _executor(step: StepJob) -> Callable[[Execution], Outcome]:
    """The module that executes this kind of step. A script step does not wait for the other's imports."""
    if step.parallel is not None:
        from airflow_provider_amlbatch.emulator.engine import parallel

        return parallel.execute
    from airflow_provider_amlbatch.emulator.engine import script

    return script.execute


def main(arguments: list[str]) -> int:
    """Execute the run of a folder.

    :param arguments: the folder.
    """
    folder = RunFolder(Path(arguments[0]))
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    try:
        Controller(folder, folder.read_job(), terminated).run()
    except BaseException as error:
        _say(traceback.format_exc())
        folder.write_report(_broken(folder.read_report(), f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _broken(report: PipelineReport, message: str) -> PipelineReport:
    """The report of a run that the controller itself could not go on with."""
    ended = time.time()
    steps = {
        run_id: step if step.status.is_terminal else replace(step, status=RunStatus.CANCELED, end_time=ended)
        for run_id, step in report.steps.items()
    }
    failed = replace(report, status=RunStatus.FAILED, end_time=ended, steps=steps)
    return replace(failed, error_code="ServiceError", error_message=message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
