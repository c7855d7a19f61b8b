"""The one way in which these tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], seconds: float = 120.0, interval: float = 0.1) -> T:
    """Look again and again until there is something, and return it.

    :param what: names it, for the message.
    :param look: anything false stands for nothing yet.
    :param seconds: after which there should have been something.
    :raises AssertionError: if there was nothing in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"There was no {what} within {seconds:g} seconds."
        time.sleep(interval)
    return found
