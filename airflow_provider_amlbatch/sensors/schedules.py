"""Follow what Azure does: the runs that a schedule starts, and the blobs that change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args
from urllib.parse import quote

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    Asset,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.aml.watermark import Change, Watermark, read_since
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sensors.position import Picked, position_of
from airflow_provider_amlbatch.triggers.pipeline_run import DEADLINE_PASSED
from airflow_provider_amlbatch.triggers.schedules import AzureMLBlobChangeTrigger, AzureMLScheduledRunTrigger
from airflow_provider_amlbatch.triggers.settling import SETTLE_TIME

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_amlbatch.aml.changes import Source

Mode = Literal["one_batch", "per_blob"]
MODES = get_args(Mode)


class _ChangeSensor(BaseSensorOperator):
    """Wait for something new in a list, and hand it on exactly once, over all DAG runs.

    Nothing is missed while no DAG run is waiting: the position lies in Airflow (see
    :mod:`airflow_provider_amlbatch.sensors.position`). Two DAG runs that wait at once could pick the same thing, so a
    DAG with such a sensor has ``max_active_runs=1``, as ``schedule="@continuous"`` asks for anyway.
    """

    template_fields: Sequence[str] = ("azureml_conn_id", "since")
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        asset_name: str,
        since: datetime | str | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        settle_time: float = SETTLE_TIME,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(since, datetime):
            read_since(since)  # a text may be a template, and is read when it is needed
        self.asset = Asset(asset_name)
        self.inlets = [*self.inlets, self.asset]
        self.since = since
        self.azureml_conn_id = azureml_conn_id
        self.deferrable = deferrable
        self.settle_time = settle_time

    @cached_property
    def hook(self) -> AzureMLBatchHook:
        """The hook of the connection."""
        return AzureMLBatchHook(self.azureml_conn_id)

    @cached_property
    def source(self) -> Source:
        """The list that is watched."""
        raise NotImplementedError

    def limit(self) -> int | None:
        """So many changes are picked at once."""
        raise NotImplementedError

    def value_of(self, changes: list[Change]) -> Any:
        """What the changes are handed on as."""
        raise NotImplementedError

    def trigger(self, **options: Any) -> BaseTrigger:
        """Make the trigger that waits for something new."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Wait as the sensor's mode says."""
        return self._wait(context) if self.deferrable else super().execute(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once, and pick what is new. A hiccup of the service is no answer, and no failure either."""
        from airflow_provider_amlbatch.aml.watcher import HICCUPS

        position = position_of(context, self.asset)
        mark = self._mark(context)
        picked = position.picked()
        if picked is None:
            try:
                found = mark.unseen(self.source.look(self.hook.session))[: self.limit()]
            except HICCUPS as error:
                self.log.warning("The list could not be read; trying again. %s", error)
                return False
            if not found:
                return False
            picked = Picked(found, self.value_of(found))
            # In this order: a task that dies in between picks the same again, and nothing else.
            position.pick(picked)
            self.log.info("Picked %d: %s", len(found), [change.value for change in found[:10]])
        position.move(mark.advanced(picked.changes, self.source.overlap))
        return PokeReturnValue(is_done=True, xcom_value=picked.value)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after a deferral."""
        if event["status"] == DEADLINE_PASSED:
            raise AirflowSensorTimeout(f"Nothing new within timeout ({self.timeout} s).")
        if "error" in event:
            self.log.warning("The triggerer could not go on waiting: %s", event["error"])
        return self._wait(context)  # looks itself, and meets an error itself if it lasts

    def _wait(self, context: Context) -> Any:
        done = self.poke(context)
        if isinstance(done, PokeReturnValue):
            return done.xcom_value
        deadline = context["ti"].start_date + timedelta(seconds=self.timeout)
        if deadline <= datetime.now(UTC):
            message = f"Nothing new within timeout ({self.timeout} s)."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        self._defer(context, deadline)
        return None

    def _defer(self, context: Context, deadline: datetime) -> NoReturn:
        self.defer(
            trigger=self.trigger(
                azureml_conn_id=self.azureml_conn_id,
                mark=self._mark(context).to_json(),
                poll_interval=self.poke_interval,
                execution_deadline=deadline.timestamp(),
                not_before=time.time() + self.settle_time,
            ),
            method_name="execute_complete",
        )

    def _mark(self, context: Context) -> Watermark:
        position = position_of(context, self.asset)
        mark = position.mark()
        if mark is None:
            mark = Watermark.since(_begin(context) if self.since is None else read_since(self.since))
            # Kept before anything is found: if this DAG run finds nothing, the next one begins where it began.
            position.move(mark)
        return mark


class AzureMLScheduledRunSensor(_ChangeSensor):
    """Wait for runs that an Azure ML schedule has started, and hand on each exactly once, also after an outage.

    The result is a list of run ids, oldest first: all that no earlier DAG run was given. They need not be over:
    ``AzureMLPipelineRunSensor.partial(..).expand(run_id=..)`` waits for their ends. What the schedule has started is
    asked of the service; no time is computed.

    Use it in a DAG with ``max_active_runs=1``, such as one with ``schedule="@continuous"``.

    :param schedule: name or id of the schedule. (templated)
    :param since: before the first pick of all, runs that were started earlier are passed over; an aware datetime or ISO
        text. The start of the first DAG run if left out. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    :param deferrable: whether to wait in the triggerer, without holding a worker; ``poke_interval`` and ``timeout``
        count there too.
    :param settle_time: seconds for which a deferral lasts at least, because of an Airflow fault with short ones; by
        default 10 more than ``[workers] min_heartbeat_interval``.
    """

    template_fields: Sequence[str] = (*_ChangeSensor.template_fields, "schedule")

    def __init__(self, *, schedule: str, azureml_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        name = f"azureml/{azureml_conn_id}/schedules/{quote(str(schedule))}"
        super().__init__(asset_name=name, azureml_conn_id=azureml_conn_id, **kwargs)
        self.schedule = schedule

    @cached_property
    def source(self) -> Source:
        """The runs of the schedule."""
        from airflow_provider_amlbatch.aml.changes import ScheduledRuns
        from airflow_provider_amlbatch.aml.scheduling import find_schedule

        return ScheduledRuns(find_schedule(self.hook.session, self.schedule).id)

    def limit(self) -> int:
        """As many as Airflow maps over; the rest is for the next DAG run."""
        return _longest_map()

    def value_of(self, changes: list[Change]) -> list[str]:
        """The run ids."""
        return [change.value for change in changes]

    def trigger(self, **options: Any) -> BaseTrigger:
        """Make the trigger that waits for a run."""
        return AzureMLScheduledRunTrigger(schedule=self.schedule, **options)


class AzureMLBlobChangeSensor(_ChangeSensor):
    """Wait for blobs that are new or changed, and hand on each change exactly once, also after an outage.

    An Azure schedule on a datastore starts one run for each changed blob: a thousand files, a thousand runs. This one
    hands on everything that changed since the last time as ``one_batch``, ``{"datastore", "paths"}``, for one run that
    scores it all; or, with ``per_blob``, a list of ``{"datastore", "path"}`` for dynamic task mapping, which gives the
    runs that Azure would start. Unlike Azure it can look into sub-folders, and it passes over what lay there before it
    was first run, as Azure does for what lay there when the schedule was made. A blob that changes twice between two
    looks is one change, for both.

    Use it in a DAG with ``max_active_runs=1``, such as one with ``schedule="@continuous"``.

    :param datastore: a datastore on Azure blob storage. (templated)
    :param path: the folder, from the container's root; the root if left out. (templated)
    :param mode: ``one_batch`` or ``per_blob``.
    :param wait_mode: what other sensors call ``mode``: ``poke`` or ``reschedule``, when not deferrable.
    :param recursive: whether sub-folders count.
    :param matching: regular expression that a blob's path below the folder must match as a whole, such as ``.*[.]csv``.
        (templated)
    :param since: before the first pick of all, what changed earlier is passed over; an aware datetime or ISO text. The
        start of the first DAG run if left out. (templated)
    :param azureml_conn_id: connection to the workspace. (templated)
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param settle_time: seconds for which a deferral lasts at least, because of an Airflow fault with short ones; by
        default 10 more than ``[workers] min_heartbeat_interval``.
    """

    template_fields: Sequence[str] = (*_ChangeSensor.template_fields, "datastore", "path", "matching")

    def __init__(
        self,
        *,
        datastore: str,
        path: str = "",
        mode: Mode = "one_batch",
        wait_mode: str = "poke",
        recursive: bool = False,
        matching: str = ".*",
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        if mode not in MODES:
            raise ArgumentError(
                f"mode is {mode!r}; it must be {' or '.join(MODES)}. How the sensor waits goes into wait_mode."
            )
        name = f"azureml/{azureml_conn_id}/datastores/{quote(str(datastore))}/{quote(str(path).strip('/'))}"
        super().__init__(asset_name=name, azureml_conn_id=azureml_conn_id, mode=wait_mode, **kwargs)
        self.datastore = datastore
        self.path = path
        self.recursive = recursive
        self.matching = matching
        self.delivery = mode

    @cached_property
    def source(self) -> Source:
        """The blobs of the folder."""
        from airflow_provider_amlbatch.aml.changes import ChangedBlobs

        return ChangedBlobs(self.datastore, self.path, self.recursive, self.matching)

    def limit(self) -> int | None:
        """As many as Airflow maps over, if each is to get a task; the rest is for the next DAG run."""
        return _longest_map() if self.delivery == "per_blob" else None

    def value_of(self, changes: list[Change]) -> Any:
        """One batch, or one data path for each blob."""
        if self.delivery == "per_blob":
            return [change.value for change in changes]
        return {"datastore": self.datastore, "paths": [change.value["path"] for change in changes]}

    def trigger(self, **options: Any) -> BaseTrigger:
        """Make the trigger that waits for a change."""
        return AzureMLBlobChangeTrigger(
            datastore=self.datastore,
            path=self.path,
            recursive=self.recursive,
            matching=self.matching,
            **options,
        )


def _longest_map() -> int:
    return int(conf.getint("core", "max_map_length", fallback=1024))


def _begin(context: Context) -> datetime:
    started: datetime = context["dag_run"].start_date or context["ti"].start_date
    return started
