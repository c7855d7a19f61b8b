"""``amlbatch emulator`` as a person uses it: in a shell, over a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from polling import wait_for

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob, StepJob

AMLBATCH = str(Path(sys.executable).parent / "amlbatch")


def amlbatch(*arguments: str, status: int = 0) -> str:
    done = subprocess.run([AMLBATCH, "emulator", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def state(tmp_path: Path):
    folder = tmp_path / "a folder"
    yield folder
    amlbatch("stop", "--state", str(folder))


def test_start_leads_a_shell_to_it_and_stop_ends_it(state: Path, tmp_path: Path) -> None:
    told = amlbatch("start", "--state", str(state))
    assert "https://localhost:" in told
    assert "https://localhost:" in amlbatch("status", "--state", str(state))
    # What the start tells to do must work in a shell, spaces in the path and all.
    line = next(line for line in told.splitlines() if "eval" in line).partition("eval ")[2]
    shell = f'eval {line} && printf %s "$AZUREML_WORKSPACE_NAME|$AIRFLOW_CONN_AZUREML_DEFAULT"'
    env = os.environ | {"PATH": f"{Path(AMLBATCH).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, timeout=60)
    name, _, connection = done.stdout.partition("|")
    assert name == "emulator", done.stderr
    assert json.loads(connection)["conn_type"] == "azureml"
    assert "Stopped." in amlbatch("stop", "--state", str(state))
    assert "No emulator serves" in amlbatch("status", "--state", str(state), status=3)


def test_a_second_start_finds_the_first(state: Path) -> None:
    first = amlbatch("start", "--state", str(state))
    assert amlbatch("start", "--state", str(state)) == first


def test_env_without_a_server_says_how_to_start_one(tmp_path: Path) -> None:
    assert "amlbatch emulator start" in amlbatch("env", "--state", str(tmp_path / "none"), status=1)


def test_reset_makes_a_new_workspace_and_spares_foreign_folders(state: Path, tmp_path: Path) -> None:
    def workspace_id() -> str:
        return json.loads((state / "emulator.json").read_text())["workspace_id"]

    amlbatch("start", "--state", str(state))
    before = workspace_id()
    assert "stop it first" in amlbatch("reset", "--yes", "--state", str(state), status=1)
    amlbatch("stop", "--state", str(state))
    amlbatch("reset", "--yes", "--state", str(state))
    amlbatch("start", "--state", str(state))
    assert workspace_id() != before

    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    assert "no emulator state" in amlbatch("reset", "--yes", "--state", str(foreign), status=1)
    assert (foreign / "letter.txt").read_text() == "dear"


def test_config_is_what_from_config_reads(state: Path, tmp_path: Path) -> None:
    amlbatch("config", "--state", str(state), str(tmp_path / "config.json"))
    assert set(json.loads((tmp_path / "config.json").read_text())) == {
        "subscription_id",
        "resource_group",
        "workspace_name",
    }


def test_jobs_outlive_a_stop_unless_they_are_asked_to_end(state: Path) -> None:
    amlbatch("start", "--state", str(state))
    folder = RunFolder(state / "runs" / "sleeper")
    source = state.parent / "source"
    source.mkdir()
    (source / "sleep.py").write_text("import time\ntime.sleep(600)\n")
    step = StepJob(
        run_id="step",
        node_id="n",
        name="sleep",
        source=str(source),
        artifacts=str(state.parent / "artifacts"),
        interpreter=sys.executable,
        script="sleep.py",
    )
    folder.create(PipelineJob("sleeper", (step,)))
    folder.launch()

    assert "Jobs that go on: 1." in amlbatch("stop", "--state", str(state))
    assert folder.has_controller()
    assert "running still" in amlbatch("reset", "--yes", "--state", str(state), status=1)
    assert "Jobs asked to end: 1." in amlbatch("stop", "--jobs", "--state", str(state))
    wait_for("the job's end", lambda: folder.read_report().status.is_terminal)
    assert folder.read_report().status is RunStatus.CANCELED
