"""The process of a task dies by SIGKILL at every step of an invocation: one run in the service, and its result.

The step is held open by the service, which does not answer, so that no test depends on being quick.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from invocation import Invocation
from live_airflow import LiveAirflow
from live_service import LiveService
from polling import wait_for

Invoke = Callable[..., Invocation]


def wait_for_hold(service: LiveService, fault: int) -> None:
    wait_for("task at the held operation", lambda: service.times_met(fault))


def assert_one_run_and_its_result(invocation: Invocation) -> None:
    assert invocation.dag_run.wait_for_end() == "success"
    [run] = invocation.runs()
    assert run.status == "Completed"
    assert invocation.dag_run.result == run.run_id


@pytest.mark.parametrize(
    ("operation", "runs_at_the_kill"),
    [
        pytest.param("history.query_runs", 0, id="before-the-post"),
        pytest.param("pipeline_runs.submit_pipeline", 1, id="accepted-but-not-answered"),
        # The name is shown as soon as the run is known, before anything is stored.
        pytest.param("history.modify_workspace_run", 1, id="answered-but-not-stored"),
        # The first look, after the run's id went to XCom.
        pytest.param("history.get_workspace_run", 1, id="stored"),
        pytest.param("history.get_batch_run_data", 1, id="waiting"),
        pytest.param("history.list_children_by_run_id", 1, id="concluding"),
    ],
)
def test_on_the_worker(invoke: Invoke, live_service: LiveService, operation: str, runs_at_the_kill: int) -> None:
    fault = live_service.hold(operation)
    invocation = invoke("live_waiting")
    if operation == "history.list_children_by_run_id":
        invocation.release()
    wait_for_hold(live_service, fault)
    invocation.dag_run.kill_task()
    assert len(invocation.runs()) == runs_at_the_kill
    invocation.release()
    assert_one_run_and_its_result(invocation)
    assert invocation.dag_run.task["try_number"] == 2


def test_about_to_defer(invoke: Invoke, live_service: LiveService) -> None:
    fault = live_service.hold("history.get_workspace_run")
    invocation = invoke("live_deferred")
    wait_for_hold(live_service, fault)
    invocation.dag_run.kill_task()
    invocation.dag_run.wait_for_state("deferred")
    invocation.release()
    assert_one_run_and_its_result(invocation)
    assert invocation.dag_run.task["try_number"] == 2


def test_deferring(invoke: Invoke, live_service: LiveService, live_airflow: LiveAirflow) -> None:
    """The process dies between handing over its deferral and the answer of the API server."""
    fault = live_service.arm("history.get_workspace_run", "slow", seconds=4)
    invocation = invoke("live_deferred")
    wait_for_hold(live_service, fault)
    pid = int(invocation.dag_run.task["pid"])
    with live_airflow.paused("api-server"):
        assert "Pausing task as DEFERRED" not in invocation.dag_run.log()
        wait_for("deferral", lambda: "Pausing task as DEFERRED" in invocation.dag_run.log())
        live_airflow.kill_worker_process(pid)
    invocation.dag_run.wait_for_state("deferred")
    invocation.release()
    assert_one_run_and_its_result(invocation)


def test_resuming(invoke: Invoke, live_service: LiveService) -> None:
    """The run has completed while the task was deferred, and the process that takes note of it dies."""
    invocation = invoke("live_deferred")
    invocation.dag_run.wait_for_state("deferred")
    fault = live_service.hold("history.list_children_by_run_id")
    invocation.release()
    wait_for_hold(live_service, fault)
    invocation.dag_run.kill_task()
    assert_one_run_and_its_result(invocation)
    assert invocation.dag_run.task["try_number"] == 2


@pytest.mark.parametrize("dag_id", ["live_waiting", pytest.param("live_deferred", marks=pytest.mark.slow)])
def test_a_failed_run_is_replaced_by_the_retry(invoke: Invoke, dag_id: str) -> None:
    invocation = invoke(dag_id)
    invocation.release("fail", 1)
    invocation.release("pass", 2)
    assert invocation.dag_run.wait_for_end() == "success"
    failed, completed = invocation.runs()
    assert (failed.status, completed.status) == ("Failed", "Completed")
    assert invocation.dag_run.result == completed.run_id


def test_a_cleared_task_gets_a_new_run(invoke: Invoke) -> None:
    invocation = invoke("live_waiting")
    invocation.release()
    assert invocation.dag_run.wait_for_end() == "success"
    invocation.dag_run.clear()
    wait_for("second run", lambda: len(invocation.runs()) == 2)
    assert invocation.dag_run.wait_for_end() == "success"
    first, second = invocation.runs()
    assert (first.status, second.status) == ("Completed", "Completed")
    assert invocation.dag_run.result == second.run_id
