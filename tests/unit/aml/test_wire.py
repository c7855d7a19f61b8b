"""Times on the wire."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_amlbatch.aml.history import Run


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-03-29T03:30:00+02:00", "2026-03-29T01:30:00.0000000Z"),
        ("2026-03-29T01:30:00.25Z", "2026-03-29T01:30:00.2500000Z"),
        ("2026-03-29T01:30:00", "2026-03-29T01:30:00.0000000Z"),
    ],
)
def test_an_instant_is_the_same_in_utc_whatever_zone_it_came_in(given: str, written: str) -> None:
    run = Run.model_validate({"runId": "r", "startTimeUtc": given})
    assert run.to_wire()["startTimeUtc"] == written


def test_an_instant_that_no_calendar_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        Run.model_validate({"runId": "r", "startTimeUtc": "0001-01-01T00:00:00+05:00"})
