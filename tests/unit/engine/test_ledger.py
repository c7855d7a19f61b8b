"""Counting, thresholds, and the order in which mini-batches are handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.engine.delivery import Delivery
from airflow_provider_amlbatch.emulator.engine.job import ParallelSettings
from airflow_provider_amlbatch.emulator.engine.ledger import Ledger
from airflow_provider_amlbatch.emulator.engine.mini_batches import MiniBatch, Queue
from airflow_provider_amlbatch.emulator.engine.output import collate


def ledger(**settings: Any) -> Ledger:
    return Ledger(ParallelSettings(entry_script="score.py", input_names=("data",), **settings))


@pytest.mark.parametrize(
    ("returned", "succeeded", "failed"),
    [(0, 0, 10), (1, 1, 9), (10, 10, 0), (25, 10, 0)],  # an aggregating script fails items, an exploding one does not
)
def test_only_the_number_of_elements_counts(returned: int, succeeded: int, failed: int) -> None:
    book = ledger()
    book.succeed(10, returned, counted_when_scheduled=True)
    assert (book.succeeded_items, book.failed_items) == (succeeded, failed)


@pytest.mark.parametrize(
    ("threshold", "failed", "breached"), [(-1, 100, False), (0, 0, False), (0, 1, True), (5, 5, False), (5, 6, True)]
)
def test_error_threshold_counts_items(threshold: int, failed: int, breached: bool) -> None:
    book = ledger(error_threshold=threshold)
    book.fail(failed, counted_when_scheduled=True)
    assert bool(book.breach(with_retrying=False)) == breached


def test_short_answers_fail_items_but_no_mini_batch() -> None:
    book = ledger(error_threshold=-1, allowed_failed_count=0)
    book.succeed(10, 0, counted_when_scheduled=True)
    assert book.breach(with_retrying=True) is None


def test_a_mini_batch_between_two_tries_counts_as_failed_when_looked_at() -> None:
    book = ledger(allowed_failed_count=0)
    book.retrying = 1
    assert "allowed_failed_count=0" in str(book.breach(with_retrying=True))
    assert book.breach(with_retrying=False) is None


def test_allowed_failed_percent_waits_for_the_end_of_scheduling() -> None:
    book = ledger(allowed_failed_percent=10)
    book.fail(1, counted_when_scheduled=True)
    book.schedule(created=9, items=9, finished=False)
    assert book.breach(with_retrying=False) is None
    book.schedule(created=9, items=9, finished=True)
    assert "11.1111 percent" in str(book.breach(with_retrying=False))
    book.schedule(created=10, items=10, finished=True)
    assert book.breach(with_retrying=False) is None


def test_any_threshold_is_enough() -> None:
    book = ledger(error_threshold=1000, allowed_failed_count=1, allowed_failed_percent=100)
    book.schedule(created=3, items=3, finished=True)
    book.fail(1, counted_when_scheduled=True)
    book.fail(1, counted_when_scheduled=True)
    assert "allowed_failed_count=1" in str(book.breach(with_retrying=False))


def delivery(tmp_path: Path, count: int, at_least_once: bool) -> Delivery:
    queue = Queue(tmp_path / f"queue-{at_least_once}")
    queue.fill(MiniBatch({"files": [str(number)]}, 1) for number in range(count))
    return Delivery(queue, at_least_once, seed="run")


def drain(source: Delivery) -> tuple[list[int], list[int]]:
    order, counted = [], []
    while (task := source.take()) is not None:
        order.append(task.index)
        if source.succeeded(task):
            counted.append(task.index)
    assert source.is_empty
    return order, counted


def test_ordinary_delivery_is_in_order_and_once(tmp_path: Path) -> None:
    assert drain(delivery(tmp_path, 20, at_least_once=False)) == (list(range(20)), list(range(20)))


def test_at_least_once_doubles_and_reorders_but_counts_once(tmp_path: Path) -> None:
    order, counted = drain(delivery(tmp_path, 20, at_least_once=True))
    assert sorted(counted) == list(range(20))
    assert set(order) == set(range(20))
    assert len(order) > 20
    assert [index for position, index in enumerate(order) if index not in order[:position]] != list(range(20))
    assert drain(delivery(tmp_path, 1, at_least_once=True)) == ([0, 0], [0])


def test_a_failed_mini_batch_is_next_again(tmp_path: Path) -> None:
    source = delivery(tmp_path, 3, at_least_once=False)
    task = source.take()
    assert task is not None
    source.retry(task)
    again = source.take()
    assert again is not None
    assert (again.index, again.tries) == (0, 2)


def test_collating_takes_what_was_answered_for_and_one_header(tmp_path: Path) -> None:
    for name, content in (("rows-a", "1\n2\nunanswered"), ("rows-b", "3\n"), ("rows-c", "never answered")):
        (tmp_path / name).write_text(content)
        (tmp_path / f"{name}.header").write_text("n\n")
    target = tmp_path / "out" / "parallel_run_step.txt"
    target.parent.mkdir()
    target.write_text("of an earlier run")
    collate({tmp_path / "rows-a": 4, tmp_path / "rows-b": 2, tmp_path / "rows-c": 0}, target)
    assert target.read_text() == "n\n1\n2\n3\n"
    assert [path.name for path in target.parent.iterdir()] == ["parallel_run_step.txt"]


def test_lines_are_lost_on_purpose_wherever_parts_and_blocks_begin(tmp_path: Path) -> None:
    lines = [f"{number} {'x' * (number % 97)}\n" for number in range(40_000)]
    (tmp_path / "a").write_text("".join(lines[:39_999]))
    (tmp_path / "b").write_text(lines[39_999])
    sizes = {tmp_path / name: (tmp_path / name).stat().st_size for name in "ab"}
    collate(sizes, tmp_path / "out.txt", lose_every=10)
    assert (tmp_path / "out.txt").read_text() == "".join(
        line for number, line in enumerate(lines, 1) if number % 10 != 0
    )
