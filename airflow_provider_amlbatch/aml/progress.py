"""How far a run has got, for those who wait for it: a line for each change, at a cost that does not grow with them."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from airflow_provider_amlbatch.aml import artifact, metrics
from airflow_provider_amlbatch.aml.errors import AzureMLBatchError
from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.aml.outputs import step_runs
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.words import counted

log = logging.getLogger(__name__)

#: Seconds between two reads, whoever they are for: thousands who wait cost no more than a few.
READ_GAP = 5.0
#: Seconds between two reads for one run, at least.
SHORTEST_INTERVAL = 10.0

_OVERVIEW = "logs/job_progress_overview"
_FAILED_ITEMS = "Failed Items"
_TAIL_BYTES = 4096
_SCHEDULED = re.compile(r"Scheduled (\d+) mini batches")
_PROCESSED = re.compile(r"Processed (\d+) of (\d+) mini batches in \S+?\. Estimated remaining time (\S+?)\.?(?:\s|$)")
_DURATION = re.compile(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d)(?:\.\d+)?")


@dataclass(frozen=True)
class StepProgress:
    """How far a parallel step has got.

    :param total: mini-batches that are known so far; the number may still grow.
    :param failed_items: None where the service does not tell.
    :param remaining: the job's own estimate.
    """

    processed: int
    total: int
    failed_items: int | None = None
    remaining: timedelta | None = None

    def __str__(self) -> str:
        text = f"{self.processed:,} of {counted(self.total, 'mini-batch')}"
        if self.failed_items:
            text += f", {counted(self.failed_items, 'item')} failed"
        if self.remaining and self.processed < self.total:
            text += f", about {_spoken(self.remaining)} left"
        return text


def parse_overview(text: str) -> StepProgress | None:
    """Read the latest line of a job's progress overview; None if there is none that says how far it got."""
    processed = list(_PROCESSED.finditer(text))
    if processed:
        done, total, remaining = processed[-1].groups()
        return StepProgress(int(done), int(total), remaining=_duration(remaining))
    scheduled = list(_SCHEDULED.finditer(text))
    return StepProgress(0, int(scheduled[-1][1])) if scheduled else None


def read_progress(session: Session, run_id: str) -> str | None:
    """Say how far the steps of a run have got that execute now; None if nothing can be said."""
    lines = [f"Step {step.name!r}: {progress}" for step, progress in _of_steps(session, run_id)]
    return "; ".join(lines) or None


def _of_steps(session: Session, run_id: str) -> Iterator[tuple[Run, StepProgress]]:
    for step in step_runs(session, run_id):
        if not step.run_status.is_executing or step.data_container_id is None:
            continue
        # A job starts a new overview each day; their names sort by time.
        found = sorted(session.pages(artifact.list_contents(step.data_container_id, _OVERVIEW)), key=lambda f: f.path)
        if not found:
            continue
        tail = session.download(found[-1].content_uri, last_bytes=_TAIL_BYTES).decode(errors="replace")
        if progress := parse_overview(tail):
            yield step, _with_failures(session, step.run_id, progress)


def _with_failures(session: Session, step_run_id: str, progress: StepProgress) -> StepProgress:
    try:
        metric = session.send(metrics.get_metric(step_run_id, _FAILED_ITEMS))
    except AzureMLBatchError:
        return progress  # a job that has not posted it yet
    values = [number for value in metric.value or [] for number in (value.data or {}).values()]
    failed = int(values[-1]) if values and isinstance(values[-1], int | float) else None
    return StepProgress(progress.processed, progress.total, failed, progress.remaining)


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _spoken(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(eq=False)
class _Listener:
    run_id: str
    interval: float
    due: float
    tell: Callable[[str], None]
    still_waits: Callable[[], bool]
    told: str | None = None


class ProgressReader:
    """Tells those who wait how far their runs have got, one after the other.

    :param open_session: gives the session; called in the reader's own thread.
    :param clock: seconds that never go back.
    """

    def __init__(self, open_session: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_session = open_session
        self._clock = clock
        self._listeners: list[_Listener] = []
        self._not_before = 0.0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read in a thread, for as long as somebody listens."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="amlbatch-progress-reader", daemon=True)
                self._thread.start()

    def add(
        self, run_id: str, poll_interval: float, tell: Callable[[str], None], still_waits: Callable[[], bool]
    ) -> None:
        """Enlist a listener.

        :param tell: takes a line; called in the reader's thread.
        :param still_waits: asked before each read.
        """
        interval = max(SHORTEST_INTERVAL, poll_interval)
        with self._changed:
            self._listeners.append(_Listener(run_id, interval, self._clock() + interval, tell, still_waits))
            self._changed.notify()

    def next_read(self) -> float | None:
        """The instant of the next read; None when nobody listens."""
        with self._changed:
            self._listeners = [listener for listener in self._listeners if listener.still_waits()]
            if not self._listeners:
                return None
            return max(self._not_before, min(listener.due for listener in self._listeners))

    def read(self) -> None:
        """Read for the listener who is the longest overdue. What cannot be read is not told."""
        with self._changed:
            listener = min(self._listeners, key=lambda listener: listener.due)
        try:
            line = read_progress(self._open_session(), listener.run_id)
        except AzureMLBatchError as error:
            log.debug("The progress of run %s cannot be read: %s", listener.run_id, error)
            line = None
        now = self._clock()
        listener.due = now + listener.interval
        self._not_before = now + READ_GAP
        if line is not None and line != listener.told and listener.still_waits():
            listener.told = line
            listener.tell(line)

    def _work(self) -> None:
        while True:
            with self._changed:
                due = self.next_read()
                if due is None:
                    self._thread = None
                    return
                delay = due - self._clock()
                if delay > 0:
                    self._changed.wait(delay)
                    continue
            try:
                self.read()
            except Exception:  # progress is a courtesy: it must never trouble a wait
                log.exception("The progress reader failed.")
                self._not_before = self._clock() + READ_GAP
