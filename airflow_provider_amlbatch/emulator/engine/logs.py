"""The logs of a step, in the places in which users and the SDK look for them."""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any, TypedDict

_README = """\
Layout of the logs of a parallel step

logs/job_result.txt                        The final summary. Look here first.
logs/job_error.<time>.txt                  Errors from loading the entry script, init() and run(), retried ones too.
logs/job_progress_overview.<time>.txt      Mini-batches created and processed; a new file each day.
logs/user/error.txt                        One line for each error of the entry script.
logs/user/error/<node>/<process>.txt       The tracebacks of those errors.
logs/user/stdout/<node>/<process>.stdout.txt, logs/user/stderr/<node>/<process>.stderr.txt
                                           What the entry script printed.
logs/user/entry_script_log/<node>/<process>.log.txt
                                           What it logged through EntryScript().logger.
logs/sys/master_role.txt                   Scheduling, thresholds, processes started and replaced.
logs/sys/node/<node>/<process>.txt         Each mini-batch of a process.
logs/sys/perf/0/machine.txt                Load, free memory and free disk, every ten minutes.
logs/sys/job_report/processed_mini-batches.csv, process_summary.csv, node_summary.csv
                                           One line for each mini-batch, process and node.
user_logs/std_log_0.txt, azureml-logs/70_driver_log.txt
                                           The output of the driver.
"""


class _TextOptions(TypedDict):
    encoding: str
    errors: str


#: A script's messages may hold anything, half a character included.
_TEXT: _TextOptions = {"encoding": "utf-8", "errors": "backslashreplace"}


@dataclass(frozen=True)
class MiniBatchRow:
    """A line of ``processed_mini-batches.csv``. Times are seconds; the start is UTC."""

    mini_batch_id: int
    picked_count: int
    process: str
    start_time: str
    total: int
    succeeded: int
    failed: int
    elapsed_seconds: float
    process_seconds: float
    run_method_seconds: float
    status: str
    error_category: str = ""
    error_message: str = ""
    error_detail: str = ""


def open_driver_log(artifacts: Path, std_log: str) -> IO[str]:
    """Open the driver's own output, which Azure shows under an older and a newer name: one file with two names."""
    log = artifacts / "azureml-logs" / "70_driver_log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    file = open(log, "a", buffering=1, **_TEXT)  # noqa: SIM115
    twin = artifacts / "user_logs" / std_log
    twin.parent.mkdir(parents=True, exist_ok=True)
    twin.unlink(missing_ok=True)
    os.link(log, twin)
    return file


class StepLogs:
    """The log files of one parallel step, open while it runs.

    :param clock: seconds since 1970.
    """

    def __init__(self, artifacts: Path, clock: Callable[[], float] = time.time) -> None:
        self.logs = artifacts / "logs"
        self._clock = clock
        self._opened = self._overview = self._now("%Y-%m-%d-%H-%M-%S")
        self._files: dict[Path, IO[str]] = {}
        self._driver = open_driver_log(artifacts, "std_log_0.txt")
        self._write("readme.txt", _README)
        report = self._open("sys/job_report/processed_mini-batches.csv")
        self._mini_batches = csv.writer(report, lineterminator="\n")
        self._mini_batches.writerow(field.name for field in fields(MiniBatchRow))

    def driver(self, text: str) -> None:
        """Say something in the driver's own output."""
        self._driver.write(f"{self._now()} {text}\n")

    def raw(self, text: str) -> None:
        """Put text of others into the driver's output, as it is."""
        self._driver.write(text if text.endswith("\n") else text + "\n")

    def progress(self, text: str) -> None:
        """Note progress, in the overview and in the driver's output."""
        self.driver(text)
        now = self._now("%Y-%m-%d-%H-%M-%S")
        if now[:10] != self._overview[:10]:
            self._overview = now
        self._append(f"job_progress_overview.{self._overview}.txt", f"{self._now()} {text}")

    def master(self, text: str) -> None:
        """Note what the scheduler did."""
        self._append("sys/master_role.txt", f"{self._now()}|{text}")

    def error(self, node: str, process: str, what: str, summary: str, detail: str) -> None:
        """Note an error of the entry script.

        :param what: where it happened, such as ``mini-batch 3, try 1 of 3``.
        :param summary: one line.
        :param detail: the traceback, or the same line.
        """
        block = f"{self._now()} {what} on node {node}, {process}: {summary}\n{detail.rstrip()}\n"
        self._append(f"job_error.{self._opened}.txt", block)
        # Not kept open: a long job may go through thousands of processes.
        with open(self.process_file("user/error", node, f"{process}.txt"), "a", **_TEXT) as file:
            file.write(block)
        self._append("user/error.txt", f"{self._now()} {node}/{process} {what}: {summary}")

    def mini_batch(self, row: MiniBatchRow) -> None:
        """Add a line to the report of mini-batches."""
        self._mini_batches.writerow(astuple(row))

    def table(self, name: str, header: list[str], rows: list[list[Any]]) -> None:
        """Write a small table of the job report."""
        writer = csv.writer(self._open(f"sys/job_report/{name}.csv"), lineterminator="\n")
        writer.writerows([header, *rows])

    def performance(self) -> None:
        """Note how busy this machine is, which stands for every node."""
        free = shutil.disk_usage(self.logs).free >> 20
        memory = (os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) >> 20
        self._append(
            "sys/perf/0/machine.txt", f"{self._now()}|load {os.getloadavg()[0]:.2f}|free MB {memory}|disk MB {free}"
        )

    def result(self, text: str) -> None:
        """Write the final summary."""
        self._write("job_result.txt", text)

    def process_file(self, kind: str, node: str, name: str) -> Path:
        """The path of a file that a process writes itself; its folder is there."""
        path = self.logs / kind / node / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def flush(self) -> None:
        """Let readers see what was written."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._driver.close()

    def _append(self, name: str, text: str) -> None:
        self._open(name).write(text + "\n")

    def _open(self, name: str) -> IO[str]:
        path = self.logs / name
        if path not in self._files:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[path] = open(path, "a", newline="", **_TEXT)  # noqa: SIM115
        return self._files[path]

    def _write(self, name: str, text: str) -> None:
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, **_TEXT)

    def _now(self, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        return time.strftime(form, time.gmtime(self._clock()))
