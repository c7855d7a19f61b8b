from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.services.odata import compile_filter, parse_order

RUN: dict[str, Any] = {
    "runid": "4f1e-22",
    "status": "Completed",
    "parentrunid": None,
    "runnumber": 7,
    "createdutc": datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    "tags": {"team": "a b", "azureml.nodeid": "17", "empty": None},
    "properties": {"key": "x=1,y"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, True),
        ("  ", True),
        ("(ParentRunId eq null)", True),
        ("ParentRunId ne null", False),
        ("RunId eq 4f1e-22", True),
        ("RunId eq 'other' or RunId eq '4f1e-22'", True),
        ("Status eq Completed and RunNumber gt 7", False),
        ("Status eq Completed and RunNumber ge 7", True),
        ("status eq 'completed'", False),
        ("not (Status eq Failed)", True),
        ("Status eq Failed or Status eq Completed and ParentRunId ne null", False),
        ("(Status eq Failed or Status eq Completed) and ParentRunId eq null", True),
        ("tags/team eq 'a b'", True),
        ('(Tags/team eq "a b")', True),
        ("Tags/team eq a b", True),
        ("tags/azureml.nodeid eq '17'", True),
        ("tags/Team eq 'a b'", False),
        ("(Tags/team ne null or Tags/team eq null)", True),
        ("(Tags/none ne null or Tags/none eq null)", False),
        ("tags/empty eq null", True),
        ("properties/key eq 'x=1,y'", True),
        ("(CreatedUtc ge 2026-11-21 08:00:00)", True),
        ("CreatedUtc gt 2026-11-21T08:30:00Z", False),
        ("CreatedUtc le '2026-11-21T09:30:00+01:00'", True),
        ("startswith(RunId, '4f') and contains(tags/team, ' ')", True),
        ("endswith(RunId,'4f')", False),
        ("contains(tags/none, 'x')", False),
        ("properties/key eq 'it''s'", False),
    ],
)
def test_a_filter_lets_pass_what_it_says(text: str | None, expected: bool) -> None:
    assert compile_filter(text)(RUN) is expected


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("RunId", "the end"),
        ("RunId is 'x'", "is"),
        ("(RunId eq 'x'", "the end"),
        ("RunId eq 'x')", "cannot be read"),
        ("RunId eq", "the end"),
        ("RunId eq 'x' 'y'", "y"),
        ("and", "the end"),
        ("RunId eq 'open", "'open"),
        ("(" * 60 + "a eq 'b'" + ")" * 60, "nested"),
        ("contains(RunId)", ")"),
        ('RunId eq "\\q"', "not one"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(text: str, at: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        compile_filter(text)
    assert at in refusal.value.message


def test_a_comparison_of_what_cannot_be_compared_is_refused() -> None:
    for text in ("RunNumber gt 'many'", "CreatedUtc lt 'yesterday'"):
        with pytest.raises(BadRequest, match="compares"):
            compile_filter(text)(RUN)


def test_orders_are_read() -> None:
    assert parse_order("StartTimeUtc desc, RunId") == [("starttimeutc", True), ("runid", False)]
    assert parse_order(None) == []
    for wrong in ("StartTimeUtc down", "a b c"):
        with pytest.raises(BadRequest, match="order"):
            parse_order(wrong)
