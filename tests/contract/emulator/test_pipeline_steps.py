"""Graphs of several steps, reuse, failure, queues and cancelation, judged by the SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator, serving

STEPS = """
from azureml.data import OutputFileDatasetConfig

dataset = make_files("step-data", 6)
write("src/score.py", DOUBLE)
write("prepare/prepare.py", '''
import argparse, json, os
from azureml.core import Run
parser = argparse.ArgumentParser()
for name in ("--source", "--target", "--note"):
    parser.add_argument(name)
given = parser.parse_args()
for name in sorted(os.listdir(given.source)):
    number = int(open(os.path.join(given.source, name)).read())
    with open(os.path.join(given.target, name), "w") as file:
        file.write(str(number + 100))
run = Run.get_context()
print("TOLD " + json.dumps({
    "note": given.note, "variable": os.environ["AML_PARAMETER_note"], "same": run.input_datasets["raw"] == given.source,
    "run": run.id, "experiment": run.experiment.name, "mine": os.environ["MINE"],
    "also": os.environ.get("ALSO_MINE")}))
''')
write("count/count.py", '''
import os, sys
lines = open(os.path.join(sys.argv[2], "parallel_run_step.txt")).read().splitlines()
with open(os.path.join(sys.argv[4], "count.txt"), "w") as file:
    file.write(str(len(lines)))
''')
from azureml.core.runconfig import RunConfiguration
configuration = RunConfiguration()
configuration.environment.environment_variables = {"MINE": "set by me"}
configuration.environment_variables = {"ALSO_MINE": "and this"}
prepared = OutputFileDatasetConfig("prepared", destination=(store, "prepared/{run-id}/{output-name}"))
prepared = prepared.register_on_complete("prepared-data", description="made by a step", tags={"kind": "prepared"})
prepare = PythonScriptStep(
    "prepare.py", "prepare",
    ["--source", dataset.as_named_input("raw").as_mount(), "--target", prepared,
     "--note", PipelineParameter("note", "a b")],
    compute_target=make_cluster(), source_directory="prepare", runconfig=configuration)
scores = PipelineData("scores", datastore=store)
score = parallel("score", "src", [prepared.as_input("batch")], output=scores, allow_reuse=True)
counted = PipelineData("counted", datastore=store)
count = PythonScriptStep("count.py", "count", ["--source", scores, "--target", counted], inputs=[scores],
                         outputs=[counted], compute_target=make_cluster(), source_directory="count")

def go(**parameters):
    run = submit(count, "steps", pipeline_parameters=parameters or None)
    finish(run)
    return run

def steps(run):
    return {step.name: step for step in run.get_children()}

def reused(run):
    return {name: step.properties.get("azureml.reusedrunid") for name, step in steps(run).items()}

first = go()
before = steps(first)
(told,) = [line for line in before["prepare"].get_stdout_log().splitlines() if "TOLD " in line]
before["count"].get_output_data("counted").download("counted")
registered = Dataset.get_by_name(ws, "prepared-data")
report(
    told=json.loads(told.partition("TOLD ")[2]), prepare_id=before["prepare"].id,
    scores=lines(before["score"], "first"), count=next(Path("counted").rglob("count.txt")).read_text(),
    registered=[registered.version, registered.description, registered.tags, registered.to_path()],
    written=before["prepare"].get_details()["outputDatasets"][0]["outputDetails"],
    ids={name: step.id for name, step in before.items()},
)
second = go()
third = go(note="other")
log = steps(third)["prepare"].get_details()["logFiles"]["azureml-logs/20_preparation.txt"]
report(
    reused=reused(second), reused_flags=sorted({step._is_reused for step in second.get_children()}),
    reused_scores=lines(steps(second)["score"], "second"), reused_status=second.get_status(),
    changed=reused(third), why=requests.get(log).text,
)
again = submit(count, "steps", regenerate_outputs=True)
finish(again)
report(regenerated=reused(again))

published = Pipeline(ws, [count]).publish("reusable", "")
from_rest = published.submit(ws, "steps")
finish(from_rest)
report(rest_reused=sorted(reused(from_rest).values()), again_ids=sorted(step.id for step in again.get_children()))
"""

FAILURE = """
dataset = make_files("bad-data", 3)
write("bad/score.py", '''
def run(mini_batch):
    raise ValueError("there is no third column")
''')
write("fine/fine.py", "print('fine')")
bad = parallel("bad", "bad", dataset, run_max_try=1)
after = PythonScriptStep("fine.py", "after", compute_target=make_cluster(), source_directory="fine")
after.run_after(bad)
run = submit([bad, after], "failing")
raised = failure(run.wait_for_completion, show_output=True)
statuses = {step.name: step.get_status() for step in run.get_children()}
details = run.find_step_run("bad")[0].get_details()
logs = "".join(requests.get(url).text for name, url in details["logFiles"].items() if name.startswith("logs/job_error"))
report(raised=raised, status=run.get_status(), statuses=statuses, error=details["error"]["error"], logs=logs)
"""

QUEUE = """
dataset = make_files("slow-data", 2)
write("slow/score.py", '''
import time
def run(mini_batch):
    time.sleep(300)
''')
def slow(name, nodes):
    return submit(parallel(name, "slow", dataset, node_count=nodes, run_invocation_timeout=600), "queueing")

