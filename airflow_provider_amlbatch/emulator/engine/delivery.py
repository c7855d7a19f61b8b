"""Who gets which mini-batch next: new ones from the queue, and those that come back."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

from airflow_provider_amlbatch.emulator.engine.mini_batches import Queue, Task

#: With ``at_least_once``: one mini-batch of so many is delivered twice, the first of all among them.
_DUPLICATE_EVERY = 5
#: With ``at_least_once``: how many mini-batches are held back to be shuffled.
_SHUFFLE_WINDOW = 16


class Delivery:
    """The order in which mini-batches are handed out.

    Azure promises neither an order nor that a mini-batch is delivered only once. With ``at_least_once`` neither holds
    here, on purpose and in the same way at every execution of the same run, so that what comes after can be tested.
    """

    def __init__(self, queue: Queue, at_least_once: bool, seed: str) -> None:
        self._queue = queue
        self._back: deque[Task] = deque()
        self._window: list[Task] = []
        self._at_least_once = at_least_once
        self._random = Random(seed)  # noqa: S311

    def take(self) -> Task | None:
        """Take a mini-batch: one that came back first, as it is visible again at once."""
        if self._back:
            return self._back.popleft()
        if not self._at_least_once:
            return self._queue.take()
        while len(self._window) < _SHUFFLE_WINDOW and (task := self._queue.take()) is not None:
            self._window.append(task)
        return self._window.pop(self._random.randrange(len(self._window))) if self._window else None

    def retry(self, task: Task) -> None:
        """Put a mini-batch back for its next try."""
        self._back.append(replace(task, tries=task.tries + 1))

    def succeeded(self, task: Task) -> bool:
        """Take note of an answer; false if this mini-batch had been answered before, so that it does not count."""
        if task.is_duplicate:
            return False
        if self._at_least_once and task.index % _DUPLICATE_EVERY == 0:
            self._back.append(replace(task, is_duplicate=True))
        return True

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to hand out, now and later."""
        return not self._back and not self._window and self._queue.is_exhausted
