"""The ordinary life of a parallel step: scored, failed, canceled."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from engine_bench import Bench
from polling import wait_for

from airflow_provider_amlbatch.aml.status import RunStatus

SCORE = """
    import os

    def init():
        global offset
        offset = 100
        print("init in", os.getcwd())

    def run(mini_batch):
        return [f"{os.path.basename(path)}: {offset + int(open(path).read())}" for path in mini_batch]
"""


def test_scores_every_file_once(bench: Bench) -> None:
    bench.files(11)
    bench.script(SCORE)
    step = bench.run(bench.step(error_threshold=0))
    assert (step.status, step.exit_code) == (RunStatus.COMPLETED, 0)
    assert bench.rows() == [f"{number:05d}.txt: {100 + number}" for number in range(11)]
    assert step.progress is not None
    assert (step.progress.total_mini_batches, step.progress.processed_mini_batches) == (6, 6)
    assert (step.progress.total_items, step.progress.succeeded_items, step.progress.rows) == (11, 11, 11)
    assert step.progress.scheduling_finished
    assert "Scheduled 6 mini batches" in bench.log("logs/job_progress_overview.*.txt")
    report = list(csv.DictReader(io.StringIO(bench.log("logs/sys/job_report/processed_mini-batches.csv"))))
    assert sorted(int(row["mini_batch_id"]) for row in report) == list(range(6))
    assert sum(int(row["succeeded"]) for row in report) == 11


def test_exceeded_error_threshold_fails_with_the_scripts_own_traceback(bench: Bench) -> None:
    bench.files(4)
    bench.script(
        """
        def run(mini_batch):
            for path in mini_batch:
                if path.endswith("00002.txt"):
                    raise ValueError("no number in " + path)
            return mini_batch
        """
    )
    step = bench.run(bench.step(error_threshold=1))
    assert (step.status, step.exit_code, step.error_code) == (RunStatus.FAILED, 42, "UserError")
    assert step.error_message is not None
    assert step.error_message.startswith("Run failed, please check logs for details.")
    assert "2 failed items exceed error_threshold=1." in step.error_message
    assert "ValueError: no number in" in step.error_message
    assert bench.log("logs/job_error.*.txt").count("Traceback (most recent call last)") == 3  # run_max_try
    for log in ("logs/job_result.txt", "azureml-logs/70_driver_log.txt", "user_logs/std_log_0.txt"):
        assert 'raise ValueError("no number in " + path)' in bench.log(log)
    assert not (bench.output / "parallel_run_step.txt").exists()


def test_failed_items_within_the_threshold_are_ignored(bench: Bench) -> None:
    bench.files(4)
    bench.script(
        """
        def run(mini_batch):
            if mini_batch[0].endswith("00000.txt"):
                raise ValueError
            return [1] * len(mini_batch)
        """
    )
    step = bench.run(bench.step(error_threshold=2))
    assert step.status is RunStatus.COMPLETED
    assert step.progress is not None
    assert (step.progress.failed_items, step.progress.failed_mini_batches) == (2, 1)
    assert bench.rows() == ["1", "1"]


def test_cancel_ends_the_run_and_its_workers(bench: Bench) -> None:
    bench.files(2)
    bench.script(
        f"""
        import os, time
        def run(mini_batch):
            open({str(bench.root)!r} + "/" + str(os.getpid()) + ".pid", "w").close()
            time.sleep(600)
        """
    )
    bench.launch(bench.step(mini_batch_size=1, run_invocation_timeout=600))
    wait_for("run() in both workers", lambda: len([*bench.root.glob("*.pid")]) == 2, interval=0.02)
    pids = [*bench.root.glob("*.pid")]
    bench.folder.cancel()
    report = bench.wait()
    assert (report.status, report.steps["step"].status) == (RunStatus.CANCELED, RunStatus.CANCELED)
    for path in pids:
        assert not Path(f"/proc/{path.stem}").exists()
