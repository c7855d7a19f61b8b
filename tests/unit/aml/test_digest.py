"""The failure digest: what a person reads first, and that it never fails itself nor tells a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_service import Asked, Reply, ScriptedService

from airflow_provider_amlbatch.aml.digest import Counts, count, error_threshold, failure_digest, first_traceback
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.status import RunStatus

TRACEBACK = """\
Traceback (most recent call last):
  File "/batch/driver.py", line 10, in run
    return entry.run(batch)
  File "score.py", line 7, in run
    raise ValueError("no such column: age")
ValueError: no such column: age"""

REPORT = """\
mini_batch_id,picked_count,process,start_time,total,succeeded,failed,status,error_message
0,1,p0,t,10,10,0,Succeeded,
1,1,p0,t,10,0,10,Failed,first try
1,2,p1,t,10,7,3,Succeeded,second try
2,1,p0,t,20,0,20,Failed,"line one
line two"
"""

GRAPH = {
    "ModuleNodes": [
        {"Id": "other", "ModuleMetadataParameters": [{"Name": "BatchInferencingMetaData", "Value": "{}"}]},
        {
            "Id": "node",
            "ModuleMetadataParameters": [
                {"Name": "TargetType", "Value": "mlc"},
                {"Name": "BatchInferencingMetaData", "Value": json.dumps({"ErrorThreshold": 10, "NodeCount": 2})},
            ],
        },
    ]
}
FAILED = RunOutcome("run", RunStatus.FAILED, "UserError", "Run failed, please check logs for details.")


class FailedJob(ScriptedService):
    """A run whose one step failed, with its logs."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = {
            "logs/sys/job_report/processed_mini-batches.csv": REPORT,
            "logs/job_error.2026-11-21.txt": f"2026-11-21 04:00:00 mini-batch 1\n{TRACEBACK}\n2026-11-21 more\n",
            "logs/job_result.txt": "The step ended.\nReason: 23 of 40 items.\n",
            "user_logs/std_log_0.txt": "Traceback (most recent call last):\n  File x\nSystemExit: 42\n",
        }
        error = {"error": {"code": "UserError", "message": "Run failed, please check logs for details."}}
        step = {"runId": "step", "name": "score", "status": "Failed", "dataContainerId": "dcid", "error": error}
        good = {"runId": "good", "name": "prepare", "status": "Completed", "dataContainerId": "dcid.good"}
        steps = {"value": [good, {**step, "tags": {"azureml.nodeid": "node"}}]}
        self.on("GET", r".*/runs/run/children", lambda _: steps)
        self.on("GET", r".*/contentinfo/ExperimentRun/dcid/.*", self.contents)
        self.on("GET", r"/signed/.*", lambda asked: Reply(text=self.logs[asked.path.removeprefix("/signed/")]))
        self.on("GET", r".*/PipelineRuns/run", lambda _: {"Id": "run", "GraphId": "graph"})
        self.on("GET", r".*/Graphs/graph", lambda _: GRAPH)
        self.on("GET", r".*/runs/step/details", lambda _: {
            "runId": "step", "status": "Failed", "jobCost": {"chargedNodeUtilizationSeconds": 1234.0},
        })  # fmt: skip

    def contents(self, asked: Asked) -> Any:
        place = asked.path.split("/dcid/")[1]
        names = [name for name in self.logs if name.startswith(f"{place}/")]
        files = [{"contentUri": f"https://region.test/signed/{name}?sig=s3cret", "path": name} for name in names]
        return {"value": [{**file, "origin": "ExperimentRun", "container": "dcid"} for file in files]}


@pytest.fixture
def job() -> FailedJob:
    return FailedJob()


def digest(job: FailedJob, outcome: RunOutcome = FAILED) -> list[str]:
    return failure_digest(job.session(), outcome, link="https://studio.test/runs/run").splitlines()


def test_all_that_a_person_needs(job: FailedJob) -> None:
    assert digest(job) == [
        "Run run ended as Failed.",
        "Error: UserError: Run failed, please check logs for details.",
        "Step 'score' (step) ended as Failed.",
        "Reason: error_threshold 10 exceeded by 23 failed items.",
        "Counts: 40 items, 23 failed; 3 mini-batches, 1 failed",
        "The first error of the script:",
        *(f"    {line}" for line in TRACEBACK.splitlines()),
        "Cost: 1,234 node seconds",
        "See https://studio.test/runs/run",
    ]


def test_what_the_job_states_stands_where_no_threshold_was_exceeded(job: FailedJob) -> None:
    job.on("GET", r".*/Graphs/graph", lambda _: Reply(404, {}))
    assert "Reason: 23 of 40 items." in digest(job)


def test_an_empty_error_of_the_service_is_said_to_be_one(job: FailedJob) -> None:
    job.on("GET", r".*/runs/run/children", lambda _: {
        "value": [{"runId": "step", "name": "score", "status": "Failed", "error": {"error": None}}]
    })  # fmt: skip
    lines = digest(job, RunOutcome("run", RunStatus.FAILED))
    assert lines[1] == "Step 'score' (step) ended as Failed."
    assert lines[0] == "Run run ended as Failed."


@pytest.mark.parametrize("broken", [r".*/children", r".*/contentinfo/.*", r"/signed/.*", r".*/details"])
def test_what_cannot_be_read_is_left_out(job: FailedJob, broken: str) -> None:
    job.on("GET", broken, lambda _: Reply(403, {"error": {"code": "Forbidden", "message": "sig=s3cret"}}))
    lines = digest(job)
    assert lines[0] == "Run run ended as Failed."
    assert lines[-1] == "See https://studio.test/runs/run"
    assert any("could not be read" in line for line in lines)
    assert "s3cret" not in "\n".join(lines)


def test_a_secret_that_a_script_prints_is_covered(job: FailedJob) -> None:
    job.logs["logs/job_error.2026-11-21.txt"] = TRACEBACK.replace("age", "password=hunter2")
    assert "hunter2" not in "\n".join(digest(job))


def test_a_mini_batch_counts_by_its_last_try() -> None:
    assert count(REPORT) == Counts(items=40, failed_items=23, mini_batches=3, failed_mini_batches=1)


@pytest.mark.parametrize("report", ["", "a,b\n1,2\n", "mini_batch_id,total\n1,x\n"])
def test_a_report_of_another_make_is_not_counted(report: str) -> None:
    assert count(report) is None


def test_the_first_traceback_ends_with_its_exception() -> None:
    text = f"noise\n{TRACEBACK}\nmore\nTraceback (most recent call last):\n  File y\nKeyError: 1\n"
    assert first_traceback(text) == TRACEBACK.splitlines()


def test_an_indented_traceback_is_straightened() -> None:
    assert first_traceback("\n".join(f"    {line}" for line in TRACEBACK.splitlines())) == TRACEBACK.splitlines()


def test_a_long_traceback_is_cut_in_its_middle() -> None:
    frames = [line for n in range(100) for line in (f'  File "f.py", line {n}, in f', "    f()")]
    found = first_traceback("\n".join(["Traceback (most recent call last):", *frames, "RecursionError: deep"]))
    assert found is not None
    assert found[-1] == "RecursionError: deep"
    assert len(found) == 41


@pytest.mark.parametrize(("node", "threshold"), [("node", 10), ("other", None), ("unknown", None), (None, None)])
def test_the_threshold_is_read_from_the_steps_own_node(node: str | None, threshold: int | None) -> None:
    assert error_threshold(GRAPH, node) == threshold
