"""Failures on demand: a test arms a fault for an operation, the next matching requests meet it, and the test asks
whether they did.

An operation is a route of the emulator. It is named ``<module>.<function>``, such as ``history.get_run``, or picked by
``METHOD path-regex``, such as ``GET /history/.*/runs/``, which is looked for anywhere in the path. Nothing here knows
HTTP: what a fault does to an answer is in :mod:`.interception`.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.errors import BadRequest

#: The name of all requests that no route of a service takes.
NO_OPERATION = "(no operation)"

#: How many requests a fault remembers, for people who wonder what it hit.
_REMEMBERED = 20


class FaultKind(StrEnum):
    """What happens to a request."""

    #: It is answered with a status and nothing is done.
    STATUS = "status"
    #: The connection is reset and nothing is done.
    RESET_BEFORE = "reset_before"
    #: It is done, and the connection is reset instead of an answer.
    RESET_AFTER = "reset_after"
    #: It is done, and the connection ends in the middle of the answer.
    TRUNCATE = "truncate"
    #: It is done, and the answer trickles.
    SLOW = "slow"
    #: Its token counts as expired. Requests without a bearer token are left alone.
    EXPIRE_TOKEN = "expire_token"  # noqa: S105


class Fault(Camel):
    """A fault to arm.

    :param operation: ``module.function`` of a route, or ``METHOD path-regex``; ``*`` as method stands for all.
    :param times: so many requests meet it.
    :param status: what a ``status`` fault answers with.
    :param retry_after: seconds; adds a ``Retry-After`` header to a ``status`` fault.
    :param seconds: how long a ``slow`` answer takes.
    """

    model_config = ConfigDict(extra="forbid")

    operation: str = Field(min_length=1, max_length=500)
    kind: FaultKind
    times: int = Field(default=1, ge=1, le=1_000_000)
    status: Literal[429, 500, 503] = 503
    retry_after: int | None = Field(default=None, ge=0, le=3600)
    seconds: float = Field(default=2.0, gt=0, le=600)

    @model_validator(mode="after")
    def _only_what_applies(self) -> Fault:
        given = self.model_fields_set
        if self.kind is not FaultKind.STATUS and given & {"status", "retry_after"}:
            raise ValueError(f"status and retryAfter go with the kind 'status', not with {self.kind.value!r}")
        if self.kind is not FaultKind.SLOW and "seconds" in given:
            raise ValueError(f"seconds goes with the kind 'slow', not with {self.kind.value!r}")
        return self


class FaultState(Camel):
    """An armed fault: how many requests have met it, and the latest of them."""

    id: int
    fault: Fault
    consumed: int = 0
    met: list[str] = []

    @property
    def is_consumed(self) -> bool:
        """Whether it will not happen any more."""
        return self.consumed >= self.fault.times


class FaultReport(Camel):
    """All faults that were armed since the last clearing."""

    all_consumed: bool
    faults: list[FaultState]


@dataclass
class _Armed:
    state: FaultState
    method: str | None
    pattern: re.Pattern[str] | None

    def matches(self, operation: str, method: str, path: str, with_token: bool) -> bool:
        if self.state.fault.kind is FaultKind.EXPIRE_TOKEN and not with_token:
            return False
        if self.pattern is None:
            return self.state.fault.operation == operation
        return self.method in ("*", method) and self.pattern.search(path) is not None


class Faults:
    """The armed faults. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._last_id = 0

    def arm(self, fault: Fault, operations: Collection[str]) -> FaultState:
        """Arm a fault.

        :param operations: names of all operations that there are.
        :raises BadRequest: if its operation is none of them, naming those that are near.
        """
        method, pattern = _parse(fault.operation, operations)
        with self._lock:
            self._last_id += 1
            armed = _Armed(FaultState(id=self._last_id, fault=fault), method, pattern)
            self._armed.append(armed)
            return armed.state.model_copy()

    @property
    def is_any_armed(self) -> bool:
        """Whether a request could meet a fault now."""
        return any(not armed.state.is_consumed for armed in self._armed)

    def take(self, operation: str, method: str, path: str, *, with_token: bool) -> Fault | None:
        """Use up one time of the oldest fault that waits for such a request."""
        with self._lock:
            for armed in self._armed:
                state = armed.state
                if not state.is_consumed and armed.matches(operation, method, path, with_token):
                    state.consumed += 1
                    state.met = [*state.met, f"{method} {path}"][-_REMEMBERED:]
                    return state.fault
        return None

    def report(self) -> FaultReport:
        """Tell what was armed and what was met."""
        with self._lock:
            states = [armed.state.model_copy() for armed in self._armed]
        return FaultReport(all_consumed=all(state.is_consumed for state in states), faults=states)

    def clear(self) -> None:
        """Disarm and forget all faults."""
        with self._lock:
            self._armed.clear()


class OperationCount(Camel):
    """How often an operation was asked for, and with what it was answered: a status, or ``reset`` or ``truncated``."""

    count: int
    answers: dict[str, int]


class RequestReport(Camel):
    """Requests to the services since the start, or since the counts were last cleared."""

    total: int
    operations: dict[str, OperationCount]


@dataclass
class RequestCounts:
    """Counts the requests to the services, by operation. Safe to use from many threads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, operation: str, answer: str) -> None:
        """Count a request."""
        with self._lock:
            self._answers.setdefault(operation, Counter())[answer] += 1

    def report(self) -> RequestReport:
        """Tell the counts."""
        with self._lock:
            counts = {
                name: OperationCount(count=answers.total(), answers=dict(sorted(answers.items())))
                for name, answers in sorted(self._answers.items())
            }
        return RequestReport(total=sum(count.count for count in counts.values()), operations=counts)

    def clear(self) -> None:
        """Begin again at zero."""
        with self._lock:
            self._answers.clear()


def _parse(operation: str, operations: Iterable[str]) -> tuple[str | None, re.Pattern[str] | None]:
    method, space, path = operation.partition(" ")
    if not space:
        known = sorted(operations)
        if operation not in known:
            near = difflib.get_close_matches(operation, known, n=3, cutoff=0.4) or known[:3]
            raise BadRequest(
                f"There is no operation {operation!r}; near it are {', '.join(near)}. "
                "'METHOD path-regex' picks operations by their path."
            )
        return None, None
    if method != "*" and method not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        raise BadRequest(
            f"The operation {operation!r} begins with {method!r}, which is no HTTP method in capitals or '*'."
        )
    try:
        return method, re.compile(path)
    except re.error as error:
        raise BadRequest(f"The path of the operation {operation!r} is not a regular expression: {error}.") from None
