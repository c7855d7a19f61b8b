"""The queue and what is read from job folders; nothing is launched here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob, StepJob
from airflow_provider_amlbatch.emulator.engine.report import StepReport
from airflow_provider_amlbatch.emulator.services.dispatcher import Dispatcher
from airflow_provider_amlbatch.emulator.services.reuse import ReusableStep, ReuseService, digest
from airflow_provider_amlbatch.emulator.services.run_states import RunStates
from airflow_provider_amlbatch.emulator.store import Store


class Bench:
    """A dispatcher over a store and a folder of runs; runs are ended by hand."""

    def __init__(self, folder: Path, capacity: int = 0) -> None:
        self.store = Store(folder / "db")
        self.states = RunStates(folder / "runs")
        self.finished: list[str] = []
        self.dispatcher = Dispatcher(self.store, self.states, lambda _: capacity, [], self._finish)
        self.states.when_ended(self.dispatcher.ended)

    def _finish(self, run_id: str, report: Any) -> None:
        self.finished.append(run_id)

    def submit(self, run_id: str) -> None:
        step = StepJob(f"{run_id}-step", "node", "step", "/source", "/artifacts", "python")
        self.states.folder(run_id).create(PipelineJob(run_id, (step,)))
        self.dispatcher.enqueue(run_id, {"cpu": 1})

    def end(self, run_id: str, status: RunStatus = RunStatus.COMPLETED) -> None:
        folder = self.states.folder(run_id)
        folder.lock_file.touch()  # it was launched, and its controller has let go
        report = folder.read_report().with_step(StepReport(f"{run_id}-step", status, 1.0, 2.0))
        folder.write_report(replace(report, status=status, start_time=1.0, end_time=2.0))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_is_not_started_then_queued_then_what_its_report_says(bench: Bench) -> None:
    assert bench.states.pipeline("one").status is RunStatus.NOT_STARTED
    bench.submit("one")
    assert bench.states.pipeline("one").status is RunStatus.QUEUED
    assert bench.states.step("one", "one-step").status is RunStatus.NOT_STARTED
    bench.end("one")
    state = bench.states.step("one", "one-step")
    assert (state.status, state.started is not None) == (RunStatus.COMPLETED, True)


def test_what_follows_a_run_is_done_once_and_before_anybody_is_told(bench: Bench) -> None:
    bench.submit("one")
    bench.end("one")
    assert bench.finished == []
    assert bench.states.pipeline("one").status is RunStatus.COMPLETED
    assert bench.finished == ["one"]
    bench.dispatcher.tick()
    again = RunStates(bench.states.folder("one").path.parent)
    again.when_ended(bench.dispatcher.ended)
    assert again.pipeline("one").status is RunStatus.COMPLETED
    assert bench.finished == ["one"]


def test_a_run_that_waits_is_canceled_at_once_and_its_steps_with_it(bench: Bench) -> None:
    bench.submit("one")
    bench.dispatcher.tick()  # there is no room
    before = time.time()
    bench.dispatcher.cancel("one")
    state = bench.states.pipeline("one")
    assert state.status is RunStatus.CANCELED
    assert state.ended is not None
    assert before - 1 <= state.ended.timestamp() <= time.time() + 1
    assert bench.states.step("one", "one-step").status is RunStatus.CANCELED
    bench.dispatcher.cancel("one")
    bench.dispatcher.cancel("nothing")


def test_a_server_that_was_killed_while_it_canceled_a_waiting_run_ends_it_when_it_is_back(bench: Bench) -> None:
    bench.submit("one")
    bench.states.folder("one").cancel()  # and then it was killed
    assert bench.states.pipeline("one").status is RunStatus.CANCEL_REQUESTED
    bench.dispatcher.tick()
    assert bench.states.pipeline("one").status is RunStatus.CANCELED
    assert bench.finished == ["one"]


def test_a_launched_run_that_is_canceled_reads_so_until_it_has_ended(bench: Bench) -> None:
    bench.submit("one")
    folder = bench.states.folder("one")
    running = replace(folder.read_report(), status=RunStatus.RUNNING, start_time=1.0)
    folder.write_report(running)
    with folder._locked():  # as its controller holds it
        assert bench.states.pipeline("one").status is RunStatus.RUNNING
        bench.dispatcher.cancel("one")
        assert bench.states.pipeline("one").status is RunStatus.CANCEL_REQUESTED
        assert bench.states.step("one", "one-step").status is RunStatus.CANCEL_REQUESTED
    assert bench.states.pipeline("one").status is RunStatus.FAILED  # its controller is gone


def test_a_run_whose_report_was_lost_with_the_machines_power_has_failed_and_others_go_on(bench: Bench) -> None:
    bench.submit("one")
    bench.submit("two")
    one = bench.states.folder("one")
    one.lock_file.touch()  # it was launched
    one.report_file.write_text("")
    bench.states.folder("two").cancel()
    bench.dispatcher.tick()
    assert bench.finished == ["one"]
    assert bench.states.pipeline("two").status is RunStatus.CANCELED
    state = bench.states.pipeline("one")
    assert (state.status, state.error_code) == (RunStatus.FAILED, "ControllerLost")
    assert bench.states.step("one", "one-step").status is RunStatus.FAILED
    one.job_file.write_text("")
    assert one.read_report().status is RunStatus.FAILED


def test_a_run_that_cannot_be_looked_at_now_does_not_stop_others(bench: Bench) -> None:
    bench.submit("one")
    bench.submit("two")
    bench.states.folder("two").cancel()
    one = bench.states.folder("one")
    with one._locked():  # its controller lives
        whole = one.report_file.read_text()
        one.report_file.write_text("")
        bench.dispatcher.tick()
        assert bench.states.pipeline("two").status is RunStatus.CANCELED
        one.report_file.write_text(whole)
        assert bench.states.pipeline("one").status is RunStatus.PREPARING


def test_a_run_that_cannot_be_launched_does_not_stop_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity=1)
    for name in ("one", "two"):
        bench.submit(name)
        bench.states.folder(name).log_file.mkdir()  # so that nothing is launched for real
    bench.dispatcher.tick()
    assert [bench.states.is_launched(name) for name in ("one", "two")] == [True, True]
    bench.dispatcher.tick()
    assert bench.finished == ["one", "two"]
    assert bench.states.pipeline("two").status is RunStatus.FAILED


def test_a_step_is_reused_when_nothing_changed_and_it_had_completed(bench: Bench) -> None:
    reuse = ReuseService(bench.store, bench.states)
    inputs = {"arguments": ("--a", {"output": "o"}), "source": "s1", "inputs": {"in": "d1"}}
    bench.submit("one")
    reuse.remember(
        ReusableStep(
            run_id="one-step",
            node_id="node",
            pipeline_run_id="one",
            step_name="score",
            digest=digest(inputs),
            inputs=inputs,
        )
    )
    assert reuse.decide("score", inputs, allowed=True).earlier is None  # it has not run yet
    bench.end("one")
    earlier = reuse.decide("score", inputs, allowed=True).earlier
    assert earlier is not None
    assert earlier.run_id == "one-step"
    assert reuse.decide("score", inputs, allowed=False).earlier is None
    changed = reuse.decide("score", inputs | {"source": "s2"}, allowed=True)
    assert changed.earlier is None
    assert "source changed" in changed.reason
    assert "arguments" not in changed.reason
    assert "no step of this name" in reuse.decide("other", {"source": "s3"}, allowed=True).reason
