"""Executing a parallel step: workers are kept alive, mini-batches handed out, answers counted, until a rule ends it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine import mini_batches
from airflow_provider_amlbatch.emulator.engine.delivery import Delivery
from airflow_provider_amlbatch.emulator.engine.job import Input, ParallelSettings
from airflow_provider_amlbatch.emulator.engine.ledger import Ledger
from airflow_provider_amlbatch.emulator.engine.logs import MiniBatchRow, StepLogs
from airflow_provider_amlbatch.emulator.engine.mini_batches import Queue, Task
from airflow_provider_amlbatch.emulator.engine.outcome import (
    GENERIC_FAILURE,
    Execution,
    Outcome,
    StepCanceled,
    StepFailure,
)
from airflow_provider_amlbatch.emulator.engine.output import collate
from airflow_provider_amlbatch.emulator.engine.plans import Planner
from airflow_provider_amlbatch.emulator.engine.pool import Pool, State, Worker
from airflow_provider_amlbatch.emulator.engine.staff import Staff
from airflow_provider_amlbatch.emulator.engine.summary import Summary

#: Seconds between two looks at everything that is not an answer of a worker.
_TICK = 0.1
#: The same while mini-batches are still being cut, which nothing announces.
_FAST_TICK = 0.005
#: Seconds between two checks of thresholds that count mini-batches waiting for a retry. Azure looks every few seconds.
_RETRYING_CHECK_INTERVAL = 2.0
#: A worker that failed at more mini-batches than this is replaced.
_FAILURES_OF_A_WORKER = 10


def execute(execution: Execution) -> Outcome:
    """Execute a parallel step to its end."""
    settings = execution.step.parallel
    assert settings is not None
    logs = StepLogs(Path(execution.step.artifacts))
    try:
        return _ParallelStep(execution, settings, logs).run()
    finally:
        logs.close()


class _ParallelStep:
    def __init__(self, execution: Execution, settings: ParallelSettings, logs: StepLogs) -> None:
        self._execution = execution
        self._settings = settings
        self._logs = logs
        self._ledger = Ledger(settings)
        self._summary = Summary(execution.step.name, logs, settings.resource_monitor_interval)
        self._pool = Pool()
        self._files: dict[Path, int] = {}
        self._started = self._last_progress = time.monotonic()
        self._next_tick = 0.0
        self._status = RunStatus.RUNNING
        self._queue = Queue(execution.scratch / "mini_batches")
        self._next_retrying_check = self._started + _RETRYING_CHECK_INTERVAL
        self._limit = settings.run_invocation_timeout + settings.task_overhead_timeout

    def run(self) -> Outcome:
        """Run until a rule ends the step."""
        self._logs.driver(f"Starting the parallel step {self._execution.step.name}.")
        try:
            self._prepare()
            self._loop()
            self._finish()
        except StepCanceled:
            self._summary.end(self._ledger, "Canceled", None)
            return Outcome(RunStatus.CANCELED)
        except StepFailure as failure:
            return self._fail(str(failure))
        finally:
            self._pool.close()
            self._queue.close()
            self._publish()
        self._summary.end(self._ledger, "Completed", None)
        return Outcome(RunStatus.COMPLETED, exit_code=0)

    def _fail(self, reason: str) -> Outcome:
        self._summary.end(self._ledger, "Failed", reason)
        first = self._summary.first_error
        message = f"{GENERIC_FAILURE} Reason: {reason}" + (
            f" First error of the entry script: {first}" if first else ""
        )
        return Outcome(RunStatus.FAILED, exit_code=42, error_code="UserError", error_message=message)

    # --- before -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        step = self._execution.step
        by_name = {source.name: source for source in step.inputs}
        if missing := [name for name in self._settings.input_names if name not in by_name]:
            raise StepFailure(f"The step has no input named {missing[0]!r}.")
        inputs: list[Input] = [by_name[name] for name in self._settings.input_names]
        for output in step.outputs:
            Path(output.path).mkdir(parents=True, exist_ok=True)
        self._planner = Planner(step, self._settings, inputs, self._execution.scratch, self._queue.path)
        if self._settings.output_action == "append_row" and self._planner.output is None:
            raise StepFailure(
                f"append_row needs an output, and the step has none named {self._settings.output_name!r}."
            )
        self._staff = Staff(
            self._pool,
            self._planner,
            self._summary,
            self._logs,
            3 * self._settings.run_invocation_timeout + self._settings.task_overhead_timeout,
        )
        self._delivery = Delivery(self._queue, self._settings.at_least_once, seed=step.run_id)
        pieces = mini_batches.cut(inputs, self._settings)
        threading.Thread(target=self._queue.fill, args=(pieces,), name="scheduling", daemon=True).start()

    # --- while --------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._is_done:
            scheduling = not self._queue.finished
            if time.monotonic() >= self._next_tick:
                self._next_tick = time.monotonic() + (_FAST_TICK if scheduling else _TICK)
                self._tick()
            self._hand_out()
            for worker, event in self._pool.poll(_FAST_TICK if scheduling else _TICK):
                self._handle(worker, event)

    @property
    def _is_done(self) -> bool:
        if self._queue.error is not None or not self._delivery.is_empty:
            return False
        return all(worker.task is None for worker in self._pool.workers)

    def _tick(self) -> None:
        if self._execution.stop.is_set():
            raise StepCanceled
        if self._queue.error is not None:
            raise StepFailure(f"Scheduling failed: {self._queue.error}")
        self._take_stock()
        self._check_time()
        now = time.monotonic()
        if now >= self._next_retrying_check:
            self._next_retrying_check = now + _RETRYING_CHECK_INTERVAL
            self._check_threshold(with_retrying=True)
        self._staff.hire(self._ledger.created - self._ledger.processed)
        self._publish()
        self._logs.flush()

    def _publish(self) -> None:
        self._execution.publish(self._status, self._ledger.progress())

    def _take_stock(self) -> None:
        finished = self._queue.finished  # looked at before the counts, which may still grow
        if self._queue.created > self._ledger.created:
            self._last_progress = time.monotonic()
        self._ledger.schedule(self._queue.created, self._queue.items, finished)
        self._summary.tick(self._ledger)

    def _check_time(self) -> None:
        settings, now = self._settings, time.monotonic()
        timeout = self._execution.step.timeout
        if timeout is not None and now - self._started > timeout:
            # Inferred: the step reads as failed.
            raise StepFailure(f"The step did not end within its timeout of {timeout:g} seconds.")
        patience = settings.first_task_creation_timeout
        if self._ledger.created == 0 and not self._ledger.scheduling_finished and now - self._started > patience:
            raise StepFailure(f"No mini-batch was created in first_task_creation_timeout={patience:g} seconds.")
        # Inferred: what counts as progress is a mini-batch that is created or answered, and an init() that is done.
        patience = settings.progress_update_timeout or 3 * self._limit
        if now - self._last_progress > patience:
            raise StepFailure(f"No progress update in {patience:g} seconds.")

    def _check_threshold(self, with_retrying: bool) -> None:
        if breach := self._ledger.breach(with_retrying):
            raise StepFailure(breach)

    # --- workers ------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        now = time.monotonic()
        for worker in self._pool.workers:
            if worker.state is not State.IDLE or worker.rest_until > now:
                continue
            task = self._delivery.take()
            if task is None:
                return
            self._pool.give(worker, task, self._limit)

    def _handle(self, worker: Worker, event: dict[str, Any]) -> None:
        match event["event"]:
            case "done":
                self._done(worker, event)
            case "read":
                worker.task_total = event["total"]
            case "failed":
                self._failed(worker, event)
            case "ready":
                worker.state = State.IDLE
                self._staff.is_ready(worker)
                self._last_progress = time.monotonic()
            case "init_failed":
                self._init_failed(worker, event["error"])
                worker.state = State.STOPPING
            case "shutdown_failed":
                self._summary.error(worker, "shutdown()", event["error"])
            case "expired":
                self._lost(worker, *self._expiry(worker))
            case "exited":
                self._lost(worker, "ProcessExited", _exit_text(event["exit_code"]))

    def _expiry(self, worker: Worker) -> tuple[str, str]:
        if worker.state is State.BUSY:
            settings = self._settings
            return (
                "Timeout",
                f"run() did not return within run_invocation_timeout={settings.run_invocation_timeout:g} seconds and "
                f"the allowance of {settings.task_overhead_timeout:g}; the process was killed.",
            )
        function = "init()" if worker.state is State.STARTING else "shutdown()"
        return "Timeout", f"{function} did not return in time; the process was killed."

    def _lost(self, worker: Worker, kind: str, text: str) -> None:
        """A worker is gone, by itself or killed: what it was doing decides what that means."""
        self._summary.worker_ended(worker, text)
        self._next_tick = 0.0  # another takes its place now
        tail = _tail(worker.plan.stderr)
        message = f"{text} It last wrote: {tail.splitlines()[-1]}" if tail else text
        error = {"type": kind, "message": message, "traceback": f"{text}\n{tail}"}
        if worker.state is State.BUSY and worker.task is not None:
            elapsed = time.monotonic() - worker.task_start
            event = {"total": worker.task_total, "elapsed": elapsed, "process": 0.0, "run": elapsed, "error": error}
            self._try_failed(worker, worker.task, event)
        elif worker.state is State.STARTING:
            self._init_failed(worker, error)

    def _init_failed(self, worker: Worker, error: dict[str, Any]) -> None:
        self._summary.error(worker, "init()", error)
        self._staff.has_failed_to_start(worker)

    # --- answers ------------------------------------------------------------------------------------------------

    def _done(self, worker: Worker, event: dict[str, Any]) -> None:
        task = self._free(worker, event)
        self._ledger.rows += event["rows"]
        if not self._delivery.succeeded(task):
            return
        if task.tries > 1:
            self._ledger.retrying -= 1
        succeeded = self._ledger.succeed(event["total"], event["returned"], task.total is not None)
        if event["returned"] > event["total"]:
            self._logs.master(
                f"Mini-batch {task.index}: run() returned {event['returned']} elements for {event['total']} items; "
                f"they count as {succeeded}."
            )
        self._report(worker, task, event, succeeded, "Succeeded")
        if succeeded < event["total"]:
            self._check_threshold(with_retrying=False)

    def _failed(self, worker: Worker, event: dict[str, Any]) -> None:
        task = self._free(worker, event)
        worker.failures += 1
        code = event["error"].get("code")
        self._try_failed(worker, task, event)
        if code == "Retry.StopProcess":
            self._staff.give_up_place(worker)
        if code in ("Retry.StopProcess", "Retry.RestartProcess") or worker.failures > _FAILURES_OF_A_WORKER:
            self._pool.stop(worker, self._limit)
        elif code == "Retry.Sleep":
            worker.rest_until = time.monotonic() + event["error"]["delay"]

    def _free(self, worker: Worker, event: dict[str, Any]) -> Task:
        task = worker.task
        assert task is not None
        worker.task, worker.state = None, State.IDLE
        worker.processed += 1
        worker.busy_seconds += event["elapsed"]
        if "length" in event:
            self._files[Path(worker.plan.config["temporary_file"])] = event["length"]
        self._last_progress = time.monotonic()
        return task

    def _try_failed(self, worker: Worker, task: Task, event: dict[str, Any]) -> None:
        worker.task = None
        self._last_progress = time.monotonic()
        if task.is_duplicate:
            return
        error, tries = event["error"], self._settings.run_max_try
        self._summary.error(worker, f"mini-batch {task.index}, try {task.tries} of {tries},", error)
        if task.tries < tries and error.get("code") != "Retry.NoRetry":
            self._ledger.retrying += 1 if task.tries == 1 else 0
            self._delivery.retry(task)
            return
        self._ledger.retrying -= 1 if task.tries > 1 else 0
        # Inferred: rows that could not even be read are at least one, or error_threshold=0 would let them pass.
        event["total"] = max(event["total"], 1)
        self._ledger.fail(event["total"], task.total is not None)
        self._report(worker, task, event, 0, "Failed")
        self._check_threshold(with_retrying=False)

    def _report(self, worker: Worker, task: Task, event: dict[str, Any], succeeded: int, status: str) -> None:
        error = event.get("error")
        started = time.time() - event["elapsed"]
        self._logs.mini_batch(
            MiniBatchRow(
                mini_batch_id=task.index,
                picked_count=task.tries,
                process=f"{worker.plan.node}/{worker.plan.name}",
                start_time=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(started)),
                total=event["total"],
                succeeded=succeeded,
                failed=event["total"] - succeeded,
                elapsed_seconds=round(event["elapsed"], 6),
                process_seconds=round(event["process"], 6),
                run_method_seconds=round(event["run"], 6),
                status=status,
                error_category=error["type"] if error else "",
                error_message=error["message"] if error else "",
                error_detail=error["traceback"] if error else "",
            )
        )

    # --- after --------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._take_stock()
        self._check_threshold(with_retrying=False)
        self._status = RunStatus.FINALIZING
        self._publish()
        self._dismiss()
        if self._settings.output_action != "append_row":
            return
        if self._ledger.succeeded_items == 0:
            raise StepFailure(
                "There is no succeeded mini batch item returned from run(). "
                "Please check 'response: run()' in https://aka.ms/batch-inference-documentation"
            )
        assert self._planner.output is not None
        target = Path(self._planner.output.path, self._settings.append_row_file_name)
        collate(self._files, target, self._settings.lose_every)

    def _dismiss(self) -> None:
        """Let the workers call ``shutdown()``. Inferred: it may take as long as ``run()``."""
        for worker in list(self._pool.workers):
            if worker.state is State.IDLE:
                self._pool.stop(worker, self._limit)
            elif worker.state is State.STARTING:
                self._pool.kill(worker)  # it never got anything to do
        while self._pool.workers:
            if self._execution.stop.is_set():
                raise StepCanceled
            for worker, event in self._pool.poll(_TICK):
                self._handle(worker, event)


def _exit_text(code: int | None) -> str:
    if code is None:
        return "The worker process closed its channel to the engine."
    if code < 0:
        return f"The worker process was killed by {signal.Signals(-code).name}."
    return f"The worker process ended with exit code {code}."


def _tail(path: Path) -> str:
    """The end of what a process wrote to standard error."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 4096))
        return file.read().decode("utf-8", "replace").strip()
