"""Time as the services see it. A test can freeze or shift it; rules are handed an instant and never ask for one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Clock:
    """The wall clock, plus a shift, or frozen at an instant."""

    def __init__(self, shift: timedelta = timedelta()) -> None:
        self._lock = threading.Lock()
        self._shift = shift
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        with self._lock:
            return self._frozen if self._frozen is not None else datetime.now(UTC) + self._shift

    @property
    def is_frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen is not None

    def shift(self, by: timedelta) -> datetime:
        """Move the clock by a span, frozen or not, and return the new instant."""
        with self._lock:
            if self._frozen is not None:
                self._frozen += by
            else:
                self._shift += by
        return self.now()

    def freeze(self, at: datetime | None = None) -> datetime:
        """Stop the clock at an instant, by default now."""
        instant = at if at is not None else self.now()
        with self._lock:
            self._frozen = instant.astimezone(UTC)
        return self.now()

    def run(self) -> datetime:
        """Let a frozen clock go on from where it stands."""
        now = self.now()
        with self._lock:
            if self._frozen is not None:
                self._shift, self._frozen = now - datetime.now(UTC), None
        return self.now()
