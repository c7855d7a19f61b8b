"""The emulator as a process of its own, which a test can break, kill and question."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import requests
from polling import wait_for

from airflow_provider_amlbatch.aml import history
from airflow_provider_amlbatch.aml.blobs import container_client
from airflow_provider_amlbatch.aml.errors import NotFoundError
from airflow_provider_amlbatch.aml.history import QueryParams, Run
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.emulator import server
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

EXPERIMENT = "live"
SCRIPTS = Path(__file__).parent / "dags" / "scripts"


class LiveService:
    """An emulator over a folder.

    :param root: its state.
    :param gates: folder of the files that let runs end.
    """

    def __init__(self, root: Path, gates: Path) -> None:
        self.root = root
        self._gates = gates
        self._served = server.start(root)
        self.environment = self._served.environment(root)
        self.session = Session(
            ConnectionSettings.from_json("azureml_default", self.environment["AIRFLOW_CONN_AZUREML_DEFAULT"])
        )

    @property
    def memory(self) -> int:
        """Memory of its process, without those of the runs, in bytes."""
        return int(psutil.Process(self._served.pid).memory_info().rss)

    # --- its life -----------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End the process with SIGKILL. Runs in progress go on."""
        os.kill(self._served.pid, signal.SIGKILL)
        wait_for("end of the emulator", lambda: server.status(self.root) is None)

    def start(self) -> None:
        """Start it again, at the same address."""
        before = self._served.url
        self._served = server.start(self.root)
        assert self._served.url == before

    def stop(self) -> None:
        """Cancel what runs and end the process."""
        self._control("POST", "reset", {"force": True})
        server.stop(self.root)

    # --- breaking it --------------------------------------------------------------------------------------------

    def arm(self, operation: str, kind: str, **options: Any) -> int:
        """Arm a fault and return its number."""
        state = self._control("POST", "faults", {"operation": operation, "kind": kind, **options})
        return int(state["id"])

    def hold(self, operation: str) -> int:
        """Let the next such request wait for its answer until the client is gone, and return the fault's number."""
        return self.arm(operation, "slow", seconds=600)

    def times_met(self, fault: int) -> int:
        """How many requests have met a fault."""
        faults = self._control("GET", "faults")["faults"]
        return next(int(state["consumed"]) for state in faults if state["id"] == fault)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._control("DELETE", "faults")

    def requests(self) -> dict[str, int]:
        """Requests since the counts were last cleared, by operation."""
        operations = self._control("GET", "requests")["operations"]
        return {name: int(count["count"]) for name, count in operations.items()}

    def clear_requests(self) -> None:
        """Begin to count at zero."""
        self._control("DELETE", "requests")

    # --- what it has --------------------------------------------------------------------------------------------

    def publish(self, name: str = "live", max_nodes: int = 100) -> str:
        """Publish a pipeline of these tests and return its id.

        :param name: of the pipeline and of its cluster.
        :param max_nodes: runs that the cluster executes at once; the others wait in its queue.
        """
        container_client(self.session, "workspaceblobstore").upload_blob("live/one.txt", b"1", overwrite=True)
        step = ParallelRun(
            name="hold",
            source_directory=SCRIPTS,
            entry_script="hold_until_released.py",
            inputs=[Input("one", datastore="workspaceblobstore", path="live/one.txt")],
            output=Output("predictions"),
            environment=Environment("live", pip_packages=["azureml-defaults"]),
            compute_target=Compute(f"{name}-cluster", "STANDARD_D2_V2", max_nodes=max_nodes),
            error_threshold=0,
            process_count_per_node=1,
            run_max_try=1,
            run_invocation_timeout=4000,
            arguments=["--gate", Parameter("gate", "open"), "--seconds", Parameter("seconds", "0")],
        )
        published = publishing.publish(self.session, BatchPipeline(name, step), python=sys.executable)
        return published.pipeline.id

    def pipeline_runs(self) -> list[Run]:
        """All pipeline runs of these tests, oldest first."""
        query = QueryParams(top=1000)
        runs: list[Run] = []
        while True:
            try:
                page = self.session.send(history.query_runs(EXPERIMENT, query))
            except NotFoundError:
                return []  # the first run makes the experiment
            runs += [run for run in page.value if run.run_type == history.PIPELINE_RUN]
            if not page.continuation_token:
                return sorted(runs, key=lambda run: str(run.created_utc))
            query = query.model_copy(update={"continuation_token": page.continuation_token})

    def runs_of(self, dag_run: str) -> list[Run]:
        """The pipeline runs that carry a DAG run's id, oldest first."""
        return [run for run in self.pipeline_runs() if run.tags.get("airflow_run_id") == dag_run]

    def status_of(self, run_id: str) -> str | None:
        """Status of a run, as the service spells it."""
        return self.session.send(history.get_run(run_id)).status

    def gate(self, name: str) -> Path:
        """The file that lets a run end: as failed, if it holds ``fail``."""
        return self._gates / name

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = requests.request(
            method,
            f"{self._served.url}/_emulator/{path}",
            json=body,
            verify=self.environment["REQUESTS_CA_BUNDLE"],
            timeout=30,
        )
        assert answer.ok, answer.text
        return json.loads(answer.text) if answer.text else None
