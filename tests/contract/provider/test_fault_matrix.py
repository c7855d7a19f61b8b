"""Every operation on the way from invoking to the collected table, times everything that may happen to a request.

Each flow invokes a real pipeline that writes the flow's own key into each row, waits, and collects. Whatever was armed
has to be met, and then exactly one run carries the key, and its table holds the key once for each input.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from polling import wait_for

from airflow_provider_amlbatch.aml import pipelines, submission
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.aml.submission import SubmissionKey, submit_once
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.aml.watcher import RunWatcher
from airflow_provider_amlbatch.emulator.faults import Fault
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)
from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
import argparse
from pathlib import Path

def init():
    global flow
    parser = argparse.ArgumentParser()
    parser.add_argument("--flow")
    flow = parser.parse_known_args()[0].flow

def run(mini_batch):
    return [f"{flow},{Path(path).name}" for path in mini_batch]
"""
INPUTS = ("0.csv", "1.csv", "2.csv")

#: Operations of the way, and those among them that carry no bearer token, which therefore cannot expire.
OPERATIONS = {
    "discovery.get_clouds",
    "aad.get_configuration",
    "aad.post_token",
    "arm.get_workspace",
    "discovery.get_workspace_services",
    "endpoints.get_endpoint_by_name",
    "pipelines.get_pipeline",
    "pipelines.get_graph_interface",
    "history.query_runs",
    "endpoints.submit_endpoint",
    "history.get_batch_run_data",
    "history.get_workspace_run",
    "history.list_children_by_run_id",
    "pipeline_runs.get_node_outputs",
    "metrics.list_metrics",
    "metrics.get_metric",
    "datastores.get_datastore",
    "blob.get_container",
    "blob.get_blob",
}
TOKENLESS = {operation for operation in OPERATIONS if operation.startswith(("discovery.", "aad.", "blob."))}

KINDS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "retry_after": 1},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "reset_before": {"kind": "reset_before"},
    "reset_after": {"kind": "reset_after"},
    "truncate": {"kind": "truncate"},
    "slow": {"kind": "slow", "seconds": 0.2},
    "expire_token": {"kind": "expire_token"},
}
PAIRS = [
    (operation, kind)
    for operation in sorted(OPERATIONS)
    for kind in KINDS
    if not (kind == "expire_token" and operation in TOKENLESS)
]


@dataclass
class Bench:
    """A served emulator with one published pipeline, and the figures of all flows that went through it."""

    served: ServedEmulator
    settings: ConnectionSettings
    endpoint: str
    pipeline_id: str
    folder: Path

    def session(self) -> Session:
        return Session(self.settings, sleep=lambda _: None)

    def arm(self, operation: str, kind: str) -> None:
        self.served.services.faults.arm(Fault(operation=operation, **KINDS[kind]), OPERATIONS)

    def disarm(self) -> None:
        """Check that every armed fault was met, and forget them."""
        report = self.served.services.faults.report()
        assert report.all_consumed, [state for state in report.faults if not state.is_consumed]
        self.served.services.faults.clear()

    def flow(self, name: str) -> None:
        """Invoke, wait and collect as a task does, in a session of its own, and check what came of it."""
        session, key = self.session(), SubmissionKey.of(name, generation="0")
        hook = AzureMLBatchHook(session=session)
        target = find_target(session, pipeline_endpoint=self.endpoint)
        assert {parameter.name for parameter in hook.declared_interface(target.pipeline).parameters} == {"flow"}
        info = PipelineSubmissionInfo(experiment_name="matrix", parameter_assignments={"flow": name})
        run_id = submit_once(session, target.submission, info, key, target.pipeline.id, lambda _: None).run_id
        assert hook.conclude(self.wait(run_id)) == run_id
        table = self.folder / f"{name}.parquet"
        result = hook.collect(run_id, table)
        rows = sorted(tuple(row.values()) for row in pq.read_table(table).to_pylist())
        assert rows == [(name, file) for file in INPUTS]
        assert result.collected.reconciliation is not None, "the job's own counts were not compared"

    def wait(self, run_id: str) -> RunOutcome:
        """Let a watcher ask round after round, on a clock that jumps over every pause."""
        now = [0.0]
        watcher = RunWatcher(self.session, clock=lambda: now[0])
        waiter = watcher.add(run_id, poll_interval=10.0)

        def ask() -> bool:
            now[0] = max(now[0], watcher.next_round() or 0.0)
            watcher.round()
            return waiter.future.done()

        wait_for(f"end of {run_id}", ask, interval=0.05)
        return waiter.future.result(0)

    def runs(self) -> Counter[str]:
        """Count the runs in the service by the key that they carry."""
        listed = self.served.services.pipeline_runs.list_runs(pipeline_id=self.pipeline_id)
        return Counter((run.tags or {})[submission.KEY] for run in listed)


