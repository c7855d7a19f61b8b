"""The run watcher, round by round on a clock of the test: how often it asks, and what ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_service import Asked, Reply, ScriptedService

from airflow_provider_amlbatch.aml import errors
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.watcher import RunWatcher

BULK = r"/history/v1.0\{workspace\}/batchrundata"
SINGLE = r"/history/v1.0\{workspace\}/runs/[^/]+"


class History(ScriptedService):
    """Run history that knows the status of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, str] = {}
        self.on("POST", BULK, self.bulk)
        self.on("GET", SINGLE, self.single)

    def bulk(self, asked: Asked) -> Any:
        found = {
            key: {"runMetadata": {"runId": request["runId"], "status": self.status[request["runId"]]}}
            for key, request in asked.body["requests"].items()
            if request["runId"] in self.status
        }
        return {"successfulResults": found, "failedResults": {}}

    def single(self, asked: Asked) -> Any:
        run_id = asked.path.rpartition("/")[2]
        if run_id not in self.status:
            return Reply(404, {"error": {"code": "NotFound", "message": "no such run"}})
        return {"runId": run_id, "status": self.status[run_id]}


@pytest.fixture
def service() -> History:
    return History()


@pytest.fixture
def watcher(service: History) -> RunWatcher:
    return RunWatcher(service.session, clock=lambda: service.now)


def run_until(watcher: RunWatcher, service: History, end: float) -> None:
    """Do what the watcher's thread does, up to an instant."""
    while (due := watcher.next_round()) is not None and due <= end:
        service.now = max(service.now, due)
        watcher.round()
    service.now = max(service.now, end)


def test_one_request_for_many_runs(watcher: RunWatcher, service: History) -> None:
    service.status = {f"r{n}": "Running" for n in range(1200)}
    waiters = [watcher.add(run_id, 10) for run_id in service.status]
    watcher.round()
    assert [len(asked.body["requests"]) for asked in service.calls("POST", BULK)] == [500, 500, 200]
    service.status["r7"] = "Completed"
    service.now += 10
    watcher.round()
    assert [waiter.run_id for waiter in waiters if waiter.future.done()] == ["r7"]
    assert waiters[7].future.result().succeeded


def test_runs_that_come_one_by_one_are_asked_for_together(watcher: RunWatcher, service: History) -> None:
    start, interval, runs = service.now, 10.0, 1000
    for n in range(runs):  # spread over one interval
        service.status[f"r{n}"] = "Running"
        run_until(watcher, service, start + interval * n / runs)
        watcher.add(f"r{n}", interval)
    before = len(service.calls("POST", BULK))
    assert before <= 12  # a tenth of the interval between two rounds
    run_until(watcher, service, start + 11 * interval)
    asked = len(service.calls("POST", BULK)) - before
    assert asked / 10 <= runs / 100  # requests an interval: at most one for 100 runs


def test_nobody_waits_nobody_asks(watcher: RunWatcher, service: History) -> None:
    service.status = {"r": "Running"}
    waiter = watcher.add("r", 10)
    waiter.future.cancel()
    assert watcher.next_round() is None
    assert service.asked == []


def test_a_long_wait_asks_less_often_but_never_at_half_the_rate(watcher: RunWatcher, service: History) -> None:
    service.status = {"r": "Running"}
    watcher.add("r", 10)
    start = service.now
    run_until(watcher, service, start + 600)
    early = len(service.calls("POST", BULK))
    run_until(watcher, service, start + 7200)
    before = len(service.calls("POST", BULK))
    run_until(watcher, service, start + 7800)
    late = len(service.calls("POST", BULK)) - before
    assert 56 <= early <= 60
    assert late == 40  # every 15 s


@pytest.mark.parametrize("status", ["Completed", "Finished", "Failed", "Canceled"])
def test_terminal_states_end_a_wait(watcher: RunWatcher, service: History, status: str) -> None:
    service.status = {"r": status}
    future = watcher.add("r", 10).future
    watcher.round()
    assert future.result(0).status.is_terminal
    assert future.result(0).succeeded == (status in ("Completed", "Finished"))


