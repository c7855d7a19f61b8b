"""A run that is looked at while it is being launched is never taken for one that has lost its controller."""

from __future__ import annotations

import threading
from pathlib import Path

from polling import wait_for

from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob


def test_no_reader_sees_a_launched_run_without_its_controller(tmp_path: Path) -> None:
    seen: set[str | None] = set()
    done = threading.Event()
    folder = RunFolder(tmp_path / "none")

    def read() -> None:
        while not done.is_set():
            if folder.report_file.exists():
                seen.add(folder.read_report().error_code)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for number in range(20):
            launched = RunFolder(tmp_path / str(number))
            launched.create(PipelineJob("run", ()))
            launched.job_file.write_text("{}")  # its controller ends as soon as it has read this
            folder = launched
            launched.launch()
            wait_for("end", lambda: launched.read_report().status.is_terminal, interval=0.02)  # noqa: B023
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert seen == {None, "ServiceError"}
