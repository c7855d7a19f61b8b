"""What operators and sensors do when something comes between: a kill, a deadline, a service that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Context,
    TaskDeferred,
)
from airflow_names import AIRFLOW_VERSION

from airflow_provider_amlbatch.aml.errors import NotFoundError, RunFailedError, RunTimeoutError, ServiceUnavailableError
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.awaiting import AzureMLRunOperator
from airflow_provider_amlbatch.sensors.pipeline_run import AzureMLPipelineRunSensor
from airflow_provider_amlbatch.triggers.pipeline_run import DEADLINE_PASSED, LASTING, AzureMLPipelineRunTrigger
from airflow_provider_amlbatch.triggers.settling import settle

COMPLETED, FAILED = RunOutcome("r", RunStatus.COMPLETED), RunOutcome("r", RunStatus.FAILED)
DEADLINE = {"run_id": "r", "status": DEADLINE_PASSED}
UNAVAILABLE = ServiceUnavailableError("GET was answered with 503", status=503)
GUID = "00000000-0000-0000-0000-000000000001"
SETTINGS = ConnectionSettings.from_fields(
    "azureml_default",
    "app",
    "a secret",
    {"tenantId": GUID, "subscriptionId": GUID, "resource_group_name": "g", "workspace_name": "w"},
)


class Service:
    """The hook's part of a service with one run.

    :param state: how the run ended; None while it goes on.
    """

    settings = SETTINGS

    def __init__(self, state: RunOutcome | None) -> None:
        self._state = state
        self.canceled: list[str] = []

    def run_link(self, run_id: str) -> str:
        """Its page."""
        return f"https://studio/{run_id}"

    def look(self, run_id: str, patient: bool = True) -> RunOutcome | None:
        """Whether it is over."""
        return self._state

    def cancel_run(self, run_id: str) -> bool:
        """End it."""
        self.canceled.append(run_id)
        return True

    def conclude(self, outcome: RunOutcome, on_reuse: str = "ignore") -> str:
        """What its end means."""
        if not outcome.succeeded:
            raise RunFailedError("it failed", run_id=outcome.run_id)
        return outcome.run_id


def context(hours: float = 0.0) -> Context:
    """The context of a task that started some hours ago."""
    started = datetime.now(UTC) - timedelta(hours=hours)
    return cast(Context, {"ti": SimpleNamespace(start_date=started, xcom_push=lambda **_: None)})


class Starting(AzureMLRunOperator):
    """Starts the run ``r``; ``happen`` is called at a stage: ``looking`` things up, or ``posting``."""

    def __init__(self, *, service: Service, happen: Callable[[AzureMLRunOperator, str], None], **options: Any) -> None:
        super().__init__(**{"deferrable": True} | options)
        self.hook = cast(Any, service)
        self._happen = happen
        self.started: list[str] = []

    def execute(self, context: Context) -> str:
        """Start it and wait."""
        self._happen(self, "looking")
        self.about_to_start(lambda _hook: [])  # the service does not show the run yet
        self._happen(self, "posting")
        self.started.append("r")
        return self.follow(context, "r")


def nothing(task: AzureMLRunOperator, stage: str) -> None:
    """Let it go on."""


def starting(service: Service, happen: Callable[[AzureMLRunOperator, str], None] = nothing, **options: Any) -> Starting:
    return Starting(task_id="start", service=service, happen=happen, **options)


def killed_at(stage: str) -> Callable[[AzureMLRunOperator, str], None]:
    # As Airflow does on SIGTERM: it calls on_kill() in the middle of execute(), and lets that go on.
    return lambda task, now: task.on_kill() if now == stage else None


def test_a_task_that_is_killed_before_it_submits_starts_nothing() -> None:
    service = Service(None)
    task = starting(service, killed_at("looking"))
    with pytest.raises(AirflowException, match="killed"):
        task.execute(context())
    assert (task.started, service.canceled) == ([], [])


def test_a_try_that_was_killed_does_not_end_the_next_one_in_the_same_process() -> None:
    task = starting(Service(COMPLETED), deferrable=False)
    killed, retried = cast(Starting, task.prepare_for_execution()), cast(Starting, task.prepare_for_execution())
    killed.on_kill()
    with pytest.raises(AirflowException, match="killed"):
        killed.execute(context())
    assert retried.execute(context()) == "r"


@pytest.mark.parametrize("cancel_on_kill", [True, False])
def test_a_task_that_is_killed_while_it_submits_cancels_what_it_started(cancel_on_kill: bool) -> None:
    service = Service(None)
    task = starting(service, killed_at("posting"), cancel_on_kill=cancel_on_kill)
    with pytest.raises(AirflowException, match="killed"):
        task.execute(context())
    assert (task.started, service.canceled) == (["r"], ["r"] if cancel_on_kill else [])


def test_a_look_that_fails_for_a_moment_is_no_answer_and_the_wait_goes_on() -> None:
    class Failing:
        settings = SETTINGS

        def send(self, call: object) -> Any:
            raise UNAVAILABLE

    assert AzureMLBatchHook(session=cast(Any, Failing())).look("r", patient=False) is None
    with pytest.raises(TaskDeferred):
        starting(Service(None)).execute(context())


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_run_that_does_not_exist_is_waited_for_a_quarter_of_an_hour(deferrable: bool) -> None:
    class Without:
        settings, studio = SETTINGS, "https://studio"

        def send(self, call: object) -> Any:
            raise NotFoundError("There is no run 'r'.", status=404)

        pages = send

    waiting = sensor(cast(Any, AzureMLBatchHook(session=cast(Any, Without()))), deferrable=deferrable)
    waiting.hook.run_link = lambda run_id: run_id  # type: ignore[method-assign]
    young, old = context(0.24), context(0.26)
    error = {"run_id": "r", "status": "error", "error": "There is no run 'r'."}
    if deferrable:  # there, the trigger has the patience
        for wait in (lambda: waiting.execute(young), lambda: waiting.execute_complete(young, error)):
            with pytest.raises(TaskDeferred):
                wait()
        lasting = {**error, LASTING: True}
        with pytest.raises(NotFoundError, match="no run 'r'"):
            waiting.execute_complete(young, lasting)
        started = starting(cast(Any, waiting.hook))
        with pytest.raises(NotFoundError, match="no run 'r'"):
            started.execute_complete(young, lasting)
    else:
        assert not waiting.poke(young)
        with pytest.raises(NotFoundError, match="no run 'r'"):
            waiting.poke(old)


def test_a_service_that_cannot_be_asked_costs_the_link_and_no_more() -> None:
    class Unreachable(Service):
        def run_link(self, run_id: str) -> str:
            raise UNAVAILABLE

    assert sensor(Unreachable(COMPLETED)).execute(context()) == "r"
    assert starting(Unreachable(COMPLETED)).execute(context()) == "r"


def test_a_run_that_ended_before_the_deadline_was_told_counts() -> None:
    task = starting(Service(COMPLETED), execution_timeout=timedelta(hours=1))
    assert task.execute_complete(context(2), DEADLINE) == "r"
    service = Service(None)
    with pytest.raises(RunTimeoutError, match="was canceled"):
        starting(service, execution_timeout=timedelta(hours=1)).execute_complete(context(2), DEADLINE)
    assert service.canceled == ["r"]


def sensor(service: Service, **options: Any) -> AzureMLPipelineRunSensor:
    made = AzureMLPipelineRunSensor(task_id="sensor", run_id="r", **{"deferrable": True} | options)
    made.hook = cast(Any, service)
    return made


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_sensor_may_skip_a_run_that_had_failed_before(deferrable: bool, option: str) -> None:
    with pytest.raises(AirflowSkipException):
        sensor(Service(FAILED), deferrable=deferrable, **{option: True}).execute(context())
    with pytest.raises(AirflowFailException, match="it failed"):
        sensor(Service(FAILED), deferrable=deferrable).execute(context())


def test_a_sensor_looks_once_more_when_its_time_is_over() -> None:
    assert sensor(Service(COMPLETED), timeout=3600).execute_complete(context(2), DEADLINE) == "r"
    for event in (DEADLINE, {"run_id": "r", "status": "error", "error": "no certificate"}):
        with pytest.raises(AirflowSensorTimeout, match=r"not over within timeout \(3600"):
            sensor(Service(None), timeout=3600).execute_complete(context(2), event)
    with pytest.raises(TaskDeferred):
        sensor(Service(None), timeout=3600).execute_complete(
            context(), {"run_id": "r", "status": "error", "error": "x"}
        )


def test_a_connection_that_cannot_be_read_now_ends_the_trigger_with_an_event() -> None:
    async def fired() -> dict[str, Any]:
        async for event in AzureMLPipelineRunTrigger("r", "nobody_made_this_connection", 1.0).run():
            return cast(dict[str, Any], event.payload)
        raise AssertionError("It fired nothing.")

    event = asyncio.run(fired())
    assert event["status"] == "error"
    assert "nobody_made_this_connection" in event["error"]


def test_a_completed_run_counts_although_its_steps_cannot_be_read() -> None:
    class Failing:
        settings, studio = SETTINGS, "https://studio"

        def pages(self, call: object) -> Any:
            raise UNAVAILABLE

    hook = AzureMLBatchHook(session=cast(Any, Failing()))
    assert hook.conclude(COMPLETED, "warn") == "r"
    with pytest.raises(ServiceUnavailableError):
        hook.conclude(COMPLETED, "fail")


def deferred_trigger() -> AzureMLPipelineRunTrigger:
    """The trigger of a task that deferred a moment ago, as a triggerer makes it."""
    trigger = AzureMLPipelineRunTrigger("r", "azureml_default", 1.0, not_before=time.time() + 3600)
    trigger.task_instance = cast(Any, SimpleNamespace(dag_id="d", task_id="t", run_id="m", map_index=-1))
    return trigger


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="there, nothing tells why a trigger is canceled")
@pytest.mark.parametrize("reasons", [("a person ended the task",), ()])
def test_a_person_who_ends_the_task_is_understood_although_airflow_never_calls_on_kill(
    reasons: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    async def canceled() -> None:
        trigger = deferred_trigger()
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0)
        waiting.cancel(*reasons)
        with suppress(asyncio.CancelledError):
            await waiting
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(canceled())
    # It has gone on to ask for the state of its task, which it has none of here.
    assert ("Run r is not canceled: the state of its task cannot be read" in capsys.readouterr().out) == bool(reasons)


def test_a_task_stays_deferred_until_its_own_process_is_gone_but_not_where_it_has_none() -> None:
    async def is_kept(trigger: AzureMLPipelineRunTrigger) -> bool:
        settling = asyncio.create_task(settle(trigger, trigger.not_before))
        done, _ = await asyncio.wait([settling], timeout=0.05)
        settling.cancel()
        return not done

    in_dag_test = deferred_trigger()
    in_dag_test.task_instance = None
    assert asyncio.run(is_kept(deferred_trigger()))
    assert not asyncio.run(is_kept(in_dag_test))
