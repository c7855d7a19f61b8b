"""Progress: what a job's overview says, who is told, how often, and what it costs when thousands wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_service import Asked, Reply, ScriptedService
from structlog.testing import capture_logs

from airflow_provider_amlbatch.aml.progress import READ_GAP, ProgressReader, StepProgress, parse_overview
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sensors.pipeline_run import AzureMLPipelineRunSensor

# As users have published them.
SCHEDULED = "Scheduling finished. Scheduled 276 mini batches in 22 seconds. There are 276 tasks with 551 items."
PROCESSED = "Processed 4117 of 20000 mini batches in 5:02:14. Estimated remaining time 19:25:59."


HOURS = "4,117 of 20,000 mini-batches, about 19.4 h left"


def early(remaining: str) -> str:
    return f"Processed 1 of 3 mini batches in 0:00:10. Estimated remaining time {remaining}."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PROCESSED, HOURS),
        (f"2026-11-21 04:00:00 {SCHEDULED}\n2026-11-21 05:00:00 {PROCESSED}\n", HOURS),
        (f"{early('0:00:20')}\n{PROCESSED}", HOURS),
        (SCHEDULED, "0 of 276 mini-batches"),
        (early("0:00:20"), "1 of 3 mini-batches, about 20 s left"),
        (early("0:06:10"), "1 of 3 mini-batches, about 6 min left"),
        (early("1.02:00:00"), "1 of 3 mini-batches, about 26.0 h left"),
        (early("unknown"), "1 of 3 mini-batches"),
        ("Processed 3 of 3 mini batches in 0:00:10. Estimated remaining time 0:00:00.", "3 of 3 mini-batches"),
        ("Loading the entry script.", "None"),
    ],
)
def test_the_latest_line_of_an_overview_counts(text: str, says: str) -> None:
    assert str(parse_overview(text)) == says


def test_failures_are_named() -> None:
    text = str(StepProgress(412, 2000, 3, timedelta(minutes=6)))
    assert text == "412 of 2,000 mini-batches, 3 items failed, about 6 min left"
    assert str(StepProgress(0, 1, failed_items=1)) == "0 of 1 mini-batch, 1 item failed"


class Job(ScriptedService):
    """A run with one parallel step that executes."""

    def __init__(self) -> None:
        super().__init__()
        self.overview = PROCESSED
        self.failed: Any = Reply(404, {})
        self.status = "Running"
        self.on("GET", r".*/runs/.*/children", self.children)
        self.on("GET", r".*/contentinfo/ExperimentRun/dcid.*", self.contents)
        self.on("GET", r"/signed", lambda _: Reply(text=self.overview))
        self.on("POST", r".*/metric/v2.0.*/runs/step/full", lambda _: self.failed)

    def children(self, _: Asked) -> Any:
        step = {"runId": "step", "name": "score", "status": self.status, "dataContainerId": "dcid.step"}
        return {"value": [step]}

    def contents(self, asked: Asked) -> Any:
        assert asked.path.endswith("/logs/job_progress_overview")
        file = {"contentUri": "https://region.test/signed?sig=x", "origin": "ExperimentRun", "container": "dcid.step"}
        return {"value": [{**file, "path": "logs/job_progress_overview.20261121.txt"}]}


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
def reader(job: Job) -> ProgressReader:
    return ProgressReader(job.session, clock=lambda: job.now)


def read_until(reader: ProgressReader, job: Job, end: float) -> None:
    while (due := reader.next_read()) is not None and due <= end:
        job.now = max(job.now, due)
        reader.read()
    job.now = max(job.now, end)


def test_a_line_for_each_change_and_not_for_each_read(reader: ProgressReader, job: Job) -> None:
    told: list[str] = []
    reader.add("r", 30, told.append, lambda: True)
    start = job.now
    read_until(reader, job, start + 100)
    job.failed = {"name": "Failed Items", "value": [{"data": {"Failed Items": 3.0}}]}
    read_until(reader, job, start + 200)
    assert told == [
        "Step 'score': 4,117 of 20,000 mini-batches, about 19.4 h left",
        "Step 'score': 4,117 of 20,000 mini-batches, 3 items failed, about 19.4 h left",
    ]


def test_thousands_who_wait_cost_no_more_than_a_few(reader: ProgressReader, job: Job) -> None:
    for n in range(2000):
        reader.add(f"r{n}", 30, lambda _: None, lambda: True)
    read_until(reader, job, job.now + 600)
    assert len(job.calls("GET", r".*/children")) <= 600 / READ_GAP
    asked = {asked.path for asked in job.calls("GET", r".*/children")}
    assert len(asked) == len(job.calls("GET", r".*/children"))  # each in its turn


def test_who_waits_no_more_is_not_read_for(reader: ProgressReader, job: Job) -> None:
    reader.add("r", 30, lambda _: None, lambda: False)
    assert reader.next_read() is None


def test_steps_that_do_not_execute_are_not_read(reader: ProgressReader, job: Job) -> None:
    told: list[str] = []
    job.status = "Queued"
    reader.add("r", 30, told.append, lambda: True)
    read_until(reader, job, job.now + 60)
    assert told == []
    assert job.calls("GET", "/signed") == []


def test_what_cannot_be_read_is_no_trouble(reader: ProgressReader, job: Job) -> None:
    told: list[str] = []
    job.on("GET", r"/signed", lambda _: Reply(404, {}))
    reader.add("r", 30, told.append, lambda: True)
    read_until(reader, job, job.now + 60)
    assert told == []


def test_a_sensor_that_pokes_tells_each_change(job: Job) -> None:
    job.on("GET", r".*/runs/r", lambda _: {"runId": "r", "status": "Running"})
    sensor: Any = AzureMLPipelineRunSensor(task_id="wait", run_id="r", deferrable=False)
    sensor.hook = AzureMLBatchHook(session=job.session())
    context: Any = {"ti": SimpleNamespace(start_date=datetime.now(UTC))}
    with capture_logs() as logged:
        assert [sensor.poke(context) for _ in range(2)] == [False, False]
        job.overview = early("0:00:20")
        assert not sensor.poke(context)
        job.on("GET", r".*/runs/.*/children", lambda _: Reply(404, {}))
        assert not sensor.poke(context)
    told = [entry["event"] for entry in logged if entry["log_level"] == "info"]
    assert told == [f"Step 'score': {HOURS}", "Step 'score': 1 of 3 mini-batches, about 20 s left"]
