"""Scripts that fail on the way: init(), retries that the script steers, recycling, missing input, no progress."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_bench import Bench

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.job import FileInput

LOAD_ERRORS = {
    "init raises": ("def init():\n    raise OSError('no model')\ndef run(mini_batch):\n    return []\n", "no model"),
    "syntax": ("def run(mini_batch)\n    return []\n", "SyntaxError"),
    "import": ("import no_such_module\ndef run(mini_batch):\n    return []\n", "no_such_module"),
    "no run": ("def init():\n    pass\n", "does not define a function run(mini_batch)"),
    "argparse": (
        "from argparse import *\ndef init():\n    ArgumentParser().parse_args()\ndef run(mini_batch):\n    return []\n",
        "SystemExit",
    ),
    "exit": ("import os\ndef init():\n    os._exit(9)\ndef run(mini_batch):\n    return []\n", "exit code 9"),
}


@pytest.mark.parametrize("name", LOAD_ERRORS)
def test_init_that_fails_ends_the_job(bench: Bench, name: str) -> None:
    bench.files(10)
    script, expected = LOAD_ERRORS[name]
    (bench.source / "score.py").write_text(script)
    step = replace(bench.step(error_threshold=-1, process_count_per_node=1), arguments=("--mini_batch_size", "2"))
    report = bench.run(step)
    assert (report.status, report.exit_code) == (RunStatus.FAILED, 42)
    assert "init() of the entry script failed 3 times." in str(report.error_message)
    assert expected in bench.log("logs/job_error.*.txt")
    assert expected in bench.log("logs/job_result.txt")


def test_a_message_without_end_is_cut(bench: Bench) -> None:
    bench.files(1)
    bench.script("def run(mini_batch):\n    raise ValueError('far too long ' * 200_000)\n")
    report = bench.run(bench.step(error_threshold=0, run_max_try=1))
    assert "ValueError: far too long" in str(report.error_message)
    assert len(str(report.error_message)) < 30_000
    assert sum(path.stat().st_size for path in bench.artifacts.rglob("*.txt")) < 500_000


def test_init_that_fails_once_is_tried_in_another_process(bench: Bench) -> None:
    bench.files(2)
    bench.script(
        """
        import os
        def init():
            if not os.path.exists("../failed"):
                open("../failed", "w").close()
                raise OSError("not yet")
        def run(mini_batch):
            return mini_batch
        """
    )
    assert bench.run(bench.step(process_count_per_node=1)).status is RunStatus.COMPLETED
    assert "not yet" in bench.log("logs/job_error.*.txt")


def test_hanging_init_is_killed(bench: Bench) -> None:
    bench.files(1)
    bench.script("import time\ndef init():\n    time.sleep(600)\ndef run(mini_batch):\n    return mini_batch\n")
    step = bench.step(
        process_count_per_node=1, run_invocation_timeout=0.05, task_overhead_timeout=0.05, progress_update_timeout=30
    )
    report = bench.run(step)
    assert report.status is RunStatus.FAILED
    assert "init() of the entry script failed 3 times." in str(report.error_message)
    assert "init() did not return in time" in bench.log("logs/job_error.*.txt")


STEERED = """
import os
class ParallelRunException(Exception):
    def __init__(self, message, code=None, delay_seconds=0):
        super().__init__(message)
        self.code, self.delay_seconds = code, delay_seconds
def run(mini_batch):
    with open(CALLS, "a") as file:
        file.write(f"{os.getpid()}\\n")
    if mini_batch[0].endswith("00000.txt"):
        raise ParallelRunException("steered", CODE)
    return mini_batch
"""


def steered(bench: Bench, code: str | None) -> str:
    """A script that fails on file 0 as the code says, and notes each call's process id."""
    return STEERED.replace("CODE", repr(code)).replace("CALLS", repr(str(bench.root / "calls")))


