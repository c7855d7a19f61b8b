"""A person or a deadline that ends a task ends its run too; a triggerer that goes away never does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from invocation import Invocation
from live_airflow import LiveAirflow
from live_service import LiveService
from polling import wait_for

Invoke = Callable[..., Invocation]
CANCEL = "pipeline_runs.cancel_run"


def wait_until_it_waits(invocation: Invocation) -> None:
    """Wait until the run executes and the task waits for it."""
    if "deferred" in invocation.dag_run.dag_id:
        wait_for("trigger", invocation.dag_run.is_watched)
    invocation.wait_for_status(invocation.wait_for_run(), "Running")


def assert_canceled(invocation: Invocation) -> None:
    [run] = invocation.runs()
    invocation.wait_for_status(run, "Canceled")


@pytest.mark.parametrize("dag_id", ["live_waiting", "live_deferred"])
def test_a_task_marked_failed_cancels_its_run(invoke: Invoke, dag_id: str) -> None:
    invocation = invoke(dag_id)
    wait_until_it_waits(invocation)
    invocation.dag_run.mark_failed()
    assert_canceled(invocation)
    assert invocation.dag_run.wait_for_end() == "failed"


def test_a_task_marked_failed_during_its_submission_cancels_the_run(invoke: Invoke, live_service: LiveService) -> None:
    """The service has accepted the run, and the task does not know its id yet."""
    fault = live_service.hold("pipeline_runs.submit_pipeline")
    invocation = invoke("live_waiting")
    wait_for("task at the held operation", lambda: live_service.times_met(fault))
    invocation.dag_run.mark_failed()
    assert_canceled(invocation)


def test_a_timeout_cancels_the_run(invoke: Invoke) -> None:
    invocations = [invoke("live_waiting_timeout"), invoke("live_deferred_timeout")]
    for invocation in invocations:
        assert invocation.dag_run.wait_for_end() == "failed"
        assert_canceled(invocation)
        assert "execution_timeout" in invocation.dag_run.log() or "Timeout" in invocation.dag_run.log()


@pytest.mark.slow
def test_without_cancel_on_kill_the_run_goes_on(invoke: Invoke, live_service: LiveService) -> None:
    invocations = [invoke("live_waiting_spared"), invoke("live_deferred_spared")]
    live_service.clear_requests()
    for invocation in invocations:
        wait_until_it_waits(invocation)
        invocation.dag_run.mark_failed()
    wait_for("end of the task's process", lambda: "Task killed!" in invocations[0].dag_run.log())
    for invocation in invocations:
        assert invocation.dag_run.wait_for_end() == "failed"
        invocation.release()
        [run] = invocation.runs()
        invocation.wait_for_status(run, "Completed")
    assert CANCEL not in live_service.requests()


def assert_new_run_replaced_the_old(invocation: Invocation) -> None:
    first, second = invocation.runs()
    invocation.wait_for_status(first, "Canceled")
    invocation.release()
    assert invocation.dag_run.wait_for_end() == "success"
    assert invocation.dag_run.result == second.run_id
    assert [run.status for run in invocation.runs()] == ["Canceled", "Completed"]


@pytest.mark.slow
def test_a_task_cleared_on_its_worker_leaves_no_run_behind(invoke: Invoke) -> None:
    invocation = invoke("live_waiting")
    wait_until_it_waits(invocation)
    invocation.dag_run.clear()
    wait_for("second run", lambda: len(invocation.runs()) == 2)
    assert_new_run_replaced_the_old(invocation)


def test_a_task_cleared_while_deferred_leaves_no_run_behind(invoke: Invoke, live_airflow: LiveAirflow) -> None:
    """The triggerer learns of it so late that the task is deferred again, for its new run."""
    invocation = invoke("live_deferred")
    wait_until_it_waits(invocation)
    with live_airflow.paused("triggerer"):
        invocation.dag_run.clear()
        wait_for("second run", lambda: len(invocation.runs()) == 2)
        invocation.dag_run.wait_for_state("deferred")
    assert_new_run_replaced_the_old(invocation)


def test_a_triggerer_that_dies_or_restarts_cancels_nothing(
    invoke: Invoke, live_service: LiveService, live_airflow: LiveAirflow
) -> None:
    invocation = invoke("live_deferred")
    wait_until_it_waits(invocation)
    live_service.clear_requests()
    live_airflow.kill_part("triggerer")
    live_airflow.start_part("triggerer")
    # It waits for the run again.
    wait_for("question about the run", lambda: "history.get_batch_run_data" in live_service.requests())
    live_airflow.restart_part("triggerer")
    live_service.clear_requests()
    wait_for("question about the run", lambda: "history.get_batch_run_data" in live_service.requests())
    assert CANCEL not in live_service.requests()
    invocation.release()
    assert invocation.dag_run.wait_for_end() == "success"
    [run] = invocation.runs()
    assert invocation.dag_run.result == run.run_id
    assert invocation.dag_run.task["try_number"] == 1
