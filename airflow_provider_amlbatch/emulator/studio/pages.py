"""Templates, and the words in which they say things."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_amlbatch.aml.history import PIPELINE_RUN, STEP_RUN, Run
from airflow_provider_amlbatch.aml.words import counted, noun_for
from airflow_provider_amlbatch.emulator.clock import Clock

_KINDS = {PIPELINE_RUN: "Pipeline run", STEP_RUN: "Step run"}


@lru_cache(maxsize=16)
def templates(clock: Clock) -> Environment:
    """The templates, for pages that take their time from a clock. All that they insert is escaped."""
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "pairs": pairs,
        "rate": rate,
        "run_kind": run_kind,
        "run_title": run_title,
        "size": size,
        "took": partial(took, clock=clock),
        "words": words,
        "counted": counted,
        "noun": noun_for,
    }
    return environment


def moment(instant: datetime) -> str:
    """An instant, to the second."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def pairs(values: Mapping[str, str | None] | None) -> str:
    """Names with their values, on one line."""
    return ", ".join(name if value is None else f"{name}: {value}" for name, value in (values or {}).items())


def rate(value: float) -> str:
    """A number per second, as exact as anybody wants it."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def run_kind(run: Run) -> str:
    """What kind of run it is."""
    return _KINDS.get(str(run.run_type), "Run")


def run_title(run: Run) -> str:
    """What people call a run."""
    if run.display_name or run.name:
        return str(run.display_name or run.name)
    return f"Run {run.run_number}" if run.run_number is not None else run.run_id


def size(count: int) -> str:
    """A number of bytes."""
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count:,} B" if unit == "B" else f"{value:,.1f} {unit}"


def took(run: Run, clock: Clock) -> str:
    """How long a run took, or has been going on for; empty before it began."""
    if run.start_time_utc is None:
        return ""
    span = (run.end_time_utc or clock.now()) - run.start_time_utc
    seconds = max(span, timedelta()).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def words(status: str) -> str:
    """``CancelRequested`` as people write it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", status).capitalize()
