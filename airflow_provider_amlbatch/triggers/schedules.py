"""The triggers that wait for runs of a schedule and for changed blobs: for sensors, and for asset watchers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial, reduce
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.aml.watermark import Change, Watermark, read_since
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.triggers.pipeline_run import DEADLINE_PASSED
from airflow_provider_amlbatch.triggers.settling import settle

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor, AssetStateStoreAccessors

    from airflow_provider_amlbatch.aml.changes import Source
    from airflow_provider_amlbatch.aml.session import Session

_HERE = "airflow_provider_amlbatch.triggers.schedules"
#: ``status`` of the event that says that there is something new.
NEWS = "News"
#: Key of a watcher's mark in the state of its asset, before a hash of the list.
_MARK = "amlbatch_mark"


class _ChangeTrigger(BaseTrigger):
    """Fire when a list has something that the sensor has not seen. The sensor picks it itself, on its worker.

    The event has ``status`` :data:`NEWS` or :data:`~.pipeline_run.DEADLINE_PASSED`, or ``error``.
    """

    def __init__(
        self,
        azureml_conn_id: str,
        mark: dict[str, Any],
        poll_interval: float,
        execution_deadline: float,
        not_before: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.azureml_conn_id = azureml_conn_id
        self.mark = mark
        self.poll_interval = poll_interval
        self.execution_deadline = execution_deadline
        self.not_before = not_before

    def arguments(self) -> dict[str, Any]:
        """What names the list."""
        raise NotImplementedError

    def source(self, session: Session) -> Source:
        """Find the list that is watched. Not called on the event loop."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class and the arguments to build the trigger again elsewhere."""
        return (
            f"{_HERE}.{type(self).__name__}",
            {
                **self.arguments(),
                "azureml_conn_id": self.azureml_conn_id,
                "mark": self.mark,
                "poll_interval": self.poll_interval,
                "execution_deadline": self.execution_deadline,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again, then fire once."""
        from airflow_provider_amlbatch.aml.errors import AzureMLBatchError

        await settle(self, self.not_before)
        try:
            session = await _session(self.azureml_conn_id)
            mark = Watermark.from_json(self.mark)
            find = cache(partial(self.source, session))
            while not (await _unseen(find, session, mark))[0]:
                left = self.execution_deadline - time.time()
                if left <= 0:
                    yield TriggerEvent({"status": DEADLINE_PASSED})
                    return
                await asyncio.sleep(min(self.poll_interval, left))
        except (AzureMLBatchError, AirflowException) as error:
            # Also a connection that Airflow cannot read at this moment, of which it says that it is not defined.
            yield TriggerEvent({"status": "error", "error": str(error)})
        else:
            yield TriggerEvent({"status": NEWS})


class _RunsOfSchedule:
    """What names the runs of a schedule, for both kinds of triggers."""

    schedule: str

    def arguments(self) -> dict[str, Any]:
        """What names the list."""
        return {"schedule": self.schedule}

    def source(self, session: Session) -> Source:
        """Find the schedule: its runs are the list."""
        from airflow_provider_amlbatch.aml.changes import ScheduledRuns
        from airflow_provider_amlbatch.aml.scheduling import find_schedule

        return ScheduledRuns(find_schedule(session, self.schedule).id)


class AzureMLScheduledRunTrigger(_RunsOfSchedule, _ChangeTrigger):
    """Fire when a schedule has started a run.

    :param schedule: its name or id.
    :param mark: what was seen, as JSON.
    :param poll_interval: seconds between two looks.
    :param execution_deadline: epoch second at which the wait ends.
    :param not_before: epoch second before which nothing is fired.
    """

    def __init__(self, schedule: str, **options: Any) -> None:
        super().__init__(**options)
        self.schedule = schedule


class _Folder:
    """What names the blobs of a folder, for both kinds of triggers."""

    datastore: str
    path: str
    recursive: bool
    matching: str

    def arguments(self) -> dict[str, Any]:
        """What names the list."""
        return {
            "datastore": self.datastore,
            "path": self.path,
            "recursive": self.recursive,
            "matching": self.matching,
        }

    def source(self, session: Session) -> Source:
        """The blobs of the folder."""
        del session
        from airflow_provider_amlbatch.aml.changes import ChangedBlobs

        return ChangedBlobs(self.datastore, self.path, self.recursive, self.matching)


class AzureMLBlobChangeTrigger(_Folder, _ChangeTrigger):
    """Fire when a blob is new or has changed.

    :param datastore: a datastore on Azure blob storage.
    :param path: the folder.
    :param recursive: whether sub-folders count.
    :param matching: regular expression that a blob's path below the folder must match.
    :param mark: what was seen, as JSON.
    :param poll_interval: seconds between two looks.
    :param execution_deadline: epoch second at which the wait ends.
    :param not_before: epoch second before which nothing is fired.
    """

    def __init__(self, datastore: str, path: str, recursive: bool, matching: str, **options: Any) -> None:
        super().__init__(**options)
        self.datastore = datastore
        self.path = path
        self.recursive = recursive
        self.matching = matching


class _ChangeEventTrigger(BaseEventTrigger):
    """Make an asset event for each change, as long as the asset is watched. Needs Airflow 3.3 or later.

    The position lies in the state of the watched asset and moves one look after the events were fired: Airflow stores
    them in between. So nothing is missed, and a triggerer that dies may fire the events of its last look once more.

    Airflow makes one trigger of equal ones, and an event of it for each of their assets. So the position lies with each
    of them. After a restart the watcher goes on where the last of them stands; one that has no position joins there.
    """

    def __init__(self, azureml_conn_id: str, poll_interval: float, since: datetime | str | None) -> None:
        if not hasattr(BaseEventTrigger, "shared_stream_key"):
            raise RuntimeError(
                f"{type(self).__name__} keeps its position with the watched asset, which needs Airflow 3.3 or later; "
                "use the sensor instead."
            )
        super().__init__()  # type: ignore[no-untyped-call]
        self.azureml_conn_id = azureml_conn_id
        self.poll_interval = poll_interval
        # As text, which is what Airflow stores and compares.
        self.since = None if since is None else read_since(since).isoformat()

    def arguments(self) -> dict[str, Any]:
        """What names the list."""
        raise NotImplementedError

    def source(self, session: Session) -> Source:
        """Find the list that is watched. Not called on the event loop."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class and the arguments to build the trigger again elsewhere."""
        return (
            f"{_HERE}.{type(self).__name__}",
            {
                **self.arguments(),
                "azureml_conn_id": self.azureml_conn_id,
                "poll_interval": self.poll_interval,
                "since": self.since,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again, and fire an event for each change.

        No task could fail here, and Airflow starts a watcher that ends at once again. So it never ends: what Azure
        refuses is said in the triggerer's log, and asked again in time, with the connection as it is then.
        """
        from airflow_provider_amlbatch.aml.errors import AzureMLBatchError

        if self.asset_state_store is None:
            raise RuntimeError(f"{type(self).__name__} is for an AssetWatcher; a task uses the sensor.")
        states, key = _states_of(self.asset_state_store), self._key()
        kept: list[Any] = [await state.aget(key) for state in states]
        marks = [Watermark.from_json(one) for one in kept if one is not None]
        mark = reduce(Watermark.common, marks) if marks else self._first_mark()
        session: Session | None = None
        while True:
            if any(one != mark.to_json() for one in kept):
                for state in states:
                    await state.aset(key, mark.to_json())
                kept = [mark.to_json()]
            try:
                session = session or await _session(self.azureml_conn_id)
                changes, overlap = await _unseen(partial(self.source, session), session, mark)
            except (AzureMLBatchError, AirflowException) as error:
                self.log.error("%s Looking again in %g seconds.", error, self.poll_interval)
                session, changes, overlap = None, [], 0.0
            for change in changes:
                yield TriggerEvent(change.value)
            if changes:
                mark = mark.advanced(changes, overlap)
            await asyncio.sleep(self.poll_interval)

    def _key(self) -> str:
        """Name the list in an asset's state. A hash: a path of a blob is longer than Airflow's keys may be."""
        watched = json.dumps({"azureml_conn_id": self.azureml_conn_id, **self.arguments()}, sort_keys=True)
        return f"{_MARK}/{sha256(watched.encode()).hexdigest()[:40]}"

    def _first_mark(self) -> Watermark:
        return Watermark.since(datetime.now(UTC) if self.since is None else read_since(self.since))


class AzureMLScheduledRunEventTrigger(_RunsOfSchedule, _ChangeEventTrigger):
    """Make an asset event for each run that an Azure ML schedule starts; its ``payload`` is the run id.

    ::

        Asset("scheduled-scores", watchers=[AssetWatcher("azure", trigger=AzureMLScheduledRunEventTrigger("weekly"))])

    :param schedule: name or id of the schedule.
    :param azureml_conn_id: the connection.
    :param poll_interval: seconds between two looks.
    :param since: runs that were started earlier are passed over; an aware datetime or ISO text. The first look if left
        out.
    :raises ArgumentError: if ``since`` is no instant, or one without an offset from UTC.
    """

    def __init__(
        self,
        schedule: str,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        poll_interval: float = 60.0,
        since: datetime | str | None = None,
    ) -> None:
        super().__init__(azureml_conn_id, poll_interval, since)
        self.schedule = schedule


class AzureMLBlobChangeEventTrigger(_Folder, _ChangeEventTrigger):
    """Make an asset event for each blob that is new or changed; its ``payload`` is ``{"datastore", "path"}``.

    :param datastore: a datastore on Azure blob storage.
    :param path: the folder, from the container's root; the root if left out.
    :param recursive: whether sub-folders count.
    :param matching: regular expression that a blob's path below the folder must match as a whole.
    :param azureml_conn_id: the connection.
    :param poll_interval: seconds between two looks.
    :param since: what changed earlier is passed over; an aware datetime or ISO text. The first look if left out.
    :raises ArgumentError: if ``since`` is no instant, or one without an offset from UTC.
    """

    def __init__(
        self,
        datastore: str,
        path: str = "",
        recursive: bool = False,
        matching: str = ".*",
        azureml_conn_id: str = DEFAULT_CONNECTION,
        poll_interval: float = 60.0,
        since: datetime | str | None = None,
    ) -> None:
        super().__init__(azureml_conn_id, poll_interval, since)
        self.datastore = datastore
        self.path = path
        self.recursive = recursive
        self.matching = matching


def _states_of(watched: AssetStateStoreAccessors) -> Sequence[AssetStateStoreAccessor | AssetStateStoreAccessors]:
    """The state of each asset that a trigger is for.

    Airflow hands the trigger all of them, but tells it no names to ask for them by, and lists them only in a private
    attribute. Should another Airflow not have that: of one asset, ``watched`` is the state itself.
    """
    return [*getattr(watched, "_by_name", {}).values()] or [watched]


async def _session(azureml_conn_id: str) -> Session:
    settings = await AzureMLBatchHook.read_settings(azureml_conn_id)
    return await asyncio.to_thread(_open, settings)


def _open(settings: Any) -> Session:
    # Imported and made away from the event loop, which must not wait for it.
    from airflow_provider_amlbatch.aml.session import Session

    return Session(settings)


async def _unseen(find: Callable[[], Source], session: Session, mark: Watermark) -> tuple[list[Change], float]:
    """Look once, away from the event loop. A hiccup of the service is an empty answer.

    :return: what is new, and the overlap of its list in seconds.
    """

    def look() -> tuple[list[Change], float]:
        from airflow_provider_amlbatch.aml.watcher import HICCUPS

        try:
            source = find()
            return mark.unseen(source.look(session)), source.overlap
        except HICCUPS:
            return [], 0.0

    return await asyncio.to_thread(look)
