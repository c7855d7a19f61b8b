"""Make, change, disable and enable Azure ML schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
    from airflow_provider_amlbatch.aml.scheduling import ScheduleChange, ScheduleResult

#: Arguments that can neither be a mapping nor become one by templating.
_NO_MAPPING = (set, frozenset, list, tuple, int, float)


class _WantedSchedule(BaseOperator):
    """What making and changing a schedule have in common: the arguments that can change later."""

    template_fields: Sequence[str] = (
        "azureml_conn_id",
        "experiment_name",
        "parameters",
        "description",
        "datastore",
        "path_on_datastore",
        "data_path_parameter_name",
    )
    template_fields_renderers = {"parameters": "json"}
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        experiment_name: str | None = None,
        recurrence: ScheduleRecurrence | Mapping[str, Any] | Any = None,
        datastore: str | None = None,
        path_on_datastore: str | None = None,
        polling_interval: int | None = None,
        data_path_parameter_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        description: str | None = None,
        continue_on_step_failure: bool | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if recurrence is not None and datastore is not None:
            raise ArgumentError(
                f"Task {self.task_id!r} gives both recurrence and datastore; a schedule fires by one of them."
            )
        needs_datastore = {
            "path_on_datastore": path_on_datastore,
            "polling_interval": polling_interval,
            "data_path_parameter_name": data_path_parameter_name,
        }
        stray = [name for name, value in needs_datastore.items() if value is not None]
        if stray and datastore is None:
            raise ArgumentError(
                f"{' and '.join(stray)} goes with datastore, which task {self.task_id!r} does not give."
            )
        if isinstance(parameters, _NO_MAPPING):
            raise ArgumentError(
                f"parameters is a {type(parameters).__name__}; it must be a mapping of names to values."
            )
        self.experiment_name = experiment_name
        self.recurrence = None if recurrence is None else _rule(recurrence)
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        self.polling_interval = polling_interval
        self.data_path_parameter_name = data_path_parameter_name
        self.parameters = parameters
        self.description = description
        self.continue_on_step_failure = continue_on_step_failure
        self.azureml_conn_id = azureml_conn_id

    def wanted(self) -> ScheduleChange:
        """What the schedule is to be; the traps that its recurrence walks into are logged."""
        from airflow_provider_amlbatch.aml.scheduling import POLLING_INTERVAL, BlobTrigger, ScheduleChange

        blobs = None
        if self.datastore is not None:
            interval = POLLING_INTERVAL if self.polling_interval is None else self.polling_interval
            blobs = BlobTrigger(self.datastore, self.path_on_datastore, interval, self.data_path_parameter_name)
        for warning in self.recurrence.warnings() if self.recurrence is not None else []:
            self.log.warning("recurrence: %s", warning)
        return ScheduleChange(
            recurrence=self.recurrence,
            blobs=blobs,
            experiment_name=self.experiment_name,
            description=self.description,
            parameters=self.parameters,
            continue_on_step_failure=self.continue_on_step_failure,
        )


class AzureMLCreateScheduleOperator(_WantedSchedule):
    """Make an Azure ML schedule, once: the one of that name is brought to what is asked for instead.

    A schedule that was disabled stays disabled, so that a second run of the task never lets Azure fire beside Airflow;
    :class:`AzureMLEnableScheduleOperator` enables it. Azure cannot change which pipeline a schedule runs and whether it
    fires by a recurrence: that is refused.

    The result is ``{"id", "name", "status", "created", "changed"}``.

    Give one of ``pipeline_id``, ``endpoint_url`` and ``pipeline_endpoint``; one of ``recurrence`` and ``datastore``.

    :param schedule_name: name of the schedule. (templated)
    :param experiment_name: the experiment that its runs belong to. (templated)
    :param pipeline_id: id of a published pipeline. (templated)
    :param endpoint_url: REST endpoint of a published pipeline or of a pipeline endpoint of this workspace. (templated)
    :param pipeline_endpoint: name of a pipeline endpoint; each run is of the version that is its default then.
        (templated)
    :param recurrence: when it fires: a ``ScheduleRecurrence``, ours or the SDK's, or a mapping of its arguments.
    :param datastore: blob datastore whose changed blobs fire it, one run each. (templated)
    :param path_on_datastore: folder to watch, its sub-folders not included; the whole container's root if left out.
        (templated)
    :param polling_interval: minutes between two looks; 5 if left out.
    :param data_path_parameter_name: pipeline parameter that gets the path of the changed blob. (templated)
    :param parameters: pipeline parameters of its runs. (templated)
    :param description: text shown with its runs. (templated)
    :param continue_on_step_failure: whether steps go on that do not depend on a failed one.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = (
        *_WantedSchedule.template_fields,
        "schedule_name",
        "pipeline_id",
        "endpoint_url",
        "pipeline_endpoint",
    )

    def __init__(
        self,
        *,
        schedule_name: str,
        experiment_name: str,
        pipeline_id: str | None = None,
        endpoint_url: str | None = None,
        pipeline_endpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(experiment_name=experiment_name, **kwargs)
        given = {"pipeline_id": pipeline_id, "endpoint_url": endpoint_url, "pipeline_endpoint": pipeline_endpoint}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ArgumentError(
                f"Task {self.task_id!r} names {' and '.join(named) or 'nothing'} to run; give exactly one of "
                "pipeline_id, endpoint_url and pipeline_endpoint."
            )
        if self.recurrence is None and self.datastore is None:
            raise ArgumentError(f"Task {self.task_id!r} gives neither recurrence nor datastore; give one of them.")
        self.schedule_name = schedule_name
        self.pipeline_id = pipeline_id
        self.endpoint_url = endpoint_url
        self.pipeline_endpoint = pipeline_endpoint

    def execute(self, context: Context) -> dict[str, Any]:
        """Check what is asked for, and make the schedule or change it."""
        del context
        from airflow_provider_amlbatch.aml.scheduling import ensure_schedule
        from airflow_provider_amlbatch.aml.target import find_target

        session = AzureMLBatchHook(self.azureml_conn_id).session
        target = find_target(
            session,
            pipeline_id=self.pipeline_id,
            endpoint_url=self.endpoint_url,
            pipeline_endpoint=self.pipeline_endpoint,
        )
        result = ensure_schedule(session, self.schedule_name, target, self.wanted())
        if not result.schedule.is_active:
            self.log.warning(
                "Schedule %r exists and is disabled; it stays so until AzureMLEnableScheduleOperator enables it.",
                self.schedule_name,
            )
        return _told(self, result)


class AzureMLUpdateScheduleOperator(_WantedSchedule):
    """Change an Azure ML schedule. What is left out stays as it is.

    The result is ``{"id", "name", "status", "created", "changed"}``.

    :param schedule: name or id of the schedule. (templated)
    :param recurrence: when it fires, as for :class:`AzureMLCreateScheduleOperator`.
    :param datastore: what it watches; ``path_on_datastore``, ``polling_interval`` and ``data_path_parameter_name`` are
        replaced together with it. (templated)
    :param experiment_name: the experiment that its runs belong to. (templated)
    :param parameters: pipeline parameters of its runs, all of them. (templated)
    :param description: text shown with its runs. (templated)
    :param continue_on_step_failure: whether steps go on that do not depend on a failed one.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = (*_WantedSchedule.template_fields, "schedule")

    def __init__(self, *, schedule: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule = schedule

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the schedule and change it."""
        del context
        from airflow_provider_amlbatch.aml.scheduling import change_schedule, check_against_pipeline, find_schedule

        session = AzureMLBatchHook(self.azureml_conn_id).session
        schedule, wanted = find_schedule(session, self.schedule), self.wanted()
        check_against_pipeline(session, schedule, wanted)
        return _told(self, change_schedule(session, schedule, wanted))


class _SwitchSchedule(BaseOperator):
    """What enabling and disabling have in common."""

    template_fields: Sequence[str] = ("schedule", "azureml_conn_id")
    ui_color = "#d6e9f8"
    on: bool

    def __init__(self, *, schedule: str, azureml_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule = schedule
        self.azureml_conn_id = azureml_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the schedule and switch it."""
        del context
        from airflow_provider_amlbatch.aml.scheduling import find_schedule, switch_schedule

        session = AzureMLBatchHook(self.azureml_conn_id).session
        return _told(self, switch_schedule(session, find_schedule(session, self.schedule), on=self.on))


class AzureMLDisableScheduleOperator(_SwitchSchedule):
    """Disable an Azure ML schedule. One that is disabled already is left as it is.

    To move a schedule to Airflow, use ``amlbatch schedules takeover``, which also says which slot is the first of
    Airflow's. The result is ``{"id", "name", "status", "created", "changed"}``.

    :param schedule: name or id of the schedule. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    on = False


class AzureMLEnableScheduleOperator(_SwitchSchedule):
    """Enable an Azure ML schedule. What it missed while it was disabled is never made up.

    The result is ``{"id", "name", "status", "created", "changed"}``.

    :param schedule: name or id of the schedule. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    on = True


def _rule(recurrence: Any) -> ScheduleRecurrence:
    from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence

    if isinstance(recurrence, ScheduleRecurrence):
        return recurrence
    if isinstance(recurrence, Mapping):
        try:
            return ScheduleRecurrence(**recurrence)
        except TypeError as error:
            raise ArgumentError(
                f"recurrence is {dict(recurrence)!r}, which ScheduleRecurrence refuses: {error}."
            ) from None
    if hasattr(recurrence, "frequency"):
        return ScheduleRecurrence.from_sdk(recurrence)
    raise ArgumentError(
        f"recurrence is {recurrence!r}, a {type(recurrence).__name__}; give a ScheduleRecurrence or a mapping of its "
        "arguments."
    )


def _told(operator: BaseOperator, result: ScheduleResult) -> dict[str, Any]:
    schedule = result.schedule
    status = "Active" if schedule.is_active else "Disabled"
    what = "made" if result.created else ("changed: " + ", ".join(result.changed) if result.changed else "as wanted")
    operator.log.info("Schedule %r (%s, %s): %s.", schedule.name, schedule.id, status, what)
    return {
        "id": schedule.id,
        "name": schedule.name,
        "status": status,
        "created": result.created,
        "changed": result.changed,
    }
