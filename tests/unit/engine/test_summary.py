"""What is kept of worker processes for the tables of a job."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_amlbatch.emulator.engine.environment import View
from airflow_provider_amlbatch.emulator.engine.job import ParallelSettings
from airflow_provider_amlbatch.emulator.engine.ledger import Ledger
from airflow_provider_amlbatch.emulator.engine.logs import StepLogs
from airflow_provider_amlbatch.emulator.engine.pool import Worker, WorkerPlan
from airflow_provider_amlbatch.emulator.engine.summary import Summary


def worker(node: int, number: int) -> Worker:
    here = Path()
    plan = WorkerPlan(node, f"process{number:03d}", "python", {}, here, here, here, {}, View())
    process: Any = SimpleNamespace(pid=number)
    channel: Any = None
    return Worker(plan, process, channel, deadline=0.0, processed=number, failures=1, busy_seconds=0.5)


def test_workers_that_ended_are_let_go_and_still_counted(tmp_path: Path) -> None:
    logs = StepLogs(tmp_path)
    summary = Summary("step", logs, machine_interval=0)
    ended, alive = worker(1, 2), worker(0, 3)
    for one in (ended, alive):
        summary.worker_started(one)
    summary.worker_ended(ended, "it was time")
    kept = weakref.ref(ended)
    del ended, one
    gc.collect()
    assert kept() is None
    summary.end(Ledger(ParallelSettings("score.py", ("data",))), "Completed", None)
    logs.close()
    report = tmp_path / "logs" / "sys" / "job_report"
    assert (report / "process_summary.csv").read_text().splitlines() == [
        "node,process,processed,failed_tries,busy_seconds",
        "0,process003,3,1,0.5",
        "1,process002,2,1,0.5",
    ]
    assert (report / "node_summary.csv").read_text().splitlines()[1:] == ["0,1,3,1,0.5", "1,1,2,1,0.5"]
