"""Conditions and ranges of blob requests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_amlbatch.emulator.blobs import Blob
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, PreconditionFailed, ServiceError
from airflow_provider_amlbatch.emulator.services.blob import Conditions, NotModified, RangeNotSatisfiable, read_range

CHANGED = datetime(2026, 3, 1, 12, 0, 0, 500_000, UTC)
BLOB = Blob("box", "x", Path("x"), 10, '"0x1"', CHANGED)
BEFORE, AT, AFTER = (f"Sun, 01 Mar 2026 {time} GMT" for time in ("11:59:59", "12:00:00", "12:00:01"))


@pytest.mark.parametrize(
    ("headers", "read", "write"),
    [
        ({}, None, None),
        ({"if-match": '"0x1"'}, None, None),
        ({"if-match": "*"}, None, None),
        ({"if-match": '"0x2", "0x1"'}, None, None),
        ({"if-match": '"0x2"'}, PreconditionFailed, PreconditionFailed),
        ({"if-none-match": '"0x1"'}, NotModified, PreconditionFailed),
        ({"if-none-match": '"0x2"'}, None, None),
        ({"if-none-match": "*"}, NotModified, Conflict),
        ({"if-modified-since": BEFORE}, None, None),
        ({"if-modified-since": AT}, NotModified, None),
        ({"if-unmodified-since": AT}, None, None),
        ({"if-unmodified-since": AFTER}, None, None),
        ({"if-unmodified-since": BEFORE}, PreconditionFailed, PreconditionFailed),
    ],
)
def test_conditions(headers: dict[str, str], read: type[ServiceError] | None, write: type[ServiceError] | None) -> None:
    conditions = Conditions.of(headers)
    for check, expected in ((conditions.check_read, read), (conditions.check_write, write)):
        if expected is None:
            check(BLOB)
        else:
            with pytest.raises(expected) as refused:
                check(BLOB)
            assert type(refused.value) is expected


def test_conditions_on_nothing() -> None:
    Conditions().check_write(None)
    Conditions.of({"if-none-match": "*"}).check_write(None)
    with pytest.raises(PreconditionFailed):
        Conditions.of({"if-match": '"0x1"'}).check_write(None)
    with pytest.raises(BadRequest):
        Conditions.of({"if-modified-since": "yesterday"})


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=9-9", (9, 1)),
        ("bytes=3-1000", (3, 7)),
        ("bytes=3-5", (3, 3)),
        ("lines=1-2", None),
        ("bytes=-5", None),
    ],
)
def test_ranges(header: str | None, part: tuple[int, int] | None) -> None:
    assert read_range(header, 10) == part


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=5-4", 10)])
def test_ranges_that_hold_nothing(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        read_range(header, size)
