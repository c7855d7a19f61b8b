"""A report that cannot be written: for a while, or to the end. A folder in its place stands for a full disk."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.controller import Board, Controller
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob, StepJob
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport, StepReport


class Bench:
    """A run folder whose report can be made impossible to write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = RunFolder(root / "run")
        self.source = root / "source"
        self.source.mkdir()

    def step(self, run_id: str, script: str, depends_on: tuple[str, ...] = ()) -> StepJob:
        (self.source / f"{run_id}.py").write_text(script)
        return StepJob(
            run_id=run_id,
            node_id=run_id,
            name=run_id,
            source=str(self.source),
            artifacts=str(self.root / "artifacts" / run_id),
            interpreter=sys.executable,
            script=f"{run_id}.py",
            depends_on=depends_on,
        )

    def controller(self, *steps: StepJob) -> Controller:
        self.folder.create(PipelineJob("run", steps))
        return Controller(self.folder, self.folder.read_job(), threading.Event())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_goes_on_while_its_report_cannot_be_written(bench: Bench) -> None:
    report = str(bench.folder.report_file)
    blocks = f"import os; os.unlink({report!r}); os.mkdir({report!r})"
    ran = bench.root / "ran"
    clears = f"import os; os.rmdir({report!r}); open({str(ran)!r}, 'w').close()"
    controller = bench.controller(bench.step("one", blocks), bench.step("two", clears, ("one",)))
    thread = threading.Thread(target=controller.run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert ran.exists()
    written = bench.folder.read_report()
    assert written.status is RunStatus.COMPLETED
    assert [step.status for step in written.steps.values()] == [RunStatus.COMPLETED] * 2
    assert [path.name for path in bench.folder.path.iterdir() if path.name.startswith(".")] == []


def test_what_could_not_be_written_is_written_later_or_said(bench: Bench) -> None:
    bench.folder.path.mkdir()
    bench.folder.report_file.mkdir()
    started = PipelineReport("run", RunStatus.RUNNING, steps={"one": StepReport("one")})
    # The controller's own log lies on the same disk.
    with (
        open("/dev/full", "wb", buffering=0) as full,
        io.TextIOWrapper(full, write_through=True) as log,
        redirect_stderr(log),
    ):
        board = Board(bench.folder, started)
        board.step(StepReport("one", RunStatus.COMPLETED))
        board.run(status=RunStatus.COMPLETED)
    with pytest.raises(OSError, match="could not be written for 0 seconds"):
        board.close(0)
    bench.folder.report_file.rmdir()
    board.close(60)
    assert bench.folder.read_report() == replace(
        started, status=RunStatus.COMPLETED, steps={"one": StepReport("one", RunStatus.COMPLETED)}
    )


def test_a_run_does_not_complete_while_a_step_has_not_ended(bench: Bench) -> None:
    controller = bench.controller(bench.step("one", ""))
    ending = controller._end()  # as if the thread of the step had died
    assert (ending["status"], ending["error_code"]) == (RunStatus.FAILED, "ServiceError")
