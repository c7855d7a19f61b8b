"""Inputs are mounts: a script that writes to one fails as on Azure, and the blobs stay what they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from engine_bench import Bench

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.environment import View, launch_command
from airflow_provider_amlbatch.emulator.engine.job import FileInput, Output

WRITES = """
import errno, os, sys
def codes(folder, path):
    for write in (
        lambda: open(path, "a"),
        lambda: open(os.path.join(folder, "new.txt"), "w"),
        lambda: os.remove(path),
        lambda: os.chmod(path, 0o600),
        lambda: os.replace(path, path + ".old"),
    ):
        try:
            write()
            yield "written"
        except OSError as error:
            yield errno.errorcode[error.errno]
"""
ALL_REFUSED = ",".join(["EROFS"] * 5)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    command = launch_command(["sh", "-c", f"test -w {tmp_path}"], View((str(tmp_path),)))
    if subprocess.run(command, check=False).returncode == 0:
        pytest.skip("this system lets no process mount its inputs read-only")
    return Bench(tmp_path)


def test_a_parallel_step_cannot_write_to_its_input_but_to_an_output_below_it(bench: Bench) -> None:
    paths = bench.files(2)
    bench.output = bench.data / "azureml" / "out"
    bench.script(
        WRITES
        + """
def run(mini_batch):
    with open(os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], "own.txt"), "w") as file:
        file.write("mine")
    return [",".join(codes(os.path.dirname(path), path)) for path in mini_batch]
"""
    )
    source = FileInput("data", (f"{bench.data}/*.txt",), root=str(bench.data))
    assert bench.run(bench.step((source,))).status is RunStatus.COMPLETED
    assert bench.rows() == [ALL_REFUSED] * 2
    assert (bench.output / "own.txt").read_text() == "mine"
    assert [path.read_text() for path in paths] == ["0", "1"]
    assert sorted(path.name for path in bench.data.iterdir()) == ["00000.txt", "00001.txt", "azureml"]


def test_a_script_step_cannot_write_to_its_input_nor_can_what_it_starts(bench: Bench) -> None:
    (path,) = bench.files(1)
    text = "print(','.join(codes(os.path.dirname(sys.argv[1]), sys.argv[1])))\nos.system('echo x > ' + sys.argv[1])"
    (bench.source / "main.py").write_text(WRITES + text)
    output = bench.root / "out"
    step = bench.script_step(
        "script",
        "main.py",
        arguments=({"input": "data"},),
        inputs=(FileInput("data", (str(path),), root=str(path)),),
        outputs=(Output("out", str(output)),),
    )
    bench.launch(step)
    assert bench.wait().status is RunStatus.COMPLETED
    log = (Path(step.artifacts) / "user_logs/std_log.txt").read_text()
    assert ALL_REFUSED in log
    assert "ead-only file system" in log
    assert path.read_text() == "0"
