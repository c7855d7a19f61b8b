"""Where the boxes and arrows of a pipeline's graph go: layers from top to bottom, each step below what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Sizes in SVG units, which are pixels as long as the drawing is not wider than the page.
BOX_WIDTH, BOX_HEIGHT = 208, 58
_GAP_X, _GAP_Y, _MARGIN = 28, 44, 4

#: How often the boxes of each layer are put below the middle of what they come from.
_SWEEPS = 3


@dataclass(frozen=True)
class Box:
    """A step, or a source of data.

    :param kind: ``step`` or ``data``.
    :param status: class name of the status; empty for data.
    :param share: how much of it is done, from 0 to 1; None if it does not say.
    """

    id: str
    title: str
    detail: str = ""
    kind: str = "step"
    status: str = ""
    href: str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Placed:
    """A box with its upper left corner."""

    box: Box
    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """Everything at its place; arrows are SVG paths."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    arrows: tuple[str, ...]


def lay_out(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Place boxes and arrows.

    :param edges: pairs of box ids, from and to; those that name no box are left out.
    """
    known = {box.id for box in boxes}
    edges = sorted({(a, b) for a, b in edges if a in known and b in known and a != b})
    layers = _layers([box.id for box in boxes], edges)
    rows = _rows([box.id for box in boxes], layers, edges)
    widest = max((len(row) for row in rows), default=0)
    width = 2 * _MARGIN + widest * BOX_WIDTH + max(widest - 1, 0) * _GAP_X
    corners = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * BOX_WIDTH - (len(row) - 1) * _GAP_X) / 2
        for index, name in enumerate(row):
            corners[name] = (left + index * (BOX_WIDTH + _GAP_X), _MARGIN + depth * (BOX_HEIGHT + _GAP_Y))
    return Drawing(
        width=width,
        height=2 * _MARGIN + len(rows) * BOX_HEIGHT + max(len(rows) - 1, 0) * _GAP_Y,
        boxes=tuple(Placed(box, *corners[box.id]) for box in boxes),
        arrows=tuple(_arrow(corners[a], corners[b]) for a, b in edges),
    )


def _layers(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> Mapping[str, int]:
    """The longest way from a source to each box. In a circle, which no service should accept, it ends at some point."""
    layer = dict.fromkeys(names, 0)
    for _ in names:
        moved = False
        for a, b in edges:
            if layer[b] <= layer[a] and layer[a] + 1 < len(names):
                layer[b], moved = layer[a] + 1, True
        if not moved:
            break
    return layer


def _rows(names: Sequence[str], layers: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    present = sorted(set(layers.values()))
    rows = [[name for name in names if layers[name] == layer] for layer in present]
    sources: dict[str, list[str]] = {name: [] for name in names}
    for a, b in edges:
        sources[b].append(a)
    for _ in range(_SWEEPS):
        place = {name: index - len(row) / 2 for row in rows for index, name in enumerate(row)}
        for row in rows:
            middle = {
                name: sum(place[a] for a in sources[name]) / len(sources[name]) if sources[name] else place[name]
                for name in row
            }
            row.sort(key=lambda name: middle[name])
    return rows


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + BOX_WIDTH / 2, start[1] + BOX_HEIGHT
    x2, y2 = end[0] + BOX_WIDTH / 2, end[1]
    bend = max(abs(y2 - y1) / 2, 16)
    return f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