@pytest.mark.parametrize(
    ("code", "tries", "processes"),
    [(None, 3, 1), ("Retry.Sleep", 3, 1), ("Retry.NoRetry", 1, 1), ("Retry.RestartProcess", 3, 3)],
)
def test_parallel_run_exception_steers_the_retry(bench: Bench, code: str | None, tries: int, processes: int) -> None:
    bench.files(2)
    (bench.source / "score.py").write_text(steered(bench, code))
    step = bench.run(bench.step(mini_batch_size=1, process_count_per_node=1))
    assert step.status is RunStatus.COMPLETED
    assert bench.log("logs/job_error.*.txt").count("steered\nTraceback") == tries
    pids = (bench.root / "calls").read_text().split()
    assert len(pids) == tries + 1
    # A process that is not needed any more is not replaced: the last try may be the last mini-batch.
    assert processes <= len(set(pids)) <= processes + 1


def test_stop_process_leaves_fewer_workers_and_none_at_last(bench: Bench) -> None:
    bench.files(20)
    (bench.source / "score.py").write_text(steered(bench, "Retry.StopProcess").replace("00000.txt", ".txt"))
    step = bench.run(bench.step(process_count_per_node=2))
    assert step.status is RunStatus.FAILED
    assert "Retry.StopProcess" in str(step.error_message)
    assert len((bench.root / "calls").read_text().split()) == 2


def test_a_worker_that_failed_too_often_is_replaced(bench: Bench) -> None:
    bench.files(24)
    bench.script(
        """
        import os
        def run(mini_batch):
            if mini_batch[0] < mini_batch[0].replace(os.path.basename(mini_batch[0]), "00023.txt"):
                raise ValueError(os.getpid())
            return mini_batch
        """
    )
    step = bench.run(bench.step(mini_batch_size=1, process_count_per_node=1, run_max_try=1))
    assert step.status is RunStatus.COMPLETED
    log = bench.log("logs/sys/master_role.txt")
    assert log.count("Started process") == 3  # 11 failures, 11 failures, the rest


def test_missing_input_is_named(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    return mini_batch\n")
    step = bench.run(bench.step((FileInput("data", (str(bench.data / "gone.csv"),)),)))
    assert step.status is RunStatus.FAILED
    assert "gone.csv" in str(step.error_message)
    assert "does not exist" in str(step.error_message)


def test_no_input_at_all_is_nothing_to_append(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    return mini_batch\n")
    step = bench.run(bench.step())
    assert step.status is RunStatus.FAILED
    assert "There is no succeeded mini batch item returned from run()." in str(step.error_message)


def test_no_progress_fails_the_job(bench: Bench) -> None:
    bench.files(1)
    bench.script("import time\ndef run(mini_batch):\n    time.sleep(600)\n")
    step = bench.run(bench.step(progress_update_timeout=0.5))
    assert step.status is RunStatus.FAILED
    assert "No progress update in 0.5 seconds" in str(step.error_message)


def test_a_step_has_a_time_limit(bench: Bench) -> None:
    bench.files(1)
    bench.script("import time\ndef run(mini_batch):\n    time.sleep(600)\n")
    step = bench.run(replace(bench.step(), timeout=0.5))
    assert step.status is RunStatus.FAILED
    assert "timeout of 0.5 seconds" in str(step.error_message)


def test_an_interpreter_that_is_not_there_is_told(bench: Bench) -> None:
    bench.files(1)
    bench.script("def run(mini_batch):\n    return mini_batch\n")
    step = bench.run(replace(bench.step(process_count_per_node=1), interpreter="/nowhere/python"))
    assert step.status is RunStatus.FAILED
    assert "Cannot start /nowhere/python: No such file" in str(step.error_message)


def test_allowed_failed_count(bench: Bench) -> None:
    bench.files(6)
    bench.script("def run(mini_batch):\n    raise ValueError('all of them')\n")
    step = bench.run(bench.step(mini_batch_size=1, run_max_try=1, allowed_failed_count=2))
    assert step.status is RunStatus.FAILED
    assert "3 failed mini-batches exceed allowed_failed_count=2." in str(step.error_message)
