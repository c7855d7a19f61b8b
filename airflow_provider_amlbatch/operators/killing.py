"""What becomes of a run when a person kills the task that starts it.

Airflow calls ``on_kill()`` in the middle of what the task does, and lets that go on until it kills the process. So the
run may not exist yet, or exist without the task having heard its id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

#: Finds the ids of the runs that a task has started.
Find = Callable[[AzureMLBatchHook], list[str]]


class StartedRun:
    """The run that a task starts.

    :param kind: names it in messages.
    :param cancel: whether it ends when the task is killed.
    """

    def __init__(self, kind: str, *, cancel: bool = True) -> None:
        self._kind = kind
        self._cancel = cancel
        self._find: Find | None = None
        self._killed = False

    def starting(self, find: Find) -> None:
        """Say how to find the run that is about to be started.

        :raises AirflowException: if the task was killed already.
        """
        self._end_if_killed()
        self._find = find

    def started(self, hook: AzureMLBatchHook, run_id: str) -> None:
        """Say what its id is.

        :raises AirflowException: if the task was killed meanwhile; the run is canceled then, which the kill may not
            have found.
        """
        self._find = lambda _hook: [run_id]
        if self._killed and self._cancel:
            hook.cancel_run(run_id)
        self._end_if_killed()

    def over(self) -> None:
        """Say that it has ended."""
        self._find = None

    def kill(self, hook: AzureMLBatchHook, log: Any) -> None:
        """Cancel the run, if it was started and still goes on. Never raises: the log tells what could not be done.

        :param hook: the task's own, whose connection is used.
        :param log: the task's logger.
        """
        self._killed = True
        if not self._cancel or self._find is None:
            return
        from airflow_provider_amlbatch.aml.session import Session

        try:
            # A session of its own: the killed code may hold the locks of the other one.
            own = AzureMLBatchHook(hook.azureml_conn_id, session=Session(hook.settings, attempts=2))
            for run_id in self._find(own):
                canceled = own.cancel_run(run_id)
                log.info("%s %s %s.", self._kind, run_id, "was asked to end" if canceled else "had already ended")
        except Exception:
            log.exception("The task was killed, and its %s could not be canceled.", self._kind.lower())

    def _end_if_killed(self) -> None:
        if self._killed:
            raise AirflowException(f"The task was killed while it was about to start its {self._kind.lower()}.")
