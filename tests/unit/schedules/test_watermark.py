"""Nothing is handed on twice and nothing is left out, however the list is read and the reader restarted."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.watermark import Change, Watermark, read_since

OVERLAP = 60.0


def test_an_item_of_the_same_instant_and_one_that_turns_up_late_are_new() -> None:
    first, twin, late = Change("a", 1000.0), Change("b", 1000.0), Change("c", 950.0)
    mark = Watermark.since(datetime.fromtimestamp(900, UTC))
    assert mark.unseen([first]) == [first]
    mark = mark.advanced([first], OVERLAP)
    assert mark.unseen([first, twin, late]) == [late, twin]


def test_what_happened_in_the_second_of_the_beginning_counts_and_what_was_before_does_not() -> None:
    begin = datetime(2026, 11, 21, 10, 0, 0, 700_000, tzinfo=UTC)
    second = begin.replace(microsecond=0).timestamp()
    unseen = Watermark.since(begin).unseen([Change("before", second - 1), Change("in it", second)])
    assert [change.key for change in unseen] == ["in it"]


def test_a_changed_blob_is_new_under_its_new_key() -> None:
    mark = Watermark(0.0).advanced([Change("etag1 a.csv", 10.0)], OVERLAP)
    assert mark.unseen([Change("etag2 a.csv", 20.0)])


@given(
    arrivals=st.lists(st.lists(st.floats(0, OVERLAP - 1, allow_nan=False), max_size=5), min_size=1, max_size=30),
    limit=st.integers(1, 4),
    restarts=st.sets(st.integers(0, 200)),
)
def test_every_item_is_handed_on_exactly_once(arrivals: list[list[float]], limit: int, restarts: set[int]) -> None:
    """At each look some items have turned up, each dated up to an overlap ago; the reader takes a few, and restarts."""
    listed: list[Change] = []
    handed_on: list[str] = []
    mark = Watermark(-OVERLAP)
    rounds = [*enumerate(arrivals), *[(len(arrivals), [])] * (5 * len(arrivals))]
    for look, (now, delays) in enumerate(rounds):
        listed += [Change(f"{now}/{number}", now - delay) for number, delay in enumerate(delays)]
        picked = mark.unseen(listed)[:limit]
        handed_on += [change.key for change in picked]
        mark = mark.advanced(picked, 2 * OVERLAP)
        assert mark.advanced(picked, 2 * OVERLAP) == mark
        if look in restarts:
            mark = Watermark.from_json(json.loads(json.dumps(mark.to_json())))
    assert sorted(handed_on) == sorted(change.key for change in listed)


def test_the_mark_does_not_grow_with_the_list() -> None:
    mark = Watermark(0.0)
    for number in range(1000):
        mark = mark.advanced([Change(str(number), float(number))], OVERLAP)
    assert len(mark.seen) == OVERLAP


@given(
    one=st.lists(st.integers(0, 200)),
    other=st.lists(st.integers(0, 200)),
    overlaps=st.tuples(st.sampled_from([5.0, OVERLAP]), st.sampled_from([5.0, OVERLAP])),
)
def test_what_one_of_two_marks_has_not_seen_is_unseen_in_common(
    one: list[int], other: list[int], overlaps: tuple[float, float]
) -> None:
    listed = [Change(str(at), float(at)) for at in range(201)]
    marks = [
        Watermark(-1.0).advanced([listed[at] for at in picked], overlap)
        for picked, overlap in zip((one, other), overlaps, strict=True)
    ]
    expected = [change for change in listed if any(mark.unseen([change]) for mark in marks)]
    assert marks[0].common(marks[1]).unseen(listed) == expected
    assert marks[1].common(marks[0]) == marks[0].common(marks[1])


def test_a_beginning_is_an_aware_datetime_or_text_with_an_offset() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert read_since(noon) is noon
    assert read_since("2026-01-01T12:00:00+02:00") == noon == read_since("2026-01-01T10:00Z")


@pytest.mark.parametrize(
    ("since", "message"),
    [
        ("yesterday", "since is 'yesterday'; it must be an instant in ISO 8601."),
        (date(2026, 1, 1), "it must be an instant in ISO 8601."),
        ("2026-01-01", "which has no offset; write 2026-01-01T00:00:00Z for UTC."),
        (datetime(2026, 1, 1), "since must be an aware datetime, not 2026-01-01T00:00:00 without a time zone."),
    ],
)
def test_any_other_beginning_is_refused(since: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        read_since(since)
    assert str(refused.value).endswith(message)