@pytest.fixture(scope="module")
def bench(own_emulator: ServedEmulator, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("matrix")
    settings = ConnectionSettings.from_json("azureml_default", own_emulator.connection_json)
    session = Session(settings)
    container = AzureMLBatchHook(session=session).container_client("workspaceblobstore")
    for name in INPUTS:
        container.upload_blob(f"matrix/{name}", b"1")
    (folder / "score.py").write_text(SCRIPT)
    step = ParallelRun(
        name="keys",
        source_directory=folder,
        entry_script="score.py",
        inputs=[Input("files", path="matrix/*.csv")],
        arguments=["--flow", Parameter("flow", "none")],
        environment=Environment("plain", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-matrix", "STANDARD_D2_V2", max_nodes=8),
        error_threshold=0,
        process_count_per_node=1,
        output=Output("keys"),
    )
    pipeline = publishing.publish(session, BatchPipeline("keys", step), python=sys.executable).pipeline
    endpoint = session.send(pipelines.create_endpoint("keys", "keys of flows", pipeline.id))
    return Bench(own_emulator, settings, endpoint.name, pipeline.id, folder)


def key_of(name: str) -> str:
    return SubmissionKey.of(name, generation="0").value


def test_the_matrix_knows_every_operation_of_the_way(bench: Bench) -> None:
    bench.served.services.requests.clear()
    bench.flow("clean")
    assert set(bench.served.services.requests.report().operations) == OPERATIONS


@pytest.mark.parametrize("kind", KINDS)
def test_one_flow_survives_the_same_fault_at_every_operation(bench: Bench, kind: str) -> None:
    for operation in (operation for operation, other in PAIRS if other == kind):
        bench.arm(operation, kind)
    bench.flow(f"all-{kind}")
    bench.disarm()
    assert bench.runs()[key_of(f"all-{kind}")] == 1


FLOWS, AT_ONCE = 1000, 8


def _at_different_operations(pairs: deque[tuple[str, str]], count: int) -> dict[str, str]:
    """Take the pairs that waited longest: none twice at one operation, lest a call fail more often than it is tried."""
    taken: dict[str, str] = {}
    for operation, kind in list(pairs):
        if len(taken) < count and operation not in taken:
            taken[operation] = kind
            pairs.remove((operation, kind))
            pairs.append((operation, kind))
    return taken


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_thousand_runs_lose_nothing_and_double_nothing(bench: Bench) -> None:
    chance, met, began = random.Random(4), Counter[tuple[str, str]](), time.monotonic()
    pairs = deque(chance.sample(PAIRS, len(PAIRS)))
    names = [f"flow-{index:04}" for index in range(FLOWS)]
    with ThreadPoolExecutor(AT_ONCE) as flows:
        for start in range(0, FLOWS, AT_ONCE):
            armed = _at_different_operations(pairs, AT_ONCE)
            for operation, kind in armed.items():
                bench.arm(operation, kind)
            list(flows.map(bench.flow, names[start : start + AT_ONCE]))
            bench.disarm()
            met.update(armed.items())
    runs = bench.runs()
    keys = [key_of(name) for name in names]
    figures = {
        "runs": FLOWS,
        "faults": met.total(),
        "kinds of fault at an operation": len(met),
        "lost": sum(runs[key] == 0 for key in keys),
        "doubled": sum(runs[key] > 1 for key in keys),
        "seconds": round(time.monotonic() - began),
    }
    print(", ".join(f"{name}: {value}" for name, value in figures.items()))
    assert (figures["lost"], figures["doubled"]) == (0, 0)
    assert set(met) == set(PAIRS)
