"""Wait for a pipeline run that something else has started."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_amlbatch.aml.errors import AzureMLBatchError, RunError
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.pipeline_run import AzureMLRunLink
from airflow_provider_amlbatch.triggers.pipeline_run import DEADLINE_PASSED, LASTING, AzureMLPipelineRunTrigger
from airflow_provider_amlbatch.triggers.settling import SETTLE_TIME

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AzureMLPipelineRunSensor(BaseSensorOperator):
    """Wait until a pipeline run is over, and succeed if it completed. The run id is the result.

    A run that failed or was canceled fails the sensor at once and for good, or skips it with ``soft_fail``. The sensor
    never cancels a run: it did not start it.

    :param run_id: the run. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    :param deferrable: whether to wait in the triggerer, without holding a worker; ``poke_interval`` and ``timeout``
        count there too.
    :param settle_time: seconds for which a deferral lasts at least, because of an Airflow fault with short ones; by
        default 10 more than ``[workers] min_heartbeat_interval``.
    """

    template_fields: Sequence[str] = ("run_id", "azureml_conn_id")
    operator_extra_links = (AzureMLRunLink(),)
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        run_id: str,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        settle_time: float = SETTLE_TIME,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.azureml_conn_id = azureml_conn_id
        self.deferrable = deferrable
        self.settle_time = settle_time
        self._told: str | None = None

    @cached_property
    def hook(self) -> AzureMLBatchHook:
        """The hook of the connection."""
        return AzureMLBatchHook(self.azureml_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait as the sensor's mode says."""
        AzureMLRunLink.persist(context, self.hook, self.run_id)
        if not self.deferrable:
            return super().execute(context)
        try:
            return self._wait(context)
        except (AirflowFailException, AirflowSensorTimeout) as error:
            # What Airflow does for a sensor that pokes, and for one that is resumed.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look at the run once. A hiccup of the service is no answer, and no failure either."""
        from airflow_provider_amlbatch.aml.watcher import PATIENCE

        ti: Any = context["ti"]
        # A rescheduled sensor starts anew each time.
        began = ti.get_first_reschedule_date(context) if self.reschedule else None
        waited = datetime.now(UTC) - (began or ti.start_date)
        outcome = self.hook.look(self.run_id, patient=waited.total_seconds() < PATIENCE)
        if outcome is None:
            self._tell_progress()
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(outcome))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on after a deferral."""
        if not isinstance(event, dict):  # dag.test() resumes even a task that its trigger has ended
            return self._wait(context)
        if event["status"] == DEADLINE_PASSED:
            return self._wait(context)  # it may have ended since the trigger last asked
        if "error" in event:
            self.log.warning("The triggerer could not go on waiting for run %s: %s", self.run_id, event["error"])
            return self._wait(context, patient=not event.get(LASTING))
        return self._conclude(RunOutcome.from_json(event))

    def _tell_progress(self) -> None:
        """Log how far the run has got, if that is something new. Rescheduled sensors forget what they told."""
        from airflow_provider_amlbatch.aml.progress import read_progress

        try:
            line = read_progress(self.hook.session, self.run_id)
        except AzureMLBatchError as error:  # a courtesy, which must never trouble a wait
            self.log.debug("The progress of run %s cannot be read: %s", self.run_id, error)
            return
        if line is not None and line != self._told:
            self.log.info(line)
            self._told = line

    def _wait(self, context: Context, patient: bool = True) -> str:
        outcome = self.hook.look(self.run_id, patient)
        if outcome is None:
            self._defer(context)
        return self._conclude(outcome)

    def _conclude(self, outcome: RunOutcome) -> str:
        try:
            return self.hook.conclude(outcome)
        except RunError as error:
            # Trying again cannot help: the run is over. This is also what soft_fail listens to.
            raise AirflowFailException(str(error)) from error

    def _defer(self, context: Context) -> NoReturn:
        deadline = context["ti"].start_date + timedelta(seconds=self.timeout)
        if deadline <= datetime.now(UTC):
            raise AirflowSensorTimeout(f"Run {self.run_id} was not over within timeout ({self.timeout} s).")
        self.defer(
            trigger=AzureMLPipelineRunTrigger(
                run_id=self.run_id,
                azureml_conn_id=self.azureml_conn_id,
                poll_interval=self.poke_interval,
                execution_deadline=deadline.timestamp(),
                not_before=time.time() + self.settle_time,
                cancel_on_kill=False,
                # An outlet's event is written by a worker only.
                ends_task=not self.outlets,
            ),
            method_name="execute_complete",
        )
