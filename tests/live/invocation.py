"""What a test holds of one invocation: both ends of it, and the gate between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from live_airflow import DagRun
from live_service import LiveService
from polling import wait_for

from airflow_provider_amlbatch.aml.history import Run


@dataclass(frozen=True)
class Invocation:
    """A DAG run, and the runs in the service that belong to it."""

    dag_run: DagRun
    service: LiveService
    gate: Path

    def release(self, how: str = "pass", *tries: int) -> None:
        """Let the runs end that these tries of the task have started, or any try.

        :param how: ``pass`` or ``fail``.
        """
        for number in tries or range(1, 6):
            written = self.gate.with_name(f"{self.gate.name}-{number}.new")
            written.write_text(how)
            written.replace(self.gate.with_name(f"{self.gate.name}-{number}"))

    def runs(self) -> list[Run]:
        """The runs in the service."""
        return self.service.runs_of(self.dag_run.run_id)

    def wait_for_run(self) -> Run:
        """Wait until there is a run in the service, and return it."""
        return wait_for("run in the service", self.runs)[0]

    def wait_for_status(self, run: Run, *statuses: str, seconds: float = 120.0) -> str | None:
        """Wait until a run has one of the statuses."""

        def look() -> str | None:
            status = self.service.status_of(run.run_id)
            return status if status in statuses else None

        return wait_for(f"run that is {' or '.join(statuses)}", look, seconds)