def wait(run, *statuses):
    deadline = time.time() + 60
    while run.get_status() not in statuses and time.time() < deadline:
        time.sleep(0.1)
    return run.get_status()

def history(run):
    return run.get_details()["status"]

running = slow("running", 1)
wait(running, "Running")
while history(running) != "Running":
    time.sleep(0.1)
large = slow("large", 2)
small = slow("small", 1)
time.sleep(1.5)
report(waiting=[history(large), history(small), large.get_status()])
large.cancel()
report(canceled_at_once=[large.get_status(), history(large)])
while history(small) != "Running":
    time.sleep(0.1)
report(side_by_side=[history(running), history(small)])
for run in (running, small):
    run.cancel()
report(canceled=[wait(run, "Canceled") for run in (running, small)],
       steps=[step.get_status() for step in running.get_children()],
       raised=failure(running.wait_for_completion, show_output=False))
"""

Sdk = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def steps(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(STEPS)


def test_data_goes_from_step_to_step(steps: dict[str, Any]) -> None:
    assert steps["scores"] == [f"{number:03}.csv: {2 * (number + 100)}" for number in range(6)]
    assert steps["count"] == "6"


def test_a_script_finds_its_arguments_parameters_data_and_run(steps: dict[str, Any]) -> None:
    assert steps["told"] == {
        "note": "a b",
        "variable": "a b",
        "same": True,
        "run": steps["prepare_id"],
        "experiment": "steps",
        "mine": "set by me",
        "also": "and this",
    }


def test_an_output_is_registered_once_its_step_has_completed(steps: dict[str, Any]) -> None:
    version, description, tags, paths = steps["registered"]
    assert (version, description, tags) == (1, "made by a step", {"kind": "prepared"})
    assert paths == [f"/{number:03}.csv" for number in range(6)]
    assert steps["written"] == {"outputName": "prepared"}


def test_steps_that_did_not_change_are_reused_and_what_depends_on_a_change_is_not(steps: dict[str, Any]) -> None:
    assert steps["reused"] == steps["ids"]
    assert steps["reused_flags"] == [True]
    assert steps["reused_status"] == "Finished"
    assert steps["reused_scores"] == steps["scores"]
    assert steps["changed"] == dict.fromkeys(steps["ids"])
    assert "arguments, parameters changed" in steps["why"]
    assert steps["regenerated"] == dict.fromkeys(steps["ids"])
    assert steps["rest_reused"] == steps["again_ids"]


@pytest.fixture(scope="module")
def failed(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(FAILURE)


def test_a_failure_reaches_the_caller_with_its_reason_and_its_traceback(failed: dict[str, Any]) -> None:
    assert failed["raised"].startswith("ActivityFailedException")
    assert "there is no third column" in failed["raised"]
    assert failed["status"] == "Failed"
    assert failed["statuses"] == {"bad": "Failed", "after": "Canceled"}
    assert "there is no third column" in failed["error"]["message"]
    assert "Traceback (most recent call last)" in failed["logs"]
    assert 'raise ValueError("there is no third column")' in failed["logs"]


def test_runs_wait_for_their_cluster_in_order_and_can_be_canceled(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(QUEUE)
    assert told["waiting"] == ["Queued", "Queued", "Running"]
    assert told["canceled_at_once"] == ["Canceled", "Canceled"]
    assert told["side_by_side"] == ["Running", "Running"]
    assert told["canceled"] == ["Canceled", "Canceled"]
    assert told["steps"] == ["Canceled"]


RESTART = """
dataset = make_files("restart-data", 8)
write("slow/score.py", '''
import os, time
def run(mini_batch):
    time.sleep(0.4)
    return [os.path.basename(path) for path in mini_batch]
''')
runs = [submit(parallel(name, "slow", dataset, mini_batch_size="1"), "restart") for name in ("one", "two", "three")]
print("READY", flush=True)
report(ids=[run.id for run in runs])
"""

AFTERWARDS = """
experiment = ws.experiments["restart"]
runs = [PipelineRun(experiment, run_id) for run_id in {ids}]
for run in runs:
    finish(run)
report(scores=[lines(run.get_children().__next__(), run.id) for run in runs])
"""


def test_a_server_that_is_restarted_loses_no_run(
    tmp_path: Any, script: Callable[[ServedEmulator, str], dict[str, Any]]
) -> None:
    with serving(tmp_path, keep_jobs=True) as emulator:
        ids = script(emulator, RESTART)["ids"]
    with serving(tmp_path, keep_jobs=True):
        pass
    with serving(tmp_path) as emulator:
        told = script(emulator, AFTERWARDS.format(ids=ids))
    assert told["scores"] == [[f"{number:03}.csv" for number in range(8)]] * 3
