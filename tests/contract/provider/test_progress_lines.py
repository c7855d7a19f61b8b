"""Who waits for a real job reads how far it has got, on the worker and in the triggerer alike."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml import pipelines
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.testing import ServedEmulator
from airflow_provider_amlbatch.triggers.pipeline_run import AzureMLPipelineRunTrigger

pytestmark = pytest.mark.slow

#: A second for each file, long enough for the job to tell of its progress, and a file that fails at the beginning.
SCRIPT = """
import time
from pathlib import Path

def run(mini_batch):
    time.sleep(1)
    return [] if Path(mini_batch[0]).name == "00.csv" else [1]
"""
FILES = 35


@pytest.fixture
def run_id(emulator: ServedEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    container = AzureMLBatchHook(session=session).container_client("workspaceblobstore")
    for n in range(FILES):
        container.upload_blob(f"slow/{n:02}.csv", b"1", overwrite=True)
    (tmp_path / "score.py").write_text(SCRIPT)
    step = ParallelRun(
        name="slow",
        source_directory=tmp_path,
        entry_script="score.py",
        inputs=[Input("files", datastore="workspaceblobstore", path="slow/*.csv")],
        environment=Environment("plain", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-progress", "STANDARD_D2_V2", max_nodes=1),
        mini_batch_size=1,
        error_threshold=-1,
        process_count_per_node=1,
        output=Output("ones"),
    )
    pipeline = publishing.publish(session, BatchPipeline("slow", step), python=sys.executable).pipeline
    info = PipelineSubmissionInfo(experiment_name="progress")
    return session.send(pipelines.submit_pipeline(pipeline.id, info)).id


async def fired(trigger: AzureMLPipelineRunTrigger) -> Any:
    return (await anext(trigger.run())).payload


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def listening(logged: Any) -> Lines:
    """Give an Airflow object a logger of the test's."""
    lines = Lines()
    logger = logging.Logger("test", logging.INFO)
    logger.addHandler(lines)
    logged._log = logger
    return lines


def test_lines_for_a_job_that_takes_a_while(run_id: str) -> None:
    hook = AzureMLBatchHook()
    trigger = AzureMLPipelineRunTrigger(run_id, "azureml_default", poll_interval=2)
    logs = [listening(hook), listening(trigger)]
    with ThreadPoolExecutor(1) as worker:
        waited = worker.submit(hook.wait, run_id, 2)
        assert asyncio.run(fired(trigger))["status"] == "Completed"
        assert waited.result(60).succeeded
    shown = re.compile(rf"Step 'slow': \d+ of {FILES} mini-batches, 1 item failed, about \d+ s left")
    for log in logs:
        told = [text for text in log.texts if "mini-batches" in text]
        assert told
        assert shown.fullmatch(told[-1]), told
        assert len(told) == len(set(told))
