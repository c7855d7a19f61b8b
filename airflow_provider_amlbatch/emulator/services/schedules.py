"""Schedules, and their firing: by recurrence, or for blobs that are new or changed."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.pipelines import (
    ACTIVE,
    DISABLED,
    DataPath,
    PipelineRun,
    PipelineSubmissionInfo,
    PublishedPipeline,
)
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import DATA_STORE, RECURRENCE, Schedule, ScheduleCreationInfo
from airflow_provider_amlbatch.aml.wire import Camel, Instant, format_time
from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound, ServiceError, Unsupported
from airflow_provider_amlbatch.emulator.services.datastores import DatastoreService
from airflow_provider_amlbatch.emulator.services.endpoints import EndpointService
from airflow_provider_amlbatch.emulator.services.pipeline_runs import PipelineRunService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService, status_name
from airflow_provider_amlbatch.emulator.store import Store

log = logging.getLogger(__name__)

_TYPES = {"0": RECURRENCE, "1": DATA_STORE}

#: Runs that one look may start, so that a clock that was moved by years does not keep everything else waiting.
_AT_ONCE = 50

#: A server that was away for no longer than this fires what it missed; one that was away for longer does not.
_RESTART = timedelta(minutes=5)

#: How far a server that is killed may have gone on after the instant that is kept of its last look.
_KEPT_EVERY = timedelta(minutes=1)

#: A call of a function in a parameter's value, which Azure evaluates at each firing; other texts are taken as they are.
_EXPRESSION = re.compile(
    r"@(trigger|createdBy|runId|add(Days|Hours|Minutes|Seconds|ToTime)|convert(FromUtc|TimeZone|ToUtc)"
    r"|dayOf(Month|Week|Year)|formatDateTime|startOf(Day|Hour|Month)|subtractFromTime|utcNow)\("
)

#: Minutes between two looks at a datastore.
_POLLING_INTERVAL = 5


class ScheduleDocument(Schedule):
    """A schedule as it is kept.

    :param anchor: the instant at which it was made.
    :param seen_until: everything up to this instant has fired, or never will.
    :param last_error: why the last firing started no run.
    """

    anchor: Instant
    seen_until: Instant
    last_error: str | None = None


class SeenBlobs(Camel):
    """The blobs under a schedule's path at the last look: etag by name."""

    etags: dict[str, str] = {}


class LastLook(Camel):
    """When schedules were last looked at."""

    at: Instant


#: The key of the one document of its kind.
_LAST = "last"


