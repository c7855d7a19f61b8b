"""A small page about a table: figures, what reconciliation found, how a column is spread, the first rows."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable

from airflow_provider_amlbatch.results.collect import Collected
from airflow_provider_amlbatch.results.destination import PathLike, as_path, written_whole
from airflow_provider_amlbatch.results.summary import Distribution

_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2rem;max-width:60rem}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #ccc;padding:.25rem .75rem;text-align:left}li{color:#a4262c}"
    "i{display:block;height:1em;min-width:1px;background:#0078d4}td:has(i){width:24rem}"
)


def write_page(
    collected: Collected, page: str | os.PathLike[str] | PathLike, spread: Distribution | None = None
) -> str:
    """Write a page that stands alone: no scripts, no pictures, nothing from elsewhere.

    :param page: file to write; its path or URL is returned.
    :param spread: drawn as bars.
    """
    target = as_path(page)
    text = "".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Results</title>",
            f"<style>{_STYLE}</style><h1>Results</h1>",
            _rows(_figures(collected).items()),
            _problems(collected),
            "" if spread is None else _bars(spread),
            f"<h2>First {len(collected.head)} rows</h2>",
            _rows((row.values() for row in collected.head), collected.columns),
            "</html>",
        ]
    )
    with written_whole(target) as partial:
        partial.write_text(text, encoding="utf-8")
    return str(target)


def _figures(collected: Collected) -> dict[str, str]:
    figures = {"Table": collected.path, "Rows": f"{collected.rows:,}", "Bytes read": f"{collected.bytes_read:,}"}
    figures |= {f"Seconds: {name}": f"{value:.2f}" for name, value in collected.seconds.items()}
    found = collected.reconciliation
    if found is not None:
        figures |= {name: f"{value:,}" for name, value in found.counts().items()}
    return figures


def _problems(collected: Collected) -> str:
    problems = collected.reconciliation.problems() if collected.reconciliation else []
    if not problems:
        return ""
    return "".join(["<h2>Reconciliation</h2><ul>", *(f"<li>{html.escape(text)}</li>" for text in problems), "</ul>"])


def _bars(spread: Distribution) -> str:
    most = max(spread.counts, default=1) or 1
    lines = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{count:,}</td>"
        f"<td><i style='width:{100 * count / most:.1f}%'></i></td></tr>"
        for label, count in zip(spread.labels, spread.counts, strict=True)
    )
    rest = [f"{name}: {count:,}" for name, count in (("others", spread.others), ("missing", spread.missing)) if count]
    return f"<h2>{html.escape(spread.column)}</h2><table>{lines}</table><p>{', '.join(rest)}</p>"


def _rows(rows: Iterable[Iterable[object]], header: Iterable[str] = ()) -> str:
    cells = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{lines}</table>" if cells else f"<table>{lines}</table>"
