"""Arming, meeting and reporting faults; counting requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.faults import Fault, FaultKind, Faults, RequestCounts

OPERATIONS = {"history.get_run", "history.list_children", "models.get_model"}


def armed(**fault: object) -> Faults:
    faults = Faults()
    faults.arm(Fault.model_validate(fault), OPERATIONS)
    return faults


def test_a_named_fault_is_met_so_often_as_it_says_and_only_by_its_operation() -> None:
    faults = armed(operation="history.get_run", kind="reset_after", times=2)
    takes = [faults.take(name, "GET", "/p", with_token=True) for name in ("models.get_model", *["history.get_run"] * 3)]
    assert [fault is not None for fault in takes] == [False, True, True, False]
    assert not faults.is_any_armed
    assert faults.report().all_consumed


def test_a_pattern_picks_by_method_and_anywhere_in_the_path() -> None:
    faults = armed(operation="GET /runs/[^/]+$", kind="slow", times=10)
    path = "/history/v1.0/subscriptions/s/runs/r1"
    assert faults.take("x", "POST", path, with_token=True) is None
    assert faults.take("x", "GET", path + "/details", with_token=True) is None
    assert faults.take("x", "GET", path, with_token=True) is not None
    assert faults.report().faults[0].met == [f"GET {path}"]
    assert armed(operation="* /runs/", kind="slow").take("x", "PATCH", path, with_token=False) is not None


def test_faults_of_one_operation_happen_in_the_order_in_which_they_were_armed() -> None:
    faults = armed(operation="history.get_run", kind="status", status=429, retryAfter=7)
    faults.arm(Fault(operation="GET .*", kind=FaultKind.TRUNCATE), OPERATIONS)
    first, second, third = (faults.take("history.get_run", "GET", "/p", with_token=True) for _ in range(3))
    assert (first.kind, first.status, first.retry_after) == ("status", 429, 7) if first else False
    assert second is not None
    assert second.kind == "truncate"
    assert third is None


def test_expire_token_waits_for_a_request_with_a_token() -> None:
    faults = armed(operation="* .*", kind="expire_token")
    assert faults.take("x", "GET", "/p", with_token=False) is None
    assert not faults.report().all_consumed
    assert faults.take("x", "GET", "/p", with_token=True) is not None
    assert faults.report().all_consumed


def test_many_threads_meet_a_fault_exactly_so_often_as_it_says() -> None:
    faults = armed(operation="history.get_run", kind="status", times=50)
    with ThreadPoolExecutor(8) as pool:
        met = list(
            pool.map(lambda _: faults.take("history.get_run", "GET", "/p", with_token=True) is not None, range(400))
        )
    assert sum(met) == 50
    assert faults.report().faults[0].consumed == 50


def test_clearing_disarms_and_forgets() -> None:
    faults = armed(operation="history.get_run", kind="reset_before")
    faults.clear()
    assert faults.take("history.get_run", "GET", "/p", with_token=True) is None
    assert faults.report().faults == []


def test_an_unknown_operation_is_refused_with_those_near_it() -> None:
    with pytest.raises(BadRequest, match=r"'history\.getrun'.*history\.get_run"):
        armed(operation="history.getrun", kind="slow")


@pytest.mark.parametrize(("operation", "said"), [("get /x", "'get'"), ("GET /runs/(", "not a regular expression")])
def test_a_pattern_that_can_never_match_is_refused(operation: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        armed(operation=operation, kind="slow")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": "slow", "status": 503},
        {"kind": "status", "seconds": 3},
        {"kind": "status", "status": 404},
        {"kind": "status", "times": 0},
        {"kind": "status", "retry-after": 3},
    ],
)
def test_a_fault_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate({"operation": "history.get_run"} | wrong)


def test_requests_are_counted_by_operation_and_answer() -> None:
    counts = RequestCounts()
    for answer in ("200", "200", "reset"):
        counts.add("history.get_run", answer)
    counts.add("models.get_model", "404")
    report = counts.report()
    assert report.total == 4
    assert report.operations["history.get_run"].count == 3
    assert report.operations["history.get_run"].answers == {"200": 2, "reset": 1}
    counts.clear()
    assert counts.report().total == 0