class ScheduleService:
    """Keeps schedules and fires them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        blobs: BlobStore,
        datastores: DatastoreService,
        pipelines: PipelineService,
        endpoints: EndpointService,
        runs: PipelineRunService,
    ) -> None:
        self._store = store
        self._clock = clock
        self._blobs = blobs
        self._datastores = datastores
        self._pipelines = pipelines
        self._endpoints = endpoints
        self._runs = runs
        self._schedules = store.collection(
            "schedules", ScheduleDocument, indexes=("PipelineId", "PipelineEndpointId", "EntityStatus")
        )
        self._seen = store.collection("scheduleblobs", SeenBlobs)
        self._looks = store.collection("schedulelooks", LastLook)
        self._ticking = threading.Lock()

    def create(self, info: ScheduleCreationInfo) -> Schedule:
        """Make a schedule.

        :raises BadRequest: if it is not one that can fire.
        """
        key, now = str(uuid.uuid4()), self._clock.now()
        schedule = ScheduleDocument(
            id=key,
            name=info.name,
            pipeline_id=info.pipeline_id,
            pipeline_endpoint_id=info.pipeline_endpoint_id,
            pipeline_submission_info=info.pipeline_submission_info,
            recurrence=info.recurrence,
            schedule_type=_TYPES.get(str(info.schedule_type), info.schedule_type),
            data_store_trigger_info=info.data_store_trigger_info,
            provisioning_status="Completed",
            created_date=now,
            last_modified_date=now,
            anchor=now,
            seen_until=now - timedelta(microseconds=1),
        )
        self._check(schedule)
        self._check_references(schedule)
        if schedule.schedule_type == DATA_STORE:
            # Inferred: what lies there when the schedule is made does not fire.
            self._seen.put(key, SeenBlobs(etags=self._look(schedule)))
            schedule.seen_until = now
        return self._schedules.put(key, schedule)

    def get(self, schedule_id: str) -> Schedule:
        """The schedule with that id.

        :raises NotFound: if there is none.
        """
        schedule = self._schedules.get(schedule_id)
        if schedule is None:
            raise NotFound(f"There is no schedule with the id {schedule_id!r}.", code="ScheduleNotFound")
        return schedule

    def list_schedules(
        self, *, active_only: bool = False, pipeline_id: str | None = None, endpoint_id: str | None = None
    ) -> list[Schedule]:
        """The schedules, newest first."""
        if pipeline_id is not None:
            found = self._schedules.find(newest_first=True, PipelineId=pipeline_id)
        elif endpoint_id is not None:
            found = self._schedules.find(newest_first=True, PipelineEndpointId=endpoint_id)
        else:
            found = self._schedules.find(newest_first=True)
        return [schedule for schedule in found if not active_only or schedule.entity_status == ACTIVE]

    def update(self, schedule_id: str, given: Schedule) -> Schedule:
        """Replace what can change of a schedule.

        Inferred: the instant at which it was made stays the anchor of its recurrence, and what was missed while it was
        disabled is never made up.

        :raises BadRequest: if the schedule could not fire any more, or would become one of the other kind.
        """
        with self._ticking:  # what is being fired now has fired when the change is answered for, and nothing after it
            return self._update(schedule_id, given)

    def _update(self, schedule_id: str, given: Schedule) -> Schedule:
        kept = self._schedules.get(schedule_id)
        if kept is None:
            raise NotFound(f"There is no schedule with the id {schedule_id!r}.", code="ScheduleNotFound")
        kind = _TYPES.get(str(given.schedule_type), given.schedule_type)
        if kind not in (None, kept.schedule_type):
            raise BadRequest(f"A schedule of type {kept.schedule_type} cannot become one of type {kind}.")
        was_active, rule = kept.entity_status == ACTIVE, kept.recurrence
        kept.name = given.name
        kept.entity_status = status_name(given.entity_status)
        kept.recurrence = given.recurrence
        kept.data_store_trigger_info = given.data_store_trigger_info
        kept.pipeline_submission_info = given.pipeline_submission_info
        kept.last_modified_date = self._clock.now()
        self._check(kept)
        if kept.entity_status == ACTIVE:  # one that refers to what is gone can be disabled still
            self._check_references(kept)
            if not was_active or kept.recurrence != rule:
                kept.seen_until = self._clock.now()
                if kept.schedule_type == DATA_STORE:
                    self._seen.put(schedule_id, SeenBlobs(etags=self._look(kept)))
        return self._schedules.put(schedule_id, kept)

    def set_pipeline_status(self, pipeline_id: str, status: str) -> PublishedPipeline:
        """Enable a published pipeline, or disable it if no schedule runs it.

        :raises BadRequest: if one does.
        """
        active = self.list_schedules(active_only=True, pipeline_id=pipeline_id)
        if active and status_name(status) != ACTIVE:
            raise BadRequest(
                f"The pipeline has the active schedule {active[0].name!r}: disable the schedule first.",
                code="PipelineHasActiveSchedules",
            )
        return self._pipelines.set_status(pipeline_id, status)

    def runs(self, schedule_id: str) -> list[PipelineRun]:
        """The runs that a schedule started, newest first."""
        self.get(schedule_id)
        return self._runs.list_runs(schedule_id=schedule_id)

    def resume(self) -> None:
        """Take up the schedules after the server was away: what a long absence missed does not fire.

        Inferred: Azure is never away; a schedule that was disabled for that time would not fire either.
        """
        now = self._clock.now()
        last = self._looks.get(_LAST)
        if last is None or not last.at <= now <= last.at + _RESTART:
            for schedule in self._schedules.find(EntityStatus=ACTIVE):
                self._advance(schedule.id, now)

    def pause(self) -> None:
        """Keep when the schedules were last looked at, for :meth:`resume`."""
        with self._ticking:
            self._looks.put(_LAST, LastLook(at=self._clock.now()))

    def tick(self) -> None:
        """Fire what is due; when this returns, it has fired."""
        with self._ticking:
            active = self._schedules.find(EntityStatus=ACTIVE)
            now = self._clock.now()  # after the schedules were read, so that none of them was made later than now
            for schedule in active:
                try:
                    self._fire_due(schedule, now)
                except ServiceError as refusal:  # such as a datastore that was deleted; the others go on
                    self._note(schedule, refusal.message)
                except Exception:  # such as a full disk
                    log.exception("The schedule %s could not be looked at to its end", schedule.id)
            last = self._looks.get(_LAST)
            if last is None or abs(now - last.at) >= _KEPT_EVERY:
                self._looks.put(_LAST, LastLook(at=now))

    def _fire_due(self, schedule: ScheduleDocument, now: datetime) -> None:
        if max(schedule.anchor, schedule.seen_until) > now:
            # The clock was moved back: the schedule goes on from here, and what would have been its first run has been.
            self._advance(schedule.id, now)
        elif schedule.schedule_type == DATA_STORE:
            self._poll(schedule, now)
        else:
            self._recur(schedule, now)

    def _recur(self, schedule: ScheduleDocument, now: datetime) -> None:
        assert schedule.recurrence is not None
        rule = ScheduleRecurrence.from_wire(schedule.recurrence)
        seen = schedule.seen_until
        for _ in range(_AT_ONCE):
            due = rule.next_after(seen, created=schedule.anchor)
            if due > now:
                return
            seen = due
            # Noted before the run is started: a crash in between loses one run, and never doubles one.
            self._advance(schedule.id, due)
            self._fire(schedule, due)

    def _poll(self, schedule: ScheduleDocument, now: datetime) -> None:
        trigger = schedule.data_store_trigger_info
        assert trigger is not None
        if now - schedule.seen_until < timedelta(minutes=trigger.polling_interval or _POLLING_INTERVAL):
            return
        before = self._seen.get(schedule.id) or SeenBlobs()
        found = self._look(schedule)
        self._advance(schedule.id, now)
        seen = SeenBlobs(etags={name: etag for name, etag in before.etags.items() if name in found})
        self._seen.put(schedule.id, seen)
        for name, etag in found.items():
            if seen.etags.get(name) != etag:
                # Noted before the run is started, as above, and the others only when it is their turn.
                seen.etags[name] = etag
                self._seen.put(schedule.id, seen)
                path = DataPath(data_store_name=trigger.data_store_name, relative_path=name)
                parameter = trigger.data_path_parameter_name
                self._fire(schedule, now, {parameter: path} if parameter else {})

    def _fire(self, schedule: ScheduleDocument, due: datetime, paths: dict[str, DataPath] | None = None) -> None:
        info = schedule.pipeline_submission_info or PipelineSubmissionInfo()
        given = info.model_copy(
            update={
                "schedule_id": schedule.id,
                "run_type": "Schedule",
                "run_source": info.run_source or "Schedule",
                "data_path_assignments": {**(info.data_path_assignments or {}), **(paths or {})},
            }
        )
        said = {"emulator.scheduledFor": format_time(due)}
        error = None
        try:
            if schedule.pipeline_endpoint_id:
                endpoint = self._endpoints.get(schedule.pipeline_endpoint_id)
                self._endpoints.submit(endpoint, given, schedule_id=schedule.id, properties=said)
            else:
                self._runs.submit_pipeline(str(schedule.pipeline_id), given, schedule_id=schedule.id, properties=said)
        except ServiceError as refusal:
            error = refusal.message
        self._note(schedule, error)

    def _note(self, schedule: ScheduleDocument, error: str | None) -> None:
        def change(kept: ScheduleDocument) -> None:
            kept.last_error = error

        if error != schedule.last_error:
            if error is not None:
                log.warning("The schedule %s started no run: %s", schedule.id, error)
            self._schedules.update(schedule.id, change)

    def _advance(self, schedule_id: str, until: datetime) -> None:
        def change(kept: ScheduleDocument) -> None:
            kept.seen_until = until
            kept.anchor = min(kept.anchor, until)

        self._schedules.update(schedule_id, change)

    def _look(self, schedule: Schedule) -> dict[str, str]:
        """The blobs directly under the path; Azure does not look into sub-folders."""
        trigger = schedule.data_store_trigger_info
        assert trigger is not None
        container = self._datastores.container(str(trigger.data_store_name))
        folder = (trigger.path_on_data_store or "").strip("/")
        prefix = f"{folder}/" if folder else ""
        found = self._blobs.list_blobs(container, prefix)
        return {blob.name: blob.etag for blob in found if "/" not in blob.name.removeprefix(prefix)}

    def _check(self, schedule: ScheduleDocument) -> None:
        info = schedule.pipeline_submission_info
        if info is None or not info.experiment_name:
            raise BadRequest("A schedule needs 'PipelineSubmissionInfo' with an 'ExperimentName'.")
        _refuse_expressions(info.parameter_assignments or {})
        if not (schedule.pipeline_endpoint_id or schedule.pipeline_id):
            raise BadRequest("A schedule needs a 'PipelineId' or a 'PipelineEndpointId'.")
        if schedule.schedule_type == DATA_STORE:
            _check_trigger(schedule)
        elif schedule.schedule_type == RECURRENCE:
            if schedule.recurrence is None:
                raise BadRequest("A schedule of type Recurrence needs a 'Recurrence'.")
            try:
                ScheduleRecurrence.from_wire(schedule.recurrence)
            except ArgumentError as error:
                raise BadRequest(str(error), code="InvalidRecurrence") from None
        else:
            raise BadRequest(f"The schedule type {schedule.schedule_type!r} is not Recurrence or DataStore.")

    def _check_references(self, schedule: ScheduleDocument) -> None:
        if schedule.pipeline_endpoint_id:
            self._endpoints.get(schedule.pipeline_endpoint_id)
        elif self._pipelines.published(str(schedule.pipeline_id)).entity_status == DISABLED:
            raise BadRequest("Pipeline is disabled", code="PipelineDisabled")
        if schedule.schedule_type == DATA_STORE:
            assert schedule.data_store_trigger_info is not None
            self._datastores.container(str(schedule.data_store_trigger_info.data_store_name))


def _check_trigger(schedule: ScheduleDocument) -> None:
    trigger = schedule.data_store_trigger_info
    if trigger is None or not trigger.data_store_name:
        raise BadRequest("A schedule of type DataStore needs 'DataStoreTriggerInfo' with a 'DataStoreName'.")
    if trigger.polling_interval is not None and trigger.polling_interval < 1:
        raise BadRequest(f"'PollingInterval' is {trigger.polling_interval}; it must be at least 1 minute.")


def _refuse_expressions(parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if isinstance(value, str) and _EXPRESSION.match(value):
            raise Unsupported(
                f"The emulator does not evaluate expressions: the parameter {name!r} of the schedule is {value!r}. "
                "Give it a fixed value, or compute it in the script."
            )
