"""Less common ways to run a parallel step, as the SDK offers them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

SCRIPT = """
import csv, io, sys
import pandas
from azureml.data.dataset_factory import DataType

DESCRIBE = '''
def describe(frame):
    return [[name, str(frame[name].dtype), *map(repr, frame[name])] for name in frame.columns]
'''
exec(DESCRIBE)

write("src/score.py", '''
import os
def run(mini_batch, context):
    if hasattr(mini_batch, "columns"):
        if 3 in set(mini_batch["n"]):
            from azureml.exceptions import ParallelRunException
            raise ParallelRunException("not again", "Retry.NoRetry")
        return mini_batch
    nodes, interpreter = os.environ["AZUREML_NODE_COUNT"], os.environ.get("INTERPRETER")
    return [f"{len(mini_batch)} {context.minibatch_index} {nodes} {interpreter}"]
''')
write("keys/score.py", DESCRIBE + '''
import json, os
def run(mini_batch, context):
    part = context.dataset
    if not hasattr(mini_batch, "columns"):
        return [f"{context.partition_key_value} {part.to_path()}"] * len(mini_batch)
    native = describe(part.to_pandas_dataframe())
    assert native == describe(mini_batch), f"{native} {describe(mini_batch)}"
    return [json.dumps(describe(mini_batch))] + [""] * (len(mini_batch) - 1)
''')
write("show/show.py", "import os, sys; print('SEEN', sorted(os.listdir(sys.argv[2]))); sys.stderr.write('LOUD')")
for number in range(3):
    Path("rows").mkdir(exist_ok=True)
    pandas.DataFrame({"n": [2 * number, 2 * number + 1]}).to_parquet(f"rows/{number}.parquet")
store.upload("rows", "option-rows", show_progress=False)
dataset = make_files("option-files", 4)
for letter in "ab":
    rows = ["i,n,truth,f,t,s,again,again", "1,1,true,1.5,2020-01-02,007,1,2", "-2,,,,9999-12-31,NA,3,4",
            " 3 ,x,No,1e3,,null,5,6"]
    write(f"typed/{letter}/rows.csv", "\\n".join(rows))
store.upload("typed", "typed", overwrite=True, show_progress=False)
types = dict(i=DataType.to_long(), n=DataType.to_long(), truth=DataType.to_bool(), f=DataType.to_float(),
             t=DataType.to_datetime(formats=["%Y-%m-%d"]))
typed = Dataset.Tabular.from_delimited_files(
    (store, "typed/*/rows.csv"), infer_column_types=False, set_column_types=types,
    partition_format="/{letter}/rows.csv")
keyed = Dataset.File.from_files((store, "typed/*/rows.csv"), partition_format="/{letter}/rows.csv")

write("other-python", f'#!/bin/sh\\nINTERPRETER=other exec "{sys.executable}" "$@"\\n')
os.chmod("other-python", 0o755)
elsewhere = Environment("elsewhere")
elsewhere.python.user_managed_dependencies = True
elsewhere.python.interpreter_path = os.path.abspath("other-python")

def step(name, data, source="src", **more):
    return parallel(name, source, data, output=PipelineData("scores", datastore=store), **more)

preview = PipelineParameter("aml_node_count", 1)
inputs = [dataset.as_named_input("batch")]
steps = [
    step("ranks", [], arguments=["--rank_mini_batch_count", 3, "--nodes", preview,
         "--metrics_name_prefix", "ranks/", "--push_metrics_to_parent", "True"]),
    step("elsewhere", inputs, environment=elsewhere, error_threshold=3, arguments=["--nodes", preview]),
    step("rows", [Dataset.Tabular.from_parquet_files((store, "option-rows/*.parquet")).as_named_input("rows")],
         mini_batch_size="1MB", error_threshold=2),
    step("typed", [typed.as_named_input("typed")], source="keys", mini_batch_size=None, partition_keys=["letter"]),
    step("keyed", [keyed.as_named_input("keyed")], source="keys", mini_batch_size=None, partition_keys=["letter"]),
    PythonScriptStep("show.py", "show", ["--place", dataset.as_named_input("down").as_download()],
                     compute_target=make_cluster(), source_directory="show", allow_reuse=False),
]
run = submit(steps, "options", pipeline_parameters={"aml_node_count": 2}, tags={"made": "here"})
run.tag("later", "too")
finish(run)
show = run.find_step_run("show")[0]
rows = run.find_step_run("rows")[0]
log = rows.get_details()["logFiles"]["logs/sys/job_report/processed_mini-batches.csv"]
processed = list(csv.DictReader(io.StringIO(requests.get(log).text)))
shown = PipelineRun(ws.experiments["options"], run.id)
report(
    scores={name: lines(run.find_step_run(name)[0], name) for name in ("ranks", "elsewhere", "rows", "typed", "keyed")},
    metrics=[run.find_step_run("ranks")[0].get_metrics(), run.get_metrics()],
    tags=shown.get_tags(), failed=rows.get_metrics()["Failed Items"],
    tries=[row["picked_count"] for row in processed if row["status"] == "Failed"],
    frames=[describe(frame) for _, frame in typed.to_pandas_dataframe().groupby("letter")],
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


def test_rows_have_the_types_of_the_sdks_own_reader(told: dict[str, Any]) -> None:
    frames = [json.loads(row) for row in told["scores"]["typed"] if row]
    assert sorted(frames) == told["frames"]
    columns = {name: values for name, *values in frames[0]}
    assert {name: columns[name][0] for name in ("i", "n", "truth", "f", "t")} == {
        "i": "int64",
        "n": "float64",
        "truth": "object",
        "f": "float64",
        "t": "datetime64[ns]",
    }
    assert columns["s"][1:] == ["'007'", "'NA'", "'null'"]


def test_the_dataset_of_a_mini_batch_is_the_part_with_its_key(told: dict[str, Any]) -> None:
    assert told["scores"]["keyed"] == [f"{{'letter': '{letter}'}} ['/{letter}/rows.csv']" for letter in "ab"]


def test_metrics_have_a_prefix_and_reach_the_parent(told: dict[str, Any]) -> None:
    step, parent = told["metrics"]
    assert step == parent
    assert (step["ranks/Total MiniBatches"], step["ranks/Failed Items"]) == (3, 0)
    assert all(name.startswith("ranks/") for name in step)
