"""Several steps: order, data between them, what a failure does to the others, script steps."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from engine_bench import Bench, is_running
from polling import wait_for

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.folder import AlreadyLaunchedError
from airflow_provider_amlbatch.emulator.engine.job import FileInput, Output, PipelineJob

PREPARE = """
import os, sys
print("preparing", os.environ["GREETING"])
for number in range(5):
    with open(os.path.join(sys.argv[2], f"{number}.txt"), "w") as file:
        file.write(str(number))
os.makedirs("outputs", exist_ok=True)
with open("outputs/note.txt", "w") as file:
    file.write("kept")
open("scratch.txt", "w").close()
"""


def test_a_script_step_feeds_a_parallel_step(bench: Bench) -> None:
    (bench.source / "prepare.py").write_text(PREPARE)
    bench.script("def run(mini_batch):\n    return [open(path).read() for path in mini_batch]\n")
    prepared = str(bench.root / "prepared")
    first = bench.script_step(
        "prepare",
        "prepare.py",
        arguments=("--out", {"output": "prepared"}),
        outputs=(Output("prepared", prepared),),
        environment={"GREETING": "hello"},
    )
    second = replace(bench.step((FileInput("data", (prepared,), root=prepared),)), depends_on=("prepare",))
    bench.launch(first, second)
    report = bench.wait()
    assert report.status is RunStatus.COMPLETED
    assert bench.rows() == ["0", "1", "2", "3", "4"]
    before, after = report.steps["prepare"], report.steps["step"]
    assert before.end_time is not None
    assert after.start_time is not None
    assert before.end_time <= after.start_time
    artifacts = Path(first.artifacts)
    assert (artifacts / "azureml-logs/70_driver_log.txt").read_text() == "preparing hello\n"
    assert (artifacts / "user_logs/std_log.txt").read_text() == "preparing hello\n"
    assert (artifacts / "outputs/note.txt").read_text() == "kept"
    assert not (bench.source / "scratch.txt").exists()  # it ran in a copy


def wait_for_file(path: Path) -> str:
    return f"""
import os, time
end = time.monotonic() + 30
while not os.path.exists({str(path)!r}) and time.monotonic() < end:
    time.sleep(0.01)
"""


def test_independent_steps_run_side_by_side(bench: Bench) -> None:
    for me, other in (("a", "b"), ("b", "a")):
        text = f"open({str(bench.root / me)!r}, 'w').close()\n{wait_for_file(bench.root / other)}"
        (bench.source / f"{me}.py").write_text(text + f"assert os.path.exists({str(bench.root / other)!r})\n")
    bench.launch(bench.script_step("a", "a.py"), bench.script_step("b", "b.py"))
    assert bench.wait().status is RunStatus.COMPLETED


@pytest.mark.parametrize("go_on", [False, True])
def test_failure_of_a_step(bench: Bench, go_on: bool) -> None:
    failed, slow = bench.root / "failed", bench.root / "slow"
    (bench.source / "bad.py").write_text(f"{wait_for_file(slow)}\nraise RuntimeError('bad step')\n")
    (bench.source / "good.py").write_text("print('fine')\n")
    (bench.source / "slow.py").write_text(f"open({str(slow)!r}, 'w').close()\n{wait_for_file(failed)}")
    bench.launch(
        bench.script_step("slow", "slow.py"),
        bench.script_step("bad", "bad.py"),
        bench.script_step("dependent", "good.py", depends_on=("bad",)),
        bench.script_step("last", "good.py", depends_on=("dependent",)),
        bench.script_step("independent", "good.py", depends_on=("slow",)),
        continue_on_step_failure=go_on,
    )
    wait_for("failure", lambda: bench.folder.read_report().steps["bad"].status is RunStatus.FAILED, interval=0.02)
    if go_on:
        failed.touch()
    report = bench.wait()
    assert report.status is RunStatus.FAILED
    assert "RuntimeError: bad step" in str(report.error_message)
    statuses = {run_id: step.status.value for run_id, step in report.steps.items()}
    unaffected = "Completed" if go_on else "Canceled"
    assert statuses == {
        "slow": unaffected,
        "bad": "Failed",
        "dependent": "Canceled",
        "last": "Canceled",
        "independent": unaffected,
    }
    assert (report.steps["bad"].exit_code, report.steps["bad"].error_code) == (1, "UserError")


def test_reused_step_is_not_executed(bench: Bench) -> None:
    bench.launch(bench.script_step("reused", "not_there.py", reused_from="earlier"))
    report = bench.wait()
    assert (report.status, report.steps["reused"].status) == (RunStatus.COMPLETED, RunStatus.COMPLETED)


@pytest.mark.parametrize("how", ["canceled", "controller killed"])
def test_script_and_what_it_started_end_with_the_run(bench: Bench, how: str) -> None:
    (bench.source / "main.py").write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(bench.root / 'pids')!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(bench.root / 'pids')!r} + '.new', {str(bench.root / 'pids')!r})\n"
        "time.sleep(600)\n"
    )
    controller = bench.launch(bench.script_step("script", "main.py"))
    wait_for("script", (bench.root / "pids").exists, interval=0.02)
    if how == "canceled":
        bench.folder.cancel()
    else:
        os.kill(controller, signal.SIGKILL)
        os.waitpid(controller, 0)
    assert bench.wait().status is (RunStatus.CANCELED if how == "canceled" else RunStatus.FAILED)
    pids = [int(pid) for pid in (bench.root / "pids").read_text().split()]
    wait_for("end of both", lambda: not any(is_running(pid) for pid in pids), 5, interval=0.02)


def test_a_folder_has_one_controller(bench: Bench) -> None:
    (bench.source / "main.py").write_text("import time\ntime.sleep(600)\n")
    bench.launch(bench.script_step("script", "main.py"))
    with pytest.raises(AlreadyLaunchedError):
        bench.folder.launch()
    bench.folder.cancel()
    bench.wait()


def test_broken_job_is_reported(bench: Bench) -> None:
    bench.folder.create(PipelineJob("run", (bench.script_step("script", "main.py"),)))
    bench.folder.job_file.write_text("{}")
    bench.folder.launch()
    report = bench.wait()
    assert (report.status, report.error_code) == (RunStatus.FAILED, "ServiceError")
    assert report.steps["script"].status is RunStatus.CANCELED
