"""Waits for many runs at once.

All who wait in a process for runs of one connection share one watcher. Its single thread asks the service about all of
them in one call, however many they are, and only while somebody waits.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache

from airflow_provider_amlbatch.aml import history
from airflow_provider_amlbatch.aml.errors import (
    AuthenticationError,
    AzureMLBatchError,
    NotFoundError,
    PermissionDeniedError,
    ServiceUnavailableError,
    ThrottledError,
    UnexpectedReplyError,
    UnreachableError,
    ValidationError,
)
from airflow_provider_amlbatch.aml.history import RunState
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.progress import ProgressReader
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings

log = logging.getLogger(__name__)

#: A long wait is asked for less often: the interval grows by this share within the first hour.
LONGEST_STRETCH = 0.5
STRETCH_SECONDS = 3600.0
#: Rounds are at least this share of the shortest interval apart, so that runs that were added one by one are asked for
#: together.
ROUND_GAP = 0.1
#: Seconds for which a definite refusal (no such run, no right to see it) is taken for a passing one.
PATIENCE = 900.0
#: Requests at a time where the service refuses the bulk operation.
SINGLE_READERS = 8

#: What may pass: never the end of a wait.
HICCUPS = (ThrottledError, ServiceUnavailableError, UnreachableError, UnexpectedReplyError)
#: An answer about one run.
Answer = RunState | AzureMLBatchError


@dataclass(eq=False)
class _Waiter:
    run_id: str
    poll_interval: float
    since: float
    due: float
    future: Future[RunOutcome] = field(default_factory=Future)
    refused_since: float | None = None

    def interval(self, now: float) -> float:
        """Seconds until the next question."""
        return self.poll_interval * (1 + LONGEST_STRETCH * min(1.0, (now - self.since) / STRETCH_SECONDS))


class RunWatcher:
    """Watches runs of one connection.

    :param open_session: makes the session; called in the watcher's own thread.
    :param clock: seconds that never go back.
    """

    def __init__(self, open_session: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_session = cache(open_session)
        self._clock = clock
        self._waiters: set[_Waiter] = set()
        self._not_before = 0.0
        self._bulk_refused = False
        self._changed = threading.Condition(threading.RLock())
        self._asleep_until = 0.0
        self._progress = ProgressReader(self._open_session, clock)
        self._thread: threading.Thread | None = None

    @property
    def session(self) -> Session:
        """The session of all who wait here. Making it logs in: not for an event loop."""
        return self._open_session()

    def watch(
        self, run_id: str, poll_interval: float, on_progress: Callable[[str], None] | None = None
    ) -> Future[RunOutcome]:
        """Wait for the end of a run.

        :param poll_interval: seconds between two questions about it; they grow by half during a long wait.
        :param on_progress: takes a line whenever the run has got further; called in a thread of the watcher.
        :return: a future of the outcome. Cancel it to stop waiting; the run itself is not touched.
        """
        waiter = self.add(run_id, poll_interval)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="amlbatch-run-watcher", daemon=True)
                self._thread.start()
        if on_progress is not None:
            self._progress.add(run_id, poll_interval, on_progress, lambda: not waiter.future.done())
            self._progress.start()
        return waiter.future

    def add(self, run_id: str, poll_interval: float) -> _Waiter:
        """Enlist a run without starting the thread; :meth:`round` asks for it."""
        now = self._clock()
        waiter = _Waiter(run_id, poll_interval, since=now, due=now)
        with self._changed:
            self._waiters.add(waiter)
            # The thread goes through all waiters when it wakes: a thousand that come together wake it once.
            if max(now, self._not_before) < self._asleep_until:
                self._asleep_until = 0.0
                self._changed.notify()
        waiter.future.add_done_callback(lambda _: self._forget(waiter))
        return waiter

    def next_round(self) -> float | None:
        """The instant of the next questions; None when nobody waits."""
        with self._changed:
            if not self._waiters:
                return None
            return max(self._not_before, min(waiter.due for waiter in self._waiters))

    def round(self) -> None:
        """Ask about all runs whose time has come, or comes within half their interval, and answer those who wait."""
        now = self._clock()
        with self._changed:
            asked = [w for w in self._waiters if w.due <= now + w.poll_interval / 2]
            gap = ROUND_GAP * min((w.poll_interval for w in self._waiters), default=0.0)
            self._not_before = now + gap
        for waiter in asked:
            waiter.due = now + waiter.interval(now)
        self._settle(asked, dict(self._ask(dict.fromkeys(waiter.run_id for waiter in asked))))

    def _work(self) -> None:
        while True:
            with self._changed:
                due = self.next_round()
                if due is None:
                    self._thread = None
                    return
                delay = due - self._clock()
                if delay > 0:
                    self._asleep_until = due
                    self._changed.wait(delay)
                    continue
            try:
                self.round()
            except Exception as error:  # a fault of ours must reach those who wait, and not leave them waiting
                log.exception("The run watcher failed.")
                self._fail_all(error)

    def _forget(self, waiter: _Waiter) -> None:
        with self._changed:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._changed.notify()

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            waiters = list(self._waiters)
        for waiter in waiters:
            _finish(waiter.future, error)

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, run_ids: Iterable[str]) -> Iterator[tuple[str, Answer]]:
        ids = list(run_ids)
        for start in range(0, len(ids), history.BULK):
            chunk = ids[start : start + history.BULK]
            try:
                session = self.session
                yield from self._ask_singly(session, chunk) if self._bulk_refused else self._ask_bulk(session, chunk)
            except AzureMLBatchError as error:
                self._heed(error)
                yield from ((run_id, error) for run_id in chunk)

    def _ask_bulk(self, session: Session, ids: list[str]) -> Iterator[tuple[str, Answer]]:
        try:
            found = session.send_once(history.batch_run_states(ids)).successful_results
        except (ValidationError, NotFoundError) as error:
            self._bulk_refused = True
            log.warning("The service refuses to be asked for many runs at once (%s); asking for each run.", error)
            found = {}
        known = {run_id: data.run_metadata for run_id, data in found.items() if data.run_metadata is not None}
        yield from known.items()
        # What is wrong with the others is told best by asking for each.
        yield from self._ask_singly(session, [run_id for run_id in ids if run_id not in known])

    def _ask_singly(self, session: Session, ids: list[str]) -> Iterator[tuple[str, Answer]]:
        throttled = threading.Event()

        def ask(run_id: str) -> Answer:
            if throttled.is_set():
                return ThrottledError("not asked: the service is throttling")
            try:
                return session.send_once(history.get_run(run_id))
            except AzureMLBatchError as error:
                if isinstance(error, ThrottledError):
                    throttled.set()
                    self._heed(error)
                return error

        if ids:
            with ThreadPoolExecutor(SINGLE_READERS, thread_name_prefix="amlbatch-run-reader") as readers:
                yield from zip(ids, readers.map(ask, ids), strict=True)

    def _heed(self, error: AzureMLBatchError) -> None:
        """Leave the service alone for as long as it asks."""
        if isinstance(error, ThrottledError) and error.retry_after:
            with self._changed:
                self._not_before = max(self._not_before, self._clock() + error.retry_after)

    # --- answering ----------------------------------------------------------------------------------------------

    def _settle(self, asked: list[_Waiter], answers: dict[str, Answer]) -> None:
        unread: list[AzureMLBatchError] = []
        for waiter in asked:
            answer = answers.get(waiter.run_id) or UnexpectedReplyError(f"Run {waiter.run_id} was not answered for.")
            if isinstance(answer, AzureMLBatchError):
                unread.append(answer)
                self._bear(waiter, answer)
                continue
            waiter.refused_since = None
            outcome = RunOutcome.of(answer)
            if outcome is not None:
                _finish(waiter.future, outcome)
        if unread:
            log.warning("The status of %d of %d runs could not be read; still waiting. %s", *_summary(unread, asked))

    def _bear(self, waiter: _Waiter, error: AzureMLBatchError) -> None:
        if isinstance(error, HICCUPS):
            return
        now = self._clock()
        waiter.refused_since = now if waiter.refused_since is None else waiter.refused_since
        if now - waiter.refused_since >= PATIENCE or not isinstance(
            error, (AuthenticationError, PermissionDeniedError, NotFoundError)
        ):
            _finish(waiter.future, error)


def _summary(unread: list[AzureMLBatchError], asked: list[_Waiter]) -> tuple[int, int, AzureMLBatchError]:
    return len(unread), len(asked), unread[0]


def _finish(future: Future[RunOutcome], result: RunOutcome | Exception) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


_watchers: dict[ConnectionSettings, RunWatcher] = {}
_registry = threading.Lock()


def watcher_of(settings: ConnectionSettings) -> RunWatcher:
    """Give the process's watcher for a connection."""
    with _registry:
        if settings not in _watchers:
            _watchers[settings] = RunWatcher(lambda: Session(settings))
        return _watchers[settings]


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_watchers.clear)
