"""Throughput and failures of a parallel step over time, out of the job's own report of mini-batches."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

WIDTH, HEIGHT = 640, 120

#: Bars of a chart, at most.
_BARS = 48

#: Room for so many bars at least, so that a short run does not fill the page with one block.
_ROOM = 24


@dataclass(frozen=True)
class Bar:
    """Items that ended in one span of time: heights are SVG units, counts are items."""

    x: float
    width: float
    succeeded: int
    failed: int
    succeeded_height: float
    failed_height: float
    label: str


@dataclass(frozen=True)
class Chart:
    """The bars, what the highest stands for (items per second), and how long all of them take (seconds)."""

    bars: tuple[Bar, ...]
    peak: float
    seconds: int
    items: int
    failed: int

    @property
    def mean(self) -> float:
        """Items per second."""
        return self.items / self.seconds


def throughput(lines: Iterable[str]) -> Chart | None:
    """Draw ``processed_mini-batches.csv``; None when no mini-batch has ended.

    A mini-batch counts when it ended. A line that is not complete yet, or not of this report, is left out.
    """
    ended: dict[int, list[int]] = {}
    for row in csv.DictReader(lines):
        try:
            started = datetime.strptime(row["start_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            second = int(started.timestamp() + float(row["elapsed_seconds"]))
            succeeded, failed = int(row["succeeded"]), int(row["failed"])
        except (KeyError, TypeError, ValueError):
            continue
        counts = ended.setdefault(second, [0, 0])
        counts[0] += succeeded
        counts[1] += failed
    return _draw(ended) if ended else None


def _draw(ended: dict[int, list[int]]) -> Chart:
    first, seconds = min(ended), max(ended) - min(ended) + 1
    span = -(-seconds // _BARS)
    count = -(-seconds // span)
    totals = [[0, 0] for _ in range(count)]
    for second, (succeeded, failed) in ended.items():
        bar = totals[(second - first) // span]
        bar[0] += succeeded
        bar[1] += failed
    peak = max(sum(bar) for bar in totals)
    width = WIDTH / max(count, _ROOM)
    scale = HEIGHT / peak if peak else 0.0
    return Chart(
        bars=tuple(
            Bar(
                x=index * width,
                width=max(width - 2, 1),
                succeeded=succeeded,
                failed=failed,
                succeeded_height=succeeded * scale,
                failed_height=failed * scale,
                label=f"{index * span} to {(index + 1) * span} s: {succeeded} items succeeded, {failed} failed",
            )
            for index, (succeeded, failed) in enumerate(totals)
        ),
        peak=peak / span,
        seconds=seconds,
        items=sum(sum(bar) for bar in totals),
        failed=sum(failed for _, failed in totals),
    )
