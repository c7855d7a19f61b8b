"""The trigger that waits for a pipeline run. It asks nobody itself: the process's run watcher does."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.triggers.settling import settle

#: XCom key of the run id, stored as soon as the run exists.
RUN_ID = "run_id"
#: ``status`` of the event that says that the deadline passed.
DEADLINE_PASSED = "DeadlinePassed"
#: Key of an event with ``error`` that says whether the run was not known for as long as patience reached.
LASTING = "lasting"
#: Airflow 3.3 calls ``on_kill`` itself; before, a canceled trigger has to find out why.
_AIRFLOW_CALLS_ON_KILL = hasattr(BaseTrigger, "on_kill")
#: Work for triggers that were killed; an event loop itself keeps no task alive.
_going_on: set[asyncio.Task[None]] = set()


class AzureMLPipelineRunTrigger(BaseTrigger):
    """Fire when a pipeline run is over.

    The event carries a run outcome as JSON, or ``status`` :data:`DEADLINE_PASSED`, or ``error``. Nothing but the end of
    the run, the deadline, or a lasting refusal of the service ends the wait.

    :param run_id: the run.
    :param azureml_conn_id: the connection.
    :param poll_interval: seconds between two questions about the run.
    :param execution_deadline: epoch second at which the wait ends; absolute, so a restarted triggerer keeps it.
    :param not_before: epoch second before which nothing is fired (see :mod:`.settling`).
    :param cancel_on_kill: whether a person who kills the waiting task ends the run as well.
    :param ends_task: whether a run that completed ends the task here, without a worker; XCom gets the run id.
    """

    def __init__(
        self,
        run_id: str,
        azureml_conn_id: str,
        poll_interval: float,
        execution_deadline: float | None = None,
        not_before: float = 0.0,
        cancel_on_kill: bool = True,
        ends_task: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.azureml_conn_id = azureml_conn_id
        self.poll_interval = poll_interval
        self.execution_deadline = execution_deadline
        self.not_before = not_before
        self.cancel_on_kill = cancel_on_kill
        self.ends_task = ends_task
        self._ending: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class and the arguments to build the trigger again elsewhere."""
        return (
            "airflow_provider_amlbatch.triggers.pipeline_run.AzureMLPipelineRunTrigger",
            {
                "run_id": self.run_id,
                "azureml_conn_id": self.azureml_conn_id,
                "poll_interval": self.poll_interval,
                "execution_deadline": self.execution_deadline,
                "not_before": self.not_before,
                "cancel_on_kill": self.cancel_on_kill,
                "ends_task": self.ends_task,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        try:
            await settle(self, self.not_before)
            event = await self._wait()
        except asyncio.CancelledError as error:
            if not _AIRFLOW_CALLS_ON_KILL:
                await self.on_kill()
            elif error.args:
                # The reason that Airflow gives when a person ended the task. It means to call on_kill() then, but of
                # many that end at once it cancels most a second time before it gets there, and never calls it.
                self._begin_to_end()
            raise
        yield event  # whatever ends the trigger from here on is no kill: dag.test() does

    async def on_kill(self) -> None:
        """Cancel the run of a task that a person killed.

        Airflow 3.3.0 to 3.3.2 repeats the cancellation of a trigger every second until it is gone, and so would end
        this in the middle: the work is a task of its own, which goes on.
        """
        await asyncio.shield(self._begin_to_end())

    def _begin_to_end(self) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = asyncio.create_task(self._cancel_if_killed())
            _going_on.add(self._ending)
            self._ending.add_done_callback(_going_on.discard)
        return self._ending

    async def _wait(self) -> TriggerEvent:
        from airflow_provider_amlbatch.aml.errors import AzureMLBatchError, NotFoundError

        try:
            settings = await AzureMLBatchHook.read_settings(self.azureml_conn_id)
            watcher = await asyncio.to_thread(_watcher_of, settings)
            watched = watcher.watch(self.run_id, self.poll_interval, self._progress_teller())
            async with asyncio.timeout(_seconds_until(self.execution_deadline)):
                outcome = await asyncio.wrap_future(watched)
        except TimeoutError:
            return TriggerEvent({"run_id": self.run_id, "status": DEADLINE_PASSED})
        except (AzureMLBatchError, AirflowException) as error:
            # Also a connection that Airflow cannot read at this moment, of which it says that it is not defined.
            lasting = isinstance(error, NotFoundError)
            return TriggerEvent({"run_id": self.run_id, "status": "error", "error": str(error), LASTING: lasting})
        if self.ends_task and outcome.succeeded:
            return TaskSuccessEvent(xcoms={"return_value": self.run_id})
        return TriggerEvent(outcome.to_json())

    def _progress_teller(self) -> Callable[[str], None]:
        """Make a function that writes a line into the task's log, from whatever thread."""
        # The triggerer finds the task's log by the context of this coroutine.
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(self.log.info, line, context=context)

        return tell

    async def _cancel_if_killed(self) -> None:
        """Cancel the run unless the task still waits for it.

        Airflow 3.3.0 to 3.3.2 also calls ``on_kill`` when a trigger only moves to another triggerer. When nobody can
        tell, the run is left alone: a run too long beats a run destroyed.
        """
        if not self.cancel_on_kill:
            return
        try:
            waits = await self._task_waits()
        except Exception:
            self.log.exception("Run %s is not canceled: the state of its task cannot be read.", self.run_id)
            return
        if waits:
            self.log.info("Run %s is not canceled: its task still waits for it, in another triggerer.", self.run_id)
            return
        settings = await AzureMLBatchHook.read_settings(self.azureml_conn_id)
        canceled = await asyncio.to_thread(_cancel, settings, self.run_id)
        self.log.info("Run %s %s.", self.run_id, "was asked to end" if canceled else "had already ended")

    async def _task_waits(self) -> bool:
        """Ask whether the task is still deferred, and for this run.

        A task that was cleared may be deferred again by now, for a new run, whose id it stored before.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
        from airflow.sdk.execution_time.xcom import XCom
        from asgiref.sync import sync_to_async

        ti = self.task_instance
        if ti is None:
            raise LookupError("The trigger does not know its task instance.")
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        if "deferred" not in [str(getattr(s, "value", s)) for s in states.get(ti.run_id, {}).values()]:
            return False
        stored = await sync_to_async(XCom.get_one)(
            key=RUN_ID, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )
        return stored in (None, self.run_id)


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.time())


def _watcher_of(settings: Any) -> Any:
    # Imported and made away from the event loop, which must not wait for it.
    from airflow_provider_amlbatch.aml.watcher import watcher_of

    return watcher_of(settings)


def _cancel(settings: Any, run_id: str) -> bool:
    # A session of its own would log in for each of the thousand tasks of a DAG run that somebody ends.
    return AzureMLBatchHook(settings.conn_id, session=_watcher_of(settings).session).cancel_run(run_id)
