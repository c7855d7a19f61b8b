"""How a task starts a run exactly once and ends as the run ends: on the worker, or after a deferral."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_amlbatch.aml.errors import ArgumentError, RunTimeoutError
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import ON_REUSE, OnReuse
from airflow_provider_amlbatch.links.pipeline_run import AzureMLRunLink
from airflow_provider_amlbatch.operators.killing import StartsRun
from airflow_provider_amlbatch.triggers.pipeline_run import DEADLINE_PASSED, LASTING, RUN_ID, AzureMLPipelineRunTrigger
from airflow_provider_amlbatch.triggers.settling import SETTLE_TIME

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found, unused-ignore]

    from airflow_provider_amlbatch.aml.submission import SubmissionKey


class AzureMLRunOperator(StartsRun, BaseOperator):
    """Base of the operators that start a run and may wait for its end.

    A subclass starts the run in :meth:`execute`, after it said so to :meth:`about_to_start`, and hands its id to
    :meth:`follow`.

    :param azureml_conn_id: connection to the workspace. (templated)
    :param wait_for_completion: whether the task ends with the run, or as soon as the run is started.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two questions about the run; long waits stretch it by up to a half.
    :param cancel_on_kill: whether a killed or timed-out task cancels its run.
    :param on_reuse: what to do when a step took over an older run's output instead of computing: ``warn``, ``fail`` or
        ``ignore``.
    :param settle_time: seconds for which a deferral lasts at least, because of an Airflow fault with short ones; by
        default 10 more than ``[workers] min_heartbeat_interval``.
    """

    template_fields: Sequence[str] = ("azureml_conn_id",)
    operator_extra_links = (AzureMLRunLink(),)

    def __init__(
        self,
        *,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        cancel_on_kill: bool = True,
        on_reuse: OnReuse = "warn",
        settle_time: float = SETTLE_TIME,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise ArgumentError(f"poll_interval is {poll_interval}; it must be a number of seconds above 0.")
        if settle_time < 0:
            raise ArgumentError(f"settle_time is {settle_time}; it must be a number of seconds, 0 or more.")
        if on_reuse not in ON_REUSE:
            raise ArgumentError(f"on_reuse is {on_reuse!r}; it must be one of {', '.join(ON_REUSE)}.")
        self.azureml_conn_id = azureml_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.on_reuse = on_reuse
        self.settle_time = settle_time
        self._run_id: str | None = None

    def follow(self, context: Context, run_id: str, patient: bool = True) -> str:
        """Show the run in Airflow, and wait for it if that is wanted.

        :param patient: whether a run that the service does not know is waited for, too.
        :return: the run id.
        :raises AirflowException: if the task was killed while it started the run.
        """
        self.run_started(run_id)
        self._run_id = run_id
        context["ti"].xcom_push(key=RUN_ID, value=run_id)
        AzureMLRunLink.persist(context, self.hook, run_id)
        if not self.wait_for_completion:
            return run_id
        outcome = self.hook.look(run_id, patient)
        if outcome is None and self.deferrable:
            self._defer(context, run_id)
        return self.hook.conclude(outcome or self.hook.wait(run_id, self.poll_interval), self.on_reuse)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on after a deferral."""
        self._run_id = run_id = str(event["run_id"])
        if event["status"] == DEADLINE_PASSED:
            outcome = self.hook.look(run_id)  # it may have ended since the trigger last asked
            if outcome is not None:
                return self.hook.conclude(outcome, self.on_reuse)
            if self.cancel_on_kill:
                self.hook.cancel_run(run_id)
            raise RunTimeoutError(
                f"Run {run_id} was not over within execution_timeout ({self.execution_timeout})"
                f"{' and was canceled' if self.cancel_on_kill else ''}.",
                run_id=run_id,
            )
        if "error" in event:
            self.log.warning("The triggerer could not go on waiting for run %s: %s", run_id, event["error"])
            return self.follow(context, run_id, patient=not event.get(LASTING))  # looks itself
        return self.hook.conclude(RunOutcome.from_json(event), self.on_reuse)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """Tell OpenLineage, where its provider is installed, what the run was given and where it writes."""
        del task_instance
        from airflow_provider_amlbatch.operators import lineage

        return None if self._run_id is None else lineage.of_run(self.hook.session, self._run_id)

    def _defer(self, context: Context, run_id: str) -> NoReturn:
        deadline = None
        if self.execution_timeout is not None:
            deadline = (context["ti"].start_date + self.execution_timeout).timestamp()
        self.defer(
            trigger=AzureMLPipelineRunTrigger(
                run_id=run_id,
                azureml_conn_id=self.azureml_conn_id,
                poll_interval=self.poll_interval,
                execution_deadline=deadline,
                not_before=time.time() + self.settle_time,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
        )


def submission_key(context: Context) -> SubmissionKey:
    """Make the key by which a task's run is found again after whatever happened to the task.

    All tries of a task instance share it. Clearing the task, or running the DAG run anew, starts another generation.
    """
    from airflow_provider_amlbatch.aml.submission import SubmissionKey

    ti = context["ti"]
    # Clearing raises max_tries above the task's own retries; a retry does not.
    cleared_at = getattr(ti, "max_tries", 0) - (ti.task.retries or 0)
    started = getattr(context.get("dag_run"), "start_date", None)
    labels = {
        "airflow_dag_id": ti.dag_id,
        "airflow_run_id": ti.run_id,
        "airflow_task_id": ti.task_id,
        "airflow_map_index": str(ti.map_index),
        "airflow_try_number": str(ti.try_number),
    }
    # Two deployments may run the same DAG against one workspace.
    deployment = conf.get("api", "base_url", fallback="")
    identity = (deployment, ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    return SubmissionKey.of(*identity, generation=f"{started}/{cleared_at}", labels=labels)
