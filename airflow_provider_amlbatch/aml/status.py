"""Run status: every spelling that the services use, and the only place that compares a status string."""

from __future__ import annotations

import logging
from enum import StrEnum

log = logging.getLogger(__name__)


class RunStatus(StrEnum):
    """Status of a pipeline run or a step run, spelled as run history spells it."""

    NOT_STARTED = "NotStarted"
    UNAPPROVED = "Unapproved"
    PAUSING = "Pausing"
    PAUSED = "Paused"
    PROVISIONING = "Provisioning"
    STARTING = "Starting"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    NOT_RESPONDING = "NotResponding"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    #: A spelling that this version does not know. It counts as active: an unknown word never ends a wait.
    UNKNOWN = "Unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether the run will not change any more."""
        return self in _TERMINAL

    @property
    def is_active(self) -> bool:
        """Whether the run may still change."""
        return self not in _TERMINAL

    @property
    def is_executing(self) -> bool:
        """Whether the run holds compute now."""
        return self in (RunStatus.RUNNING, RunStatus.FINALIZING, RunStatus.CANCEL_REQUESTED)

    @classmethod
    def from_history(cls, text: str | None) -> RunStatus:
        """Read the ``status`` of a run history document."""
        return _parse(text, _HISTORY)

    @classmethod
    def from_pipeline_run(cls, code: str | None) -> RunStatus:
        """Read the ``StatusCode`` of a PipelineRun of the pipelines service: a digit or a name."""
        return _parse(code, _PIPELINE_RUN)

    @classmethod
    def from_node(cls, code: str | None) -> RunStatus:
        """Read the ``StatusCode`` of a graph node of the pipelines service: a digit or a name."""
        return _parse(code, _NODE)

    @property
    def pipeline_run_code(self) -> str:
        """The name that the pipelines service gives a pipeline run in this status.

        Phases between submission and the end have no name of their own there: the SDK ends its wait at any name
        it does not expect, so they read ``Running``.
        """
        return _TO_PIPELINE_RUN.get(self, "Running")

    @property
    def node_code(self) -> str:
        """The name that the pipelines service gives a graph node in this status."""
        if self in (RunStatus.PROVISIONING, RunStatus.STARTING, RunStatus.PREPARING):
            return "Queued"
        return _TO_NODE.get(self, "Running")


_TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})

_HISTORY = {status.value.lower(): status for status in RunStatus} | {
    "finished": RunStatus.COMPLETED,
    "cancelled": RunStatus.CANCELED,
}
_PIPELINE_RUN = _HISTORY | {
    "0": RunStatus.NOT_STARTED,
    "1": RunStatus.RUNNING,
    "2": RunStatus.FAILED,
    "3": RunStatus.COMPLETED,
    "4": RunStatus.CANCELED,
}
_NODE = _HISTORY | {
    "0": RunStatus.NOT_STARTED,
    "1": RunStatus.QUEUED,
    "2": RunStatus.RUNNING,
    "3": RunStatus.FAILED,
    "4": RunStatus.COMPLETED,
    "5": RunStatus.CANCELED,
    "6": RunStatus.RUNNING,  # PartiallyExecuted
    "7": RunStatus.COMPLETED,  # Bypassed
    "partiallyexecuted": RunStatus.RUNNING,
    "bypassed": RunStatus.COMPLETED,
}
_TO_PIPELINE_RUN = {
    RunStatus.NOT_STARTED: "NotStarted",
    RunStatus.COMPLETED: "Finished",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELED: "Canceled",
}
_TO_NODE = _TO_PIPELINE_RUN | {RunStatus.QUEUED: "Queued"}

_reported: set[str] = set()


def _parse(text: str | None, table: dict[str, RunStatus]) -> RunStatus:
    if text is None:
        return RunStatus.NOT_STARTED
    status = table.get(str(text).lower())
    if status is None:
        if text not in _reported:
            _reported.add(text)
            log.warning("Unknown run status %r: counted as still active.", text)
        return RunStatus.UNKNOWN
    return status
