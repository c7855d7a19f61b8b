"""What a finished run means to its caller: decided here, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml.history import ErrorResponse, RunState
from airflow_provider_amlbatch.aml.status import RunStatus


@dataclass(frozen=True)
class RunOutcome:
    """The end of a run."""

    run_id: str
    status: RunStatus
    error_code: str | None = None
    error_message: str | None = None

    @classmethod
    def of(cls, run: RunState) -> RunOutcome | None:
        """Judge a run.

        :return: None while the run may still change, which includes a status that nobody knows.
        """
        status = run.run_status
        if status.is_active:
            return None
        code, message = error_of(run.error)
        return cls(run.run_id, status, code, message)

    @property
    def succeeded(self) -> bool:
        """Whether the run did what was asked. Canceled is not success."""
        return self.status is RunStatus.COMPLETED

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON-safe values, fit for a trigger's event."""
        return {
            "run_id": self.run_id,
            "status": self.status.value,
            "error_code": self.error_code,
            "error_message": self.error_message,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunOutcome:
        """Read what :meth:`to_json` wrote."""
        return cls(data["run_id"], RunStatus(data["status"]), data.get("error_code"), data.get("error_message"))


def error_of(response: ErrorResponse | None) -> tuple[str | None, str | None]:
    """Code and message of a run's error. Azure sends runs that failed with an empty error."""
    root = response.error if response is not None else None
    return (None, None) if root is None else (root.code, root.message)
