"""Less common ways to run a parallel step, as the SDK offers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SCRIPT = """
import csv, io, sys
import pandas

write("src/score.py", '''
import os
from azureml.exceptions import ParallelRunException
def run(mini_batch, context):
    if hasattr(mini_batch, "columns"):
        if 3 in set(mini_batch["n"]):
            raise ParallelRunException("not again", "Retry.NoRetry")
        return mini_batch
    nodes, interpreter = os.environ["AZUREML_NODE_COUNT"], os.environ.get("INTERPRETER")
    return [f"{len(mini_batch)} {context.minibatch_index} {nodes} {interpreter}"]
''')
write("show/show.py", "import os, sys; print('SEEN', sorted(os.listdir(sys.argv[2]))); sys.stderr.write('LOUD')")
for number in range(3):
    Path("rows").mkdir(exist_ok=True)
    pandas.DataFrame({"n": [2 * number, 2 * number + 1]}).to_parquet(f"rows/{number}.parquet")
store.upload("rows", "option-rows", show_progress=False)
dataset = make_files("option-files", 4)

write("other-python", f'#!/bin/sh\\nINTERPRETER=other exec "{sys.executable}" "$@"\\n')
os.chmod("other-python", 0o755)
elsewhere = Environment("elsewhere")
elsewhere.python.user_managed_dependencies = True
elsewhere.python.interpreter_path = os.path.abspath("other-python")

def step(name, data, **more):
    return parallel(name, "src", data, output=PipelineData("scores", datastore=store), **more)

preview = PipelineParameter("aml_node_count", 1)
inputs = [dataset.as_named_input("batch")]
steps = [
    step("ranks", [], arguments=["--rank_mini_batch_count", 3, "--nodes", preview]),
    step("elsewhere", inputs, environment=elsewhere, error_threshold=3, arguments=["--nodes", preview]),
    step("rows", [Dataset.Tabular.from_parquet_files((store, "option-rows/*.parquet")).as_named_input("rows")],
         mini_batch_size="1MB", error_threshold=2),
    PythonScriptStep("show.py", "show", ["--place", dataset.as_named_input("down").as_download()],
                     compute_target=make_cluster(), source_directory="show", allow_reuse=False),
]
run = submit(steps, "options", pipeline_parameters={"aml_node_count": 2}, tags={"made": "here"})
run.tag("later", "too")
run.wait_for_completion(show_output=False)
show = run.find_step_run("show")[0]
rows = run.find_step_run("rows")[0]
log = rows.get_details()["logFiles"]["logs/sys/job_report/processed_mini-batches.csv"]
processed = list(csv.DictReader(io.StringIO(requests.get(log).text)))
shown = PipelineRun(ws.experiments["options"], run.id)
report(
    scores={name: lines(run.find_step_run(name)[0], name) for name in ("ranks", "elsewhere", "rows")},
    tags=shown.get_tags(), failed=rows.get_metrics()["Failed Items"],
    tries=[row["picked_count"] for row in processed if row["status"] == "Failed"],
    logs=sorted(rows.get_all_logs("all-logs")), shown=show.get_stdout_log(),
)
"""

Sdk = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def told(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(SCRIPT)


def test_empty_mini_batches_need_no_input_and_the_preview_parameter_sets_the_nodes(told: dict[str, Any]) -> None:
    assert told["scores"]["ranks"] == [f"0 {index} 2 None" for index in range(3)]


def test_an_environment_may_name_its_interpreter(told: dict[str, Any]) -> None:
    assert told["scores"]["elsewhere"] == ["4 0 2 other"]


def test_the_sdks_own_exception_ends_the_tries_of_rows_of_parquet(told: dict[str, Any]) -> None:
    assert told["scores"]["rows"] == ["0", "1", "4", "5"]
    assert told["failed"] == 2
    assert told["tries"] == ["1"]


def test_logs_and_tags_are_where_the_sdk_looks(told: dict[str, Any]) -> None:
    assert told["tags"].items() >= {"made": "here", "later": "too"}.items()
    assert "SEEN ['000.csv', '001.csv', '002.csv', '003.csv']" in told["shown"]
    assert any(path.endswith("logs/job_result.txt") for path in told["logs"])
    assert any(path.endswith("azureml-logs/70_driver_log.txt") for path in told["logs"])
