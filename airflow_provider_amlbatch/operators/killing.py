"""What becomes of a run when a person kills the task that starts it.

Airflow calls ``on_kill()`` in the middle of what the task does, and lets that go on until it kills the process. So the
run may not exist yet, or exist without the task having heard its id.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook


class StartsRun:
    """What operators have in common that start a run and cancel it when the task is killed.

    Its state lies in attributes of the operator, of which Airflow makes a copy for each try.
    """

    azureml_conn_id: str
    log: Any
    #: Names the run in messages.
    kind_of_run = "Run"
    #: Whether it ends when the task is killed.
    cancel_on_kill = True
    _killed = False
    _find_runs: Callable[[AzureMLBatchHook], list[str]] | None = None

    @cached_property
    def hook(self) -> AzureMLBatchHook:
        """The hook of the connection."""
        return AzureMLBatchHook(self.azureml_conn_id)

    def about_to_start(self, find: Callable[[AzureMLBatchHook], list[str]]) -> None:
        """Say how to find the run that is about to be started.

        :raises AirflowException: if the task was killed already.
        """
        self._end_if_killed()
        self._find_runs = find

    def run_started(self, run_id: str) -> None:
        """Say what its id is.

        :raises AirflowException: if the task was killed meanwhile; the run is canceled then, which the kill may not
            have found.
        """
        self._find_runs = lambda _hook: [run_id]
        if self._killed and self.cancel_on_kill:
            self.hook.cancel_run(run_id)
        self._end_if_killed()

    def run_over(self) -> None:
        """Say that it has ended."""
        self._find_runs = None

    def on_kill(self) -> None:
        """Cancel the run, if it was started and still goes on."""
        self._killed = True
        if not self.cancel_on_kill or self._find_runs is None:
            return
        from airflow_provider_amlbatch.aml.session import Session

        try:
            # A session of its own: the killed code may hold the locks of the other one.
            hook = AzureMLBatchHook(self.azureml_conn_id, session=Session(self.hook.settings, attempts=2))
            for run_id in self._find_runs(hook):
                canceled = hook.cancel_run(run_id)
                how = "was asked to end" if canceled else "had already ended"
                self.log.info("%s %s %s.", self.kind_of_run, run_id, how)
        except Exception:
            self.log.exception("The task was killed, and its %s could not be canceled.", self.kind_of_run.lower())

    def _end_if_killed(self) -> None:
        if self._killed:
            raise AirflowException(f"The task was killed while it was about to start its {self.kind_of_run.lower()}.")
