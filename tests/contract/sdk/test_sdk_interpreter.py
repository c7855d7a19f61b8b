"""SDK work in another interpreter: what it gets, what it gives back, and how it may die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import interpreter, models
from airflow_provider_amlbatch.sdk.errors import InterpreterError, SdkError


def spy(folder: Path, then: str) -> str:
    """Write an interpreter that notes its command line, its environment and its input before it does something."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"given = sys.stdin.readline() if {then!r} != 'die early' else ''\n"
        f"json.dump([sys.argv, dict(os.environ), given], open({str(folder / 'seen')!r}, 'w'))\n"
        f"{'sys.exit(3)' if then == 'die early' else then}\n"
    )
    script.chmod(0o755)
    return str(script)


def test_secrets_travel_on_standard_input_only(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://user:word@host/db")
    python = spy(tmp_path, """print(json.dumps({"result": {"id": "p"}}))""")
    assert interpreter.run(opened, "publish", {"digest": "d"}, python=python) == {"id": "p"}
    argv, environment, given = json.loads((tmp_path / "seen").read_text())
    secret = opened.settings.client_secret
    assert secret is not None
    assert secret in given
    assert secret not in " ".join(argv) + " ".join(environment.values())
    assert not any(name.startswith("AIRFLOW") for name in environment)


@pytest.mark.parametrize("then", ["die early", "print('no answer'); print('oops', file=sys.stderr); sys.exit(3)"])
def test_an_interpreter_that_dies_is_told_with_code_and_last_words(opened: Session, tmp_path: Path, then: str) -> None:
    with pytest.raises(InterpreterError, match="code 3") as caught:
        interpreter.run(opened, "publish", {"digest": "x" * 200_000}, python=spy(tmp_path, then))
    assert ("oops" in str(caught.value)) == (then != "die early")


def test_the_environment_names_the_interpreter_when_the_task_does_not(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = """print(json.dumps({"result": {"id": "p"}}))"""
    monkeypatch.setenv("AMLBATCH_SDK_PYTHON", spy(tmp_path, answer))
    assert interpreter.run(opened, "publish", {}) == {"id": "p"}
    with pytest.raises(InterpreterError, match="/no/such/python"):
        interpreter.run(opened, "publish", {}, python="/no/such/python")


def test_what_it_writes_need_not_be_text(opened: Session, tmp_path: Path) -> None:
    # More than a pipe holds: it would wait for ever if nobody read on.
    noise = "sys.stderr.buffer.write(bytes([0xE9]) * 200_000); sys.stderr.flush(); "
    python = spy(tmp_path, noise + """print(json.dumps({"result": {"id": "p"}}))""")
    assert interpreter.run(opened, "publish", {}, python=python) == {"id": "p"}


def test_it_ends_with_the_task_that_started_it(opened: Session) -> None:
    settings = opened.settings
    request = {"verb": "submit", "arguments": {}, "conn_id": settings.conn_id, "connection": settings.to_json()}
    child = Path(interpreter.__file__).with_name("child.py")
    # The end of its input is all that it learns of a task that was killed.
    done = subprocess.run(
        [sys.executable, "-P", str(child)], input=f"{json.dumps(request)}\n", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_an_interpreter_that_is_not_there_is_named(opened: Session) -> None:
    with pytest.raises(InterpreterError, match=r"sdk_python='/no/such/python'.*No such file"):
        interpreter.run(opened, "publish", {}, python="/no/such/python")


def test_an_interpreter_without_the_sdk_says_what_is_missing(opened: Session, tmp_path: Path) -> None:
    # Hides the SDK from the real interpreter.
    blocked = tmp_path / "bin"
    blocked.mkdir()
    script = blocked / "python"
    hide = "import sys; sys.modules['azureml'] = None; import runpy; runpy.run_path(sys.argv[2], run_name='__main__')"
    script.write_text(f"""#!/bin/sh\nexec {sys.executable} -c "{hide}" "$@"\n""")
    script.chmod(0o755)
    with pytest.raises(SdkError, match="azureml-pipeline-steps"):
        interpreter.run(opened, "publish", {}, python=str(script))


def test_a_model_is_registered_from_a_file_and_from_a_folder_and_found_again(opened: Session, tmp_path: Path) -> None:
    folder = tmp_path / "somewhere else" / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "weights.bin").write_bytes(os.urandom(64))
    single = folder / "part" / "weights.bin"
    for version, path in ((1, single), (2, folder)):
        digest = models.digest_of_path(path)
        assert models.find(opened, "iris-classifier", digest) is None
        arguments = {
            "name": "iris-classifier",
            "model_path": str(path),
            "digest": digest,
            "description": "Iris",
            "tags": {"team": "a"},
            "properties": {"accuracy": "0.9"},
        }
        made = interpreter.run(opened, "register_model", arguments, python=sys.executable)
        expected = {"name": "iris-classifier", "version": version, "id": f"iris-classifier:{version}"}
        assert made == {**expected, "created": True}
        assert models.find(opened, "iris-classifier", digest) == {**expected, "created": False}
    # Back to the first content: the latest version is another one, so this is not the same.
    assert models.find(opened, "iris-classifier", models.digest_of_path(single)) is None
