"""Jobs written by hand, launched for real, and waited for."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

from polling import wait_for

from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import (
    FileInput,
    Input,
    Output,
    ParallelSettings,
    PipelineJob,
    StepJob,
)
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport, StepReport


def is_running(pid: int) -> bool:
    """Whether a process goes on: one that has ended may stay in the table until somebody asks for its end."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Bench:
    """One run folder, and the pieces to fill it with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = RunFolder(root / "run")
        self.source = root / "source"
        self.output = root / "output"
        self.artifacts = root / "artifacts"
        self.data = root / "data"
        for path in (self.source, self.data):
            path.mkdir()

    def script(self, text: str, name: str = "score.py") -> None:
        """Write the entry script."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def files(self, count: int) -> list[Path]:
        """Make input files that hold their own number."""
        paths = [self.data / f"{number:05d}.txt" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_text(str(number))
        return paths

    def step(self, inputs: tuple[Input, ...] = (), **settings: Any) -> StepJob:
        """A parallel step over the data folder."""
        inputs = inputs or (FileInput("data", (str(self.data),), root=str(self.data)),)
        options: dict[str, Any] = {
            "entry_script": "score.py",
            "input_names": tuple(source.name for source in inputs),
            "output_name": "scores",
            "mini_batch_size": 2,
            "process_count_per_node": 2,
            "run_invocation_timeout": 20,
            "task_overhead_timeout": 1,
        }
        return StepJob(
            run_id="step",
            node_id="node",
            name="batch-score",
            source=str(self.source),
            artifacts=str(self.artifacts),
            interpreter=sys.executable,
            inputs=inputs,
            outputs=(Output("scores", str(self.output)),),
            parallel=ParallelSettings(**options | settings),
        )

    def script_step(self, run_id: str, script: str, **fields: Any) -> StepJob:
        """A script step with artifacts of its own."""
        step = StepJob(
            run_id=run_id,
            node_id=run_id,
            name=run_id,
            source=str(self.source),
            artifacts=str(self.root / "artifacts" / run_id),
            interpreter=sys.executable,
            script=script,
        )
        return replace(step, **fields)

    def launch(self, *steps: StepJob, continue_on_step_failure: bool = False) -> int:
        """Start the run and return the controller's process id."""
        self.folder.create(PipelineJob("run", steps, continue_on_step_failure))
        return self.folder.launch()

    def wait(self) -> PipelineReport:
        """Wait for the end of the run."""

        def ended() -> PipelineReport | None:
            report = self.folder.read_report()
            return report if report.status.is_terminal else None

        report: PipelineReport = wait_for("end of the run", ended, interval=0.02)
        return report

    def run(self, step: StepJob) -> StepReport:
        """Execute one step to its end."""
        self.launch(step)
        return self.wait().steps[step.run_id]

    def rows(self, name: str = "parallel_run_step.txt") -> list[str]:
        """The lines of the collated output, sorted, since their order is not promised."""
        return sorted((self.output / name).read_text().splitlines())

    def log(self, pattern: str) -> str:
        """The text of the log files of that name, joined."""
        return "\n".join(path.read_text() for path in sorted(self.artifacts.glob(pattern)))
