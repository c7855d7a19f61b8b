"""What has happened so far: the content of ``report.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from airflow_provider_amlbatch.aml.status import RunStatus


@dataclass(frozen=True)
class Progress:
    """Counts of a parallel step. Items are files of a file input and rows of a tabular one.

    :param total_mini_batches: mini-batches created so far; final once ``scheduling_finished``.
    :param failed_mini_batches: mini-batches whose last try failed.
    :param succeeded_items: items that the script answered for.
    :param rows: lines (lists) and records (DataFrames) in the collated output.
    """

    total_mini_batches: int = 0
    processed_mini_batches: int = 0
    failed_mini_batches: int = 0
    total_items: int = 0
    succeeded_items: int = 0
    failed_items: int = 0
    rows: int = 0
    scheduling_finished: bool = False


@dataclass(frozen=True)
class StepReport:
    """State of one step. Times are epoch seconds; ``error_code`` and ``error_message`` are set when it failed."""

    run_id: str
    status: RunStatus = RunStatus.NOT_STARTED
    start_time: float | None = None
    end_time: float | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class PipelineReport:
    """State of a pipeline run and of its steps, by step run id."""

    run_id: str
    status: RunStatus = RunStatus.NOT_STARTED
    start_time: float | None = None
    end_time: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    steps: dict[str, StepReport] = field(default_factory=dict)

    def with_step(self, step: StepReport) -> PipelineReport:
        """The report with this step's state in it."""
        return replace(self, steps={**self.steps, step.run_id: step})

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-safe values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PipelineReport:
        """Read what :meth:`to_json` wrote."""
        steps = {
            run_id: StepReport(
                **step
                | {
                    "status": RunStatus(step["status"]),
                    "progress": None if step["progress"] is None else Progress(**step["progress"]),
                }
            )
            for run_id, step in data["steps"].items()
        }
        return cls(**data | {"status": RunStatus(data["status"]), "steps": steps})
