"""Accounting of a parallel step: what was given, what came back, and when it is too little.

Only counts matter: nothing links an element of an answer to an item of the mini-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_amlbatch.emulator.engine.job import ParallelSettings
from airflow_provider_amlbatch.emulator.engine.report import Progress


@dataclass
class Ledger:
    """Counts of one step. Items are files of a file input and rows of a tabular one."""

    settings: ParallelSettings
    created: int = 0
    scheduled_items: int = 0
    scheduling_finished: bool = False
    succeeded: int = 0
    failed: int = 0
    retrying: int = 0
    read_items: int = 0
    succeeded_items: int = 0
    failed_items: int = 0
    rows: int = 0

    def schedule(self, created: int, items: int, finished: bool) -> None:
        """Take note of what was cut so far; ``items`` of tabular mini-batches are only known once they are read."""
        self.created, self.scheduled_items, self.scheduling_finished = created, items, finished

    def succeed(self, total: int, returned: int, counted_when_scheduled: bool) -> int:
        """Count a mini-batch that ``run()`` answered for.

        Inferred: an answer that is too short fails items, and not the mini-batch.

        :param returned: elements of the answer; more than there were items count as all of them.
        :returns: items that count as succeeded.
        """
        items = min(returned, total)
        self.succeeded += 1
        self.succeeded_items += items
        self.failed_items += total - items
        self.read_items += 0 if counted_when_scheduled else total
        return items

    def fail(self, total: int, counted_when_scheduled: bool) -> None:
        """Count a mini-batch whose last try failed: all of its items failed."""
        self.failed += 1
        self.failed_items += total
        self.read_items += 0 if counted_when_scheduled else total

    @property
    def processed(self) -> int:
        """Mini-batches that will not be tried again."""
        return self.succeeded + self.failed

    def breach(self, with_retrying: bool) -> str | None:
        """The sentence that names the exceeded threshold, if one is exceeded.

        :param with_retrying: count a mini-batch that waits for its next try as failed. Azure does whenever it looks.
        """
        settings = self.settings
        if 0 <= settings.error_threshold < self.failed_items:
            return f"{self.failed_items} failed items exceed error_threshold={settings.error_threshold}."
        failed = self.failed + (self.retrying if with_retrying else 0)
        if settings.allowed_failed_count is not None and 0 <= settings.allowed_failed_count < failed:
            return f"{failed} failed mini-batches exceed allowed_failed_count={settings.allowed_failed_count}."
        allowed = settings.allowed_failed_percent
        if allowed is None or not self.scheduling_finished or self.created == 0:
            return None
        percent = 100 * failed / self.created
        if percent > allowed:
            return (
                f"{percent:g} percent of the mini-batches failed ({failed} of {self.created}): "
                f"they exceed allowed_failed_percent={allowed:g}."
            )
        return None

    def progress(self) -> Progress:
        """The counts for the report."""
        return Progress(
            total_mini_batches=self.created,
            processed_mini_batches=self.processed,
            failed_mini_batches=self.failed,
            total_items=self.scheduled_items + self.read_items,
            succeeded_items=self.succeeded_items,
            failed_items=self.failed_items,
            rows=self.rows,
            scheduling_finished=self.scheduling_finished,
        )
