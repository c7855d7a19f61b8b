"""Processes that die or hang: nothing is lost, nothing hangs, nothing survives."""

from __future__ import annotations

import os
import signal
from typing import Any

from engine_bench import Bench, is_running
from polling import wait_for

from airflow_provider_amlbatch.aml.status import RunStatus


def marked(bench: Bench, body: str) -> str:
    """A script that leaves its process id in a file before it goes on with the body."""
    return f"""
import os, signal, time
ROOT = {str(bench.root)!r}
def first(what):
    try:
        os.close(os.open(os.path.join(ROOT, what), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
def run(mini_batch):
    first(f"{{os.getpid()}}.pid")
    {body}
    return [os.path.basename(path) for path in mini_batch]
"""


def pids(bench: Bench) -> list[int]:
    return [int(path.stem) for path in bench.root.glob("*.pid")]


def test_killed_controller_reads_as_failed_and_takes_its_workers_along(bench: Bench) -> None:
    bench.files(2)
    bench.script(marked(bench, "time.sleep(600)"))
    controller = bench.launch(bench.step(mini_batch_size=1, run_invocation_timeout=600))
    wait_for("run() in both workers", lambda: len(pids(bench)) == 2, interval=0.02)
    os.kill(controller, signal.SIGKILL)
    os.waitpid(controller, 0)
    report = bench.wait()
    assert (report.status, report.error_code) == (RunStatus.FAILED, "ControllerLost")
    assert report.steps["step"].status is RunStatus.FAILED
    wait_for("end of the workers", lambda: not any(is_running(pid) for pid in pids(bench)), 5, interval=0.02)


def test_terminated_controller_cancels(bench: Bench) -> None:
    bench.files(1)
    bench.script(marked(bench, "time.sleep(600)"))
    controller = bench.launch(bench.step(run_invocation_timeout=600))
    (worker,) = wait_for("run()", lambda: pids(bench), interval=0.02)
    os.kill(controller, signal.SIGTERM)
    assert bench.wait().status is RunStatus.CANCELED
    assert not is_running(worker)


def test_mini_batch_of_a_killed_worker_is_tried_again(bench: Bench) -> None:
    bench.files(10)
    bench.script(marked(bench, "first('killed') and os.kill(os.getpid(), signal.SIGKILL)"))
    step = bench.run(bench.step(error_threshold=0, process_count_per_node=1))
    assert step.status is RunStatus.COMPLETED
    assert bench.rows() == [f"{number:05d}.txt" for number in range(10)]
    assert "killed by SIGKILL" in bench.log("logs/job_error.*.txt")
    assert "process001" in bench.log("logs/sys/master_role.txt")  # the replacement


def test_rows_of_a_worker_that_died_before_it_answered_are_not_doubled(bench: Bench) -> None:
    # An answer counts when the engine has it. Rows that were written but not answered for belong to a try that failed.
    bench.files(4)
    bench.script(
        """
        import os
        class Fatal(list):
            def __len__(self):  # asked for after the rows are written
                os._exit(1)
        def run(mini_batch):
            rows = [os.path.basename(path) for path in mini_batch]
            marker = os.path.join(os.path.dirname(mini_batch[0]), "..", "died")
            if os.path.exists(marker):
                return rows
            open(marker, "w").close()
            return Fatal(rows)
        """
    )
    step = bench.run(bench.step(process_count_per_node=1))
    assert step.status is RunStatus.COMPLETED
    assert bench.rows() == [f"{number:05d}.txt" for number in range(4)]


def test_hanging_run_is_killed_and_tried_again(bench: Bench) -> None:
    bench.files(10)
    bench.script(marked(bench, "first('hung') and time.sleep(600)"))
    step = bench.run(bench.step(error_threshold=0, run_invocation_timeout=0.5, task_overhead_timeout=0.2))
    assert step.status is RunStatus.COMPLETED
    assert bench.rows() == [f"{number:05d}.txt" for number in range(10)]
    assert "run_invocation_timeout=0.5" in bench.log("logs/job_error.*.txt")


def test_always_hanging_run_fails_its_items(bench: Bench) -> None:
    bench.files(2)
    bench.script(marked(bench, "time.sleep(600)"))
    settings: dict[str, Any] = {"run_invocation_timeout": 0.2, "task_overhead_timeout": 0.1, "run_max_try": 2}
    step = bench.run(bench.step(error_threshold=1, progress_update_timeout=30, **settings))
    assert step.status is RunStatus.FAILED
    assert step.error_message is not None
    assert "2 failed items exceed error_threshold=1" in step.error_message
    assert len(pids(bench)) == 2  # one process a try


def test_mini_batch_that_always_kills_its_worker_does_not_take_others_along(bench: Bench) -> None:
    bench.files(10)
    bench.script(marked(bench, "any('00004' in path for path in mini_batch) and os._exit(3)"))
    step = bench.run(bench.step(error_threshold=-1))
    assert step.status is RunStatus.COMPLETED
    assert bench.rows() == [f"{number:05d}.txt" for number in range(10) if number not in (4, 5)]
    assert step.progress is not None
    assert (step.progress.failed_mini_batches, step.progress.failed_items) == (1, 2)
    assert "exit code 3" in bench.log("logs/job_error.*.txt")
