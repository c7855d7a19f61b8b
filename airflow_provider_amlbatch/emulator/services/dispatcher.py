"""Starts queued runs as their clusters have room. It knows nothing that is not in the store or in a job folder.

So a server that was stopped, or killed, picks up where it was: runs in progress go on without it, and are found again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.services.run_states import RunStates
from airflow_provider_amlbatch.emulator.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at what is going on.
_INTERVAL = 0.5


class QueueEntry(Camel):
    """A submitted run that has not been seen to end.

    :param nodes: the nodes that it takes of each cluster.
    """

    run_id: str
    nodes: dict[str, int]


class Dispatcher:
    """A queue in order of submission, and the thread that works it off."""

    def __init__(
        self,
        store: Store,
        states: RunStates,
        capacity: Callable[[str], int],
        chores: list[Callable[[], None]],
        finish: Callable[[str, PipelineReport], None],
    ) -> None:
        """Take what the dispatcher works with.

        :param capacity: nodes that a cluster has at most.
        :param chores: called at every look, such as the firing of schedules.
        :param finish: called when a run has ended, before anybody is told; once, unless it fails.
        """
        self._store = store
        self._states = states
        self._capacity = capacity
        self._chores = chores
        self._finish = finish
        self._queue = store.collection("queue", QueueEntry)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to launch runs."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop launching runs; those in progress go on."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    def enqueue(self, run_id: str, nodes: dict[str, int]) -> None:
        """Put a run at the end of the queue."""
        self._queue.put(run_id, QueueEntry(run_id=run_id, nodes=nodes))

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run. One that waits for its cluster ends at once."""
        folder = self._states.folder(run_id)
        with self._lock:
            report = self._states.report(run_id)
            if report is None or report.status.is_terminal:
                return
            folder.cancel()
            if not self._states.is_launched(run_id):
                folder.write_report(_canceled(folder.read_report()))
        self.wake()

    def ended(self, run_id: str, report: PipelineReport) -> None:
        """Take a run that has ended off the queue, and do what is to be done after a run."""
        if self._queue.get(run_id) is None:
            return
        with self._store.transaction():
            if not self._queue.delete(run_id):
                return
            try:
                self._finish(run_id, report)
            except Exception:  # whoever asks for the status must get it all the same
                log.exception("What follows the run %s could not be done", run_id)

    def tick(self) -> None:
        """Look at every run in the queue once, and launch those that fit."""
        used: Counter[str] = Counter()
        waiting: list[QueueEntry] = []
        for entry in self._queue.find():
            try:
                self._look(entry, used, waiting)
            except Exception:  # one bad run must not stop all others
                log.exception("The run %s could not be looked at", entry.run_id)
                used.update(entry.nodes)  # it may be going on
        blocked: set[str] = set()
        for entry in waiting:
            # A cluster serves its queue in order: a small run does not overtake a large one.
            if blocked.isdisjoint(entry.nodes) and all(
                used[name] + nodes <= self._room(name, nodes) for name, nodes in entry.nodes.items()
            ):
                try:
                    self._launch(entry)
                except Exception:
                    log.exception("The run %s could not be launched", entry.run_id)
                else:
                    used.update(entry.nodes)
            else:
                blocked.update(entry.nodes)

    def _look(self, entry: QueueEntry, used: Counter[str], waiting: list[QueueEntry]) -> None:
        report = self._states.report(entry.run_id)
        if report is None:
            self._queue.delete(entry.run_id)
        elif report.status.is_terminal:
            self.ended(entry.run_id, report)
        elif self._states.is_launched(entry.run_id):
            used.update(entry.nodes)
        elif self._states.folder(entry.run_id).is_cancel_requested:
            self.cancel(entry.run_id)  # the server was killed between asking for the end and writing it down
        else:
            waiting.append(entry)

    def _room(self, name: str, nodes: int) -> int:
        try:
            return self._capacity(name)
        except NotFound:
            return nodes  # the cluster was deleted after the submission; what it had accepted may run, one by one

    def _launch(self, entry: QueueEntry) -> None:
        folder = self._states.folder(entry.run_id)
        with self._lock:
            if not folder.is_cancel_requested:
                folder.launch()

    def _work(self) -> None:
        while not self._stopping.is_set():
            for chore in (*self._chores, self.tick):
                try:
                    chore()
                except Exception:  # one bad schedule or run must not stop all others
                    log.exception("The dispatcher could not do %s", chore)
            self._wake.wait(_INTERVAL)
            self._wake.clear()


def _canceled(report: PipelineReport) -> PipelineReport:
    now = time.time()
    steps = {run_id: replace(step, status=RunStatus.CANCELED, end_time=now) for run_id, step in report.steps.items()}
    return replace(report, status=RunStatus.CANCELED, end_time=now, steps=steps)