@pytest.mark.parametrize(
    "status", ["NotStarted", "Finalizing", "CancelRequested", "SomethingNew", "PartiallySucceeded"]
)
def test_other_states_do_not(watcher: RunWatcher, service: History, status: str) -> None:
    service.status = {"r": status}
    future = watcher.add("r", 60).future
    run_until(watcher, service, service.now + 7200)
    assert not future.done()


@pytest.mark.parametrize("trouble", [500, 503, 408])
def test_an_outage_of_hours_ends_nothing(watcher: RunWatcher, service: History, trouble: int) -> None:
    future = watcher.add("r", 60).future
    service.on("POST", BULK, lambda _: Reply(trouble, {}))
    run_until(watcher, service, service.now + 5 * 3600)
    assert not future.done()
    service.on("POST", BULK, service.bulk)
    service.status = {"r": "Completed"}
    run_until(watcher, service, service.now + 120)
    assert future.result(0).status is RunStatus.COMPLETED


def test_retry_after_holds_for_all(watcher: RunWatcher, service: History) -> None:
    service.status = {"a": "Running", "b": "Running"}
    watcher.add("a", 1)
    service.on("POST", BULK, lambda _: Reply(429, {}, {"Retry-After": "120"}))
    watcher.round()
    watcher.add("b", 1)
    asked = len(service.calls("POST", BULK))
    assert watcher.next_round() == service.now + 120
    service.on("POST", BULK, service.bulk)
    run_until(watcher, service, service.now + 119)
    assert len(service.calls("POST", BULK)) == asked


def test_a_refused_bulk_call_falls_back_to_single_reads(watcher: RunWatcher, service: History) -> None:
    service.status = {"a": "Completed", "b": "Running"}
    service.on("POST", BULK, lambda _: Reply(405, {}))
    first, second = watcher.add("a", 10).future, watcher.add("b", 10).future
    watcher.round()
    assert first.result(0).succeeded
    service.status["b"] = "Failed"
    run_until(watcher, service, service.now + 10)
    assert second.result(0).status is RunStatus.FAILED
    assert len(service.calls("POST", BULK)) == 1  # for the life of the watcher


def test_a_run_that_was_just_started_may_be_unknown_for_a_while(watcher: RunWatcher, service: History) -> None:
    future = watcher.add("r", 10).future
    run_until(watcher, service, service.now + 300)
    assert not future.done()
    service.status = {"r": "Completed"}
    run_until(watcher, service, service.now + 20)
    assert future.result(0).succeeded


def test_a_run_that_stays_unknown_is_an_error(watcher: RunWatcher, service: History) -> None:
    future = watcher.add("r", 10).future
    run_until(watcher, service, service.now + 1000)
    with pytest.raises(errors.NotFoundError):
        future.result(0)


def test_a_wrong_run_does_not_trouble_the_others(watcher: RunWatcher, service: History) -> None:
    service.status = {"good": "Completed"}
    bad, good = watcher.add("bad", 10).future, watcher.add("good", 10).future
    watcher.round()
    assert good.result(0).succeeded
    assert not bad.done()


def test_two_who_wait_for_one_run_cost_one_question(watcher: RunWatcher, service: History) -> None:
    service.status = {"r": "Completed"}
    futures = [watcher.add("r", 10).future for _ in range(3)]
    watcher.round()
    assert [future.result(0).run_id for future in futures] == ["r"] * 3
    (asked,) = service.calls("POST", BULK)
    assert list(asked.body["requests"]) == ["r"]


def test_the_watchers_own_thread_answers_and_ends(service: History) -> None:
    service.status = {"r": "Completed"}
    watcher = RunWatcher(service.session)
    assert watcher.watch("r", 10).result(timeout=10).succeeded
    assert watcher.watch("r", 10).result(timeout=10).succeeded  # and again, after it went idle
