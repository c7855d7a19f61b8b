"""How many workers a parallel step has, on which nodes, and what it means when ``init()`` fails."""

from __future__ import annotations

import time

from airflow_provider_amlbatch.emulator.engine.logs import StepLogs
from airflow_provider_amlbatch.emulator.engine.outcome import StepFailure
from airflow_provider_amlbatch.emulator.engine.plans import Planner
from airflow_provider_amlbatch.emulator.engine.pool import Pool, State, Worker
from airflow_provider_amlbatch.emulator.engine.summary import Summary

#: Seconds for which init() may fail on all nodes before the job does, if it fails often enough.
_INIT_FAILURE_PATIENCE = 120.0


class Staff:
    """Keeps the nodes manned.

    :param init_timeout: seconds that a worker has to get through ``init()``.
    """

    def __init__(self, pool: Pool, planner: Planner, summary: Summary, logs: StepLogs, init_timeout: float) -> None:
        self._pool = pool
        self._planner = planner
        self._summary = summary
        self._logs = logs
        self._init_timeout = init_timeout
        self._nodes = planner.nodes()
        self._first_init_failure: float | None = None

    def hire(self, mini_batches: int) -> None:
        """Start the workers that are missing.

        Inferred: never more than there are mini-batches left, as they would only call ``init()``.

        :raises StepFailure: if there is work left, and no node on which a worker may be started.
        """
        staff = [worker for worker in self._pool.workers if worker.state is not State.STOPPING]
        missing = mini_batches - len(staff)
        on_node = {node.index: 0 for node in self._nodes}
        for worker in staff:
            on_node[worker.plan.node] += 1
        while missing > 0:
            free = [node for node in self._nodes if not node.has_given_up and on_node[node.index] < node.places]
            if not free:
                break
            node = min(free, key=lambda node: on_node[node.index])
            self._summary.worker_started(self._pool.start(self._planner.plan(node, self._logs), self._init_timeout))
            on_node[node.index] += 1
            missing -= 1
        if missing > 0 and not self._pool.workers:
            raise StepFailure(self._why_nobody())

    def is_ready(self, worker: Worker) -> None:
        """Take note that a worker got through ``init()``. Inferred: failures before that count no more."""
        self._nodes[worker.plan.node].init_failures = 0
        self._first_init_failure = None

    def has_failed_to_start(self, worker: Worker) -> None:
        """Take note that a worker did not get through ``init()``.

        :raises StepFailure: if that happened too often for too long.
        """
        self._nodes[worker.plan.node].init_failures += 1
        now = time.monotonic()
        self._first_init_failure = self._first_init_failure or now
        failures = self._init_failures
        many = 2 * len(self._nodes) * self._planner.places
        if now - self._first_init_failure > _INIT_FAILURE_PATIENCE and failures >= many:
            raise StepFailure(f"init() of the entry script failed {failures} times.")

    def give_up_place(self, worker: Worker) -> None:
        """Have one worker less on the node of this one, for good."""
        self._nodes[worker.plan.node].places -= 1

    @property
    def _init_failures(self) -> int:
        return sum(node.init_failures for node in self._nodes)

    def _why_nobody(self) -> str:
        if any(node.has_given_up for node in self._nodes):
            return f"init() of the entry script failed {self._init_failures} times."
        # Inferred: that all processes were stopped fails the step.
        return "The entry script stopped all worker processes with Retry.StopProcess."
