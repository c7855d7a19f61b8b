"""What is new in a list that is looked at again and again.

A list tells its items with an instant each: the runs of a schedule by their creation, blobs by their last change. An
instant alone is no good mark: two items can share one, and an item can turn up in the list a little later than its
instant says. So the mark is an instant up to which everything counts as seen, which stays an overlap behind the newest
item, and the keys of what was seen after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_amlbatch.aml.errors import ArgumentError


@dataclass(frozen=True)
class Change:
    """Something that happened.

    :param key: tells it from everything else in its list, for good.
    :param at: epoch second at which it happened, by the clock of the service.
    :param value: what to hand on, JSON-safe.
    """

    key: str
    at: float
    value: Any = None


@dataclass(frozen=True)
class Watermark:
    """Which items of a list were seen.

    :param settled: epoch second; everything up to it counts as seen.
    :param seen: key and epoch second of what was seen after that.
    """

    settled: float
    seen: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def since(cls, instant: datetime) -> Watermark:
        """Begin with what happens at an instant, to the whole second: storage dates changes no more exactly."""
        return cls(instant.replace(microsecond=0).timestamp() - 1e-6)

    def unseen(self, changes: Iterable[Change]) -> list[Change]:
        """Return what was not seen, oldest first; of one instant, in the order given."""
        found = [change for change in changes if change.at > self.settled and change.key not in self.seen]
        return sorted(found, key=lambda change: change.at)

    def advanced(self, changes: Iterable[Change], overlap: float) -> Watermark:
        """Count items as seen. Doing it twice is the same as doing it once.

        Whatever is left out must be as new as the newest of them, or it may count as seen as well.

        :param overlap: seconds by which an item may turn up later than a newer one.
        """
        seen = {**self.seen, **{change.key: change.at for change in changes if change.at > self.settled}}
        settled = max([self.settled, *(at - overlap for at in seen.values())])
        return Watermark(settled, {key: at for key, at in seen.items() if at > settled})

    def common(self, other: Watermark) -> Watermark:
        """Count as seen what both marks count as seen."""
        older, newer = sorted((self, other), key=lambda mark: mark.settled)
        both = {key: at for key, at in older.seen.items() if at <= newer.settled or key in newer.seen}
        return Watermark(older.settled, both)

    def to_json(self) -> dict[str, Any]:
        """The mark as JSON-safe values."""
        return {"settled": self.settled, "seen": dict(self.seen)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Watermark:
        """Read what :meth:`to_json` wrote."""
        return cls(float(data["settled"]), {str(key): float(at) for key, at in data["seen"].items()})


def read_since(since: datetime | str) -> datetime:
    """Read the instant with which somebody wants to begin.

    :param since: an aware datetime, or ISO 8601 text with an offset from UTC.
    :raises ArgumentError: if it is neither.
    """
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ArgumentError(f"since must be an aware datetime, not {since.isoformat()} without a time zone.")
        return since
    try:
        instant = datetime.fromisoformat(since)
    except (TypeError, ValueError):
        raise ArgumentError(f"since is {since!r}; it must be an instant in ISO 8601.") from None
    if instant.tzinfo is None:
        raise ArgumentError(f"since is {since!r}, which has no offset; write {instant.isoformat()}Z for UTC.")
    return instant
