"""What is done with schedules: found by name, made once, brought to what is wanted, switched on and off."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_amlbatch.aml import parameters as parameters_
from airflow_provider_amlbatch.aml import schedules
from airflow_provider_amlbatch.aml.datastore import get_datastore
from airflow_provider_amlbatch.aml.errors import (
    ArgumentError,
    NotFoundError,
    NotSentError,
    ServiceUnavailableError,
    UnexpectedReplyError,
    UnreachableError,
)
from airflow_provider_amlbatch.aml.pipelines import (
    ACTIVE,
    DISABLED,
    PipelineSubmissionInfo,
    PublishedPipeline,
    get_endpoint,
    get_graph_interface,
    get_pipeline,
)
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import (
    DATA_STORE,
    RECURRENCE,
    DataStoreTriggerInfo,
    Schedule,
    ScheduleCreationInfo,
)
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.target import Target

log = logging.getLogger(__name__)

#: Minutes between two looks of a data-store schedule, unless told otherwise.
POLLING_INTERVAL = 5


@dataclass(frozen=True)
class BlobTrigger:
    """What a data-store schedule watches.

    :param datastore: a datastore on Azure blob storage.
    :param path: the folder, from the container's root; its sub-folders do not count. The root if left out.
    :param polling_interval: minutes between two looks.
    :param data_path_parameter_name: the pipeline's parameter that gets the path of the changed blob.
    """

    datastore: str
    path: str | None = None
    polling_interval: int = POLLING_INTERVAL
    data_path_parameter_name: str | None = None

    def __post_init__(self) -> None:
        interval = self.polling_interval
        if not isinstance(interval, int) or isinstance(interval, bool) or interval < 1:
            raise ArgumentError(f"polling_interval must be a whole number of minutes, 1 or more, not {interval!r}.")

    def to_wire(self) -> DataStoreTriggerInfo:
        """Write it as the service takes it."""
        return DataStoreTriggerInfo(
            data_store_name=self.datastore,
            polling_interval=self.polling_interval,
            data_path_parameter_name=self.data_path_parameter_name,
            path_on_data_store=self.path,
        )


@dataclass(frozen=True)
class ScheduleChange:
    """What a schedule is to be, as far as it is said. What is None stays as it is.

    :param recurrence: when it fires, for a schedule that fires by a recurrence.
    :param blobs: what it watches, for one that fires for changed blobs.
    :param parameters: pipeline parameters of its runs, all of them.
    """

    recurrence: ScheduleRecurrence | None = None
    blobs: BlobTrigger | None = None
    experiment_name: str | None = None
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    continue_on_step_failure: bool | None = None

    def __post_init__(self) -> None:
        if self.recurrence is not None and self.blobs is not None:
            raise ArgumentError("recurrence and datastore exclude each other: a schedule fires by one of them.")
        if self.recurrence is not None and self.recurrence.month_end != "clamp":
            raise ArgumentError(
                f"recurrence has month_end={self.recurrence.month_end!r}, which an Azure schedule cannot be told; use "
                "AzureMLRecurrenceTimetable for that."
            )
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise ArgumentError(
                f"parameters is a {type(self.parameters).__name__}; it must be a mapping of names to values."
            )

    @property
    def is_reactive(self) -> bool:
        """Whether it is about a schedule that fires for changed blobs."""
        return self.blobs is not None

    def applied_to(self, schedule: Schedule) -> Schedule:
        """Return the schedule as it is to be.

        :raises ArgumentError: if it fires by the other means.
        """
        if (self.recurrence is not None or self.blobs is not None) and self.is_reactive != schedule.is_reactive:
            has, wanted = ("datastore", "recurrence") if schedule.is_reactive else ("recurrence", "datastore")
            raise ArgumentError(
                f"Schedule {schedule.name!r} ({schedule.id}) fires by {has} and cannot be changed to {wanted}: disable "
                "it, and make one under another name."
            )
        changes: dict[str, Any] = {
            "pipeline_submission_info": self._submission(schedule.pipeline_submission_info or PipelineSubmissionInfo())
        }
        if self.recurrence is not None and not _same_rule(schedule, self.recurrence):
            changes["recurrence"] = self.recurrence.to_wire()
        if self.blobs is not None:
            changes["data_store_trigger_info"] = self.blobs.to_wire()
        return schedule.model_copy(update=changes)

    def _submission(self, info: PipelineSubmissionInfo) -> PipelineSubmissionInfo:
        given = {
            "experiment_name": self.experiment_name,
            "description": self.description,
            "parameter_assignments": None if self.parameters is None else parameters_.assignments(self.parameters),
            "continue_run_on_step_failure": self.continue_on_step_failure,
        }
        return info.model_copy(update={name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class ScheduleResult:
    """A schedule, and what was done to it."""

    schedule: Schedule
    created: bool = False
    changed: list[str] = field(default_factory=list)


def find_schedule(session: Session, name_or_id: str) -> Schedule:
    """Find a schedule by its id or its name. Of several with one name, the only active one.

    :raises NotFoundError: if there is none.
    :raises ArgumentError: if the name does not tell which one is meant.
    """
    found = _matching(session, name_or_id)
    if found is None:
        raise NotFoundError(f"There is no schedule with the name or id {name_or_id!r} in the workspace.")
    return found


def _matching(session: Session, name_or_id: str) -> Schedule | None:
    listed = session.send(schedules.list_schedules(active_only=False))
    found = [entry for entry in listed if entry.id == name_or_id] or [
        entry for entry in listed if entry.name == name_or_id
    ]
    active = [entry for entry in found if entry.is_active]
    candidates = active or found
    if len(candidates) > 1:
        raise ArgumentError(
            f"{len(candidates)} {'active' if active else 'disabled'} schedules are named {name_or_id!r}; name one by "
            f"its id: {', '.join(entry.id for entry in candidates)}."
        )
    return candidates[0] if candidates else None


def ensure_schedule(session: Session, name: str, target: Target, wanted: ScheduleChange) -> ScheduleResult:
    """Make a schedule, or bring the one of that name to what is wanted. One that is disabled stays so.

    :param target: the pipeline or the pipeline endpoint that it runs.
    :raises ArgumentError: if Azure would refuse it, or if the one of that name runs something else.
    """
    _check(session, target, wanted)
    existing = _matching(session, name)
    if existing is None:
        return ScheduleResult(_create(session, name, target, wanted), created=True)
    runs, wants = existing.pipeline_endpoint_id or existing.pipeline_id, _target_id(target)
    if runs != wants:
        raise ArgumentError(
            f"Schedule {name!r} ({existing.id}) runs {runs} and not {wants}, and Azure cannot change that: disable it, "
            "and make one under another name."
        )
    return change_schedule(session, existing, wanted)


def change_schedule(session: Session, schedule: Schedule, wanted: ScheduleChange) -> ScheduleResult:
    """Change what is wanted otherwise of a schedule, with one call, or with none if all is as wanted."""
    after = wanted.applied_to(schedule)
    changed = [name for name in type(schedule).model_fields if getattr(after, name) != getattr(schedule, name)]
    if not changed:
        return ScheduleResult(schedule)
    return ScheduleResult(session.send(schedules.update_schedule(after)), changed=changed)


def switch_schedule(session: Session, schedule: Schedule, *, on: bool) -> ScheduleResult:
    """Enable or disable a schedule, if it is not so already."""
    if schedule.is_active == on:
        return ScheduleResult(schedule)
    after = schedule.model_copy(update={"entity_status": ACTIVE if on else DISABLED})
    return ScheduleResult(session.send(schedules.update_schedule(after)), changed=["entity_status"])


def rule_of(schedule: Schedule) -> ScheduleRecurrence:
    """Read the recurrence of a schedule.

    :raises ArgumentError: if it has none.
    """
    if schedule.is_reactive or schedule.recurrence is None:
        raise ArgumentError(
            f"Schedule {schedule.name!r} ({schedule.id}) fires for changed blobs, not by a recurrence; "
            "AzureMLBlobChangeSensor does that."
        )
    return ScheduleRecurrence.from_wire(schedule.recurrence)


def check_against_pipeline(session: Session, schedule: Schedule, wanted: ScheduleChange) -> None:
    """Refuse what the pipeline of a schedule does not declare.

    :raises ArgumentError: naming the parameter.
    """
    if schedule.pipeline_endpoint_id:
        endpoint = session.send(get_endpoint(schedule.pipeline_endpoint_id))
        versions = {item.version: item.pipeline_id for item in endpoint.pipeline_version_list}
        pipeline_id = versions.get(endpoint.default_version or "")
    else:
        pipeline_id = schedule.pipeline_id
    if pipeline_id is not None:
        _check_parameters(session, session.send(get_pipeline(pipeline_id)), wanted)


def _check_parameters(session: Session, pipeline: PublishedPipeline, wanted: ScheduleChange) -> None:
    name = wanted.blobs.data_path_parameter_name if wanted.blobs is not None else None
    if pipeline.graph_id is not None:
        parameters_.check(
            pipeline,
            session.send(get_graph_interface(pipeline.graph_id)),
            parameters=parameters_.assignments(wanted.parameters),
            datasets=[],
            data_paths=[] if name is None else [name],
        )


def _check(session: Session, target: Target, wanted: ScheduleChange) -> None:
    if wanted.recurrence is None and wanted.blobs is None:
        raise ArgumentError("Give a schedule one of recurrence and datastore; it has neither.")
    _check_parameters(session, target.pipeline, wanted)
    if wanted.blobs is not None:
        found = session.send(get_datastore(wanted.blobs.datastore))
        if found.data_store_type != "AzureBlob":
            raise ArgumentError(
                f"datastore {wanted.blobs.datastore!r} is of type {found.data_store_type}, and Azure watches AzureBlob "
                "only."
            )


def _create(session: Session, name: str, target: Target, wanted: ScheduleChange) -> Schedule:
    empty = Schedule(id="", schedule_type=DATA_STORE if wanted.is_reactive else RECURRENCE)
    made = wanted.applied_to(empty)
    info = ScheduleCreationInfo(
        name=name,
        pipeline_id=None if target.endpoint is not None else target.pipeline.id,
        pipeline_endpoint_id=None if target.endpoint is None else target.endpoint.id,
        pipeline_submission_info=made.pipeline_submission_info,
        recurrence=made.recurrence,
        schedule_type=made.schedule_type,
        data_store_trigger_info=made.data_store_trigger_info,
    )
    try:
        return session.send(schedules.create_schedule(info))
    except NotSentError:
        raise
    except (ServiceUnavailableError, UnreachableError, UnexpectedReplyError) as error:
        # The name is the key by which a schedule whose answer was lost is found again.
        log.warning("The answer to the making of schedule %r was lost (%s); looking whether it was made.", name, error)
        found = _matching(session, name)
        if found is None:
            raise
        return found


def _target_id(target: Target) -> str:
    return target.pipeline.id if target.endpoint is None else target.endpoint.id


def _same_rule(schedule: Schedule, wanted: ScheduleRecurrence) -> bool:
    if schedule.recurrence is None:
        return False
    return ScheduleRecurrence.from_wire(schedule.recurrence) == ScheduleRecurrence.from_wire(wanted.to_wire())
