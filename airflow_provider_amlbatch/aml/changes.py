"""Lists in which new things turn up: the runs of a schedule, and the blobs of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_amlbatch.aml.watermark import Change

if TYPE_CHECKING:
    from airflow_provider_amlbatch.aml.session import Session

#: Seconds by which a run may turn up in the list later than a newer one. The service promises nothing.
RUN_OVERLAP = 3600.0
#: The same for blobs, whose lists are consistent: for clocks of storage servers that do not quite agree.
BLOB_OVERLAP = 600.0


class Source(Protocol):
    """Where changes come from."""

    @property
    def overlap(self) -> float:
        """Seconds by which a change may turn up later than a newer one."""

    def look(self, session: Session) -> list[Change]:
        """Tell everything that the list has now; of one instant, in the order in which it happened."""


@dataclass(frozen=True)
class ScheduledRuns:
    """The runs that a schedule has started. The value of a change is the run id."""

    schedule_id: str
    overlap: float = RUN_OVERLAP

    def look(self, session: Session) -> list[Change]:
        """Tell all runs of the schedule. The service tells the newest first, and does not page the list."""
        from airflow_provider_amlbatch.aml.schedules import list_runs_of_schedule

        runs = session.send(list_runs_of_schedule(self.schedule_id))
        return [Change(run.id, run.created_date.timestamp(), run.id) for run in reversed(runs) if run.created_date]


@dataclass(frozen=True)
class ChangedBlobs:
    """The blobs of a folder on a blob datastore, each in its present state.

    The value of a change is ``{"datastore", "path"}``, which is what data paths of a submission take.

    :param path: the folder, from the container's root; empty for the root.
    :param recursive: whether sub-folders count.
    :param matching: regular expression that the path below the folder must match as a whole.
    """

    datastore: str
    path: str = ""
    recursive: bool = False
    matching: str = ".*"
    overlap: float = BLOB_OVERLAP

    def look(self, session: Session) -> list[Change]:
        """Tell all blobs of the folder with the instant of their last change.

        :raises AzureMLBatchError: if the container cannot be listed.
        """
        from airflow_provider_amlbatch.aml.blobs import container_client, own_errors

        folder = self.path.strip("/")
        prefix, wanted = f"{folder}/" if folder else "", re.compile(self.matching, re.DOTALL)
        doing = f"Listing {prefix or 'the root'} of datastore {self.datastore!r}"
        with own_errors(doing), container_client(session, self.datastore) as container:
            return [
                Change(
                    f"{blob.etag.strip(chr(34))} {blob.name}",
                    blob.last_modified.timestamp(),
                    {"datastore": self.datastore, "path": blob.name},
                )
                for blob in self._blobs(container, prefix)
                if wanted.fullmatch(blob.name.removeprefix(prefix))
            ]

    def _blobs(self, container: Any, prefix: str) -> Iterator[Any]:
        if self.recursive:
            found = container.list_blobs(name_starts_with=prefix)
        else:
            found = container.walk_blobs(name_starts_with=prefix, delimiter="/")
        # A name that ends in a slash is a folder, or stands for one.
        return (blob for blob in found if not blob.name.endswith("/"))
