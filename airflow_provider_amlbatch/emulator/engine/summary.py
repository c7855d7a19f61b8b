"""What the logs say of a parallel step as a whole: progress, the first error, the tables and the final summary."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, NamedTuple

from airflow_provider_amlbatch.emulator.engine.ledger import Ledger
from airflow_provider_amlbatch.emulator.engine.logs import StepLogs
from airflow_provider_amlbatch.emulator.engine.pool import Worker

#: Seconds between two progress lines.
_INTERVAL = 10.0


class _WorkerRow(NamedTuple):
    node: int
    name: str
    processed: int
    failures: int
    busy_seconds: float


def _row(worker: Worker) -> _WorkerRow:
    return _WorkerRow(
        worker.plan.node, worker.plan.name, worker.processed, worker.failures, round(worker.busy_seconds, 3)
    )


class Summary:
    """Tells the story of one step to its logs.

    :param machine_interval: seconds between two looks at the machine; 0 for none.
    """

    def __init__(self, name: str, logs: StepLogs, machine_interval: float) -> None:
        self._name = name
        self._logs = logs
        self._machine_interval = machine_interval
        self._started = time.monotonic()
        self._next_line = self._started + _INTERVAL
        self._next_look = self._started
        self._said_scheduled = False
        self._workers: list[Worker] = []
        # A long job may go through thousands of processes: of those that ended only their line is kept.
        self._ended: list[_WorkerRow] = []
        self._first_traceback: str | None = None
        #: The last line of the first traceback: what a user wants to read first.
        self.first_error: str | None = None

    def worker_started(self, worker: Worker) -> None:
        """Take note of a new worker."""
        self._workers.append(worker)
        self._logs.master(f"Started {worker.plan.name} on node {worker.plan.node}, process id {worker.process.pid}.")

    def worker_ended(self, worker: Worker, why: str) -> None:
        """Take note of a worker's end."""
        self._workers.remove(worker)
        self._ended.append(_row(worker))
        self._logs.master(f"{worker.plan.name} on node {worker.plan.node} ended: {why}")

    def error(self, worker: Worker, what: str, error: dict[str, Any]) -> None:
        """Write down an error of the entry script, or of the process that it ran in.

        :param error: ``type``, ``message`` and ``traceback``.
        """
        message = f"{error['type']}: {error['message']}"
        first_line = message.split("\n", 1)[0]
        if self.first_error is None:
            self.first_error, self._first_traceback = first_line, error["traceback"]
        self._logs.error(str(worker.plan.node), worker.plan.name, what, first_line, error["traceback"])

    def tick(self, ledger: Ledger) -> None:
        """Write a progress line, and one on the machine, if it is time for one."""
        if self._machine_interval and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + self._machine_interval
            self._logs.performance()
        if ledger.scheduling_finished and not self._said_scheduled:
            self._said_scheduled = True
            items = f" with {ledger.scheduled_items} items" if ledger.scheduled_items else ""
            self._logs.progress(
                f"Scheduling finished. Scheduled {ledger.created} mini batches in {self._seconds:.0f} seconds. "
                f"There are {ledger.created} tasks{items}."
            )
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _INTERVAL
            self._progress_line(ledger)

    def end(self, ledger: Ledger, status: str, reason: str | None) -> None:
        """Write the tables and the final summary."""
        self._progress_line(ledger)
        self._tables()
        progress = ledger.progress()
        lines = [
            f"The parallel step {self._name} ended as {status} after {timedelta(seconds=round(self._seconds))}.",
            f"Mini-batches: {progress.processed_mini_batches} of {progress.total_mini_batches} processed, "
            f"{progress.failed_mini_batches} failed.",
            f"Items: {progress.succeeded_items} of {progress.total_items} succeeded, {progress.failed_items} failed.",
            f"Rows returned: {progress.rows}.",
        ]
        if reason is not None:
            lines.append(f"Reason: {reason}")
        if self.first_error is not None:
            lines += [
                f"First error of the entry script: {self.first_error}",
                "",
                (self._first_traceback or "").rstrip(),
            ]
        self._logs.result("\n".join(lines) + "\n")
        for line in lines[:4]:
            self._logs.driver(line)
        if status == "Failed":
            self._tell_failure(reason)

    def _tell_failure(self, reason: str | None) -> None:
        self._logs.driver(f"The job failed. {reason}")
        if self._first_traceback is not None:
            self._logs.driver("The first error of the entry script:")
            self._logs.raw(self._first_traceback)
        self._logs.raw("SystemExit: 42")

    def _progress_line(self, ledger: Ledger) -> None:
        done, total, seconds = ledger.processed, ledger.created, self._seconds
        remaining = timedelta(seconds=round(seconds / done * (total - done))) if done else "unknown"
        self._logs.progress(
            f"Processed {done} of {total} mini batches in {timedelta(seconds=round(seconds))}. "
            f"Estimated remaining time {remaining}."
        )

    def _tables(self) -> None:
        rows = sorted([*self._ended, *map(_row, self._workers)])
        columns = ["processed", "failed_tries", "busy_seconds"]
        self._logs.table("process_summary", ["node", "process", *columns], [list(row) for row in rows])
        nodes: dict[int, list[_WorkerRow]] = {}
        for row in rows:
            nodes.setdefault(row.node, []).append(row)
        sums = [
            [
                node,
                len(members),
                sum(member.processed for member in members),
                sum(member.failures for member in members),
                round(sum(member.busy_seconds for member in members), 3),
            ]
            for node, members in nodes.items()
        ]
        self._logs.table("node_summary", ["node", "processes", *columns], sums)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started
