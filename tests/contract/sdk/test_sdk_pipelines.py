"""Publishing and submitting through the unmodified SDK, against the emulator: once per definition."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from airflow_provider_amlbatch.aml import pipelines as wire
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.submission import SubmissionKey, find_runs
from airflow_provider_amlbatch.sdk import interpreter, publishing
from airflow_provider_amlbatch.sdk.errors import SdkError
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)
from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk

#: An interpreter that is not there: with it, any use of the SDK fails.
NO_SDK = "/no/such/python"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "scoring"
    folder.mkdir()
    (folder / "score.py").write_text("def run(mini_batch):\n    return [f'{name}: 1' for name in mini_batch]\n")
    return folder


@pytest.fixture
def pipeline(source: Path, request: pytest.FixtureRequest) -> BatchPipeline:
    labels = Input("labels", path="labels", datastore="workspaceblobstore")
    step = ParallelRun(
        name="score-rows",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("rows", path=["rows/*.csv"], parameter="rows_data")],
        environment=Environment("scoring", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-small", "STANDARD_D2_V2", max_nodes=3),
        error_threshold=7,
        allowed_failed_percent=12.5,
        node_count=Parameter("nodes", 2),
        process_count_per_node=1,
        output=Output("predictions", "scores/{run-id}"),
        mini_batch_size=Parameter("batch", "5"),
        run_invocation_timeout=90,
        run_max_try=2,
        arguments=["--cut", Parameter("cut", 0.5), "--labels", labels],
        side_inputs=[labels],
        environment_variables={"LEVEL": "9"},
    )
    return BatchPipeline(request.node.name[:40], step, description="Scores rows", version="v7")


def test_an_unchanged_definition_is_reused_and_a_changed_one_published(
    opened: Session, pipeline: BatchPipeline, source: Path
) -> None:
    first = publishing.publish(opened, pipeline, python=sys.executable)
    assert first.created
    assert (first.pipeline.description, first.pipeline.version) == ("Scores rows", "v7")
    assert first.pipeline.url is not None
    assert first.pipeline.url.endswith(first.pipeline.id)

    again = publishing.publish(opened, pipeline, python=NO_SDK)
    assert (again.created, again.pipeline.id) == (False, first.pipeline.id)

    script = source / "score.py"
    before = script.read_text()
    script.write_text(before.replace(": 1", ": 2"))
    changed = publishing.publish(opened, pipeline, python=sys.executable)
    assert changed.created
    assert changed.pipeline.id != first.pipeline.id

    versions = []
    for text, expected in ((None, changed), (before, first)):
        if text is not None:
            script.write_text(text)
        published = publishing.publish(opened, pipeline, python=NO_SDK)
        endpoint = publishing.make_default(opened, pipeline.name, published.pipeline)
        assert publishing.is_default(endpoint, expected.pipeline.id)
        versions.append(endpoint.default_version)
    assert versions == ["0", "1"]
    kept = publishing.find_endpoint(opened, pipeline.name)
    assert kept is not None
    assert {item.version: item.pipeline_id for item in kept.pipeline_version_list} == {
        "0": changed.pipeline.id,
        "1": first.pipeline.id,
    }
    forced = publishing.publish(opened, pipeline, always=True, python=sys.executable)
    assert forced.pipeline.id not in (first.pipeline.id, changed.pipeline.id)


def test_the_graph_says_what_the_definition_says(opened: Session, pipeline: BatchPipeline) -> None:
    published = publishing.publish(opened, pipeline, python=sys.executable).pipeline
    assert published.graph_id is not None
    graph = opened.send(wire.get_graph(published.graph_id))
    (node,) = graph["ModuleNodes"]
    metadata = {item["Name"]: item["Value"] for item in node["ModuleMetadataParameters"]}
    settings = json.loads(metadata["BatchInferencingMetaData"])
    expected = {
        "Name": "score-rows",
        "ComputeName": "cpu-small",
        "EntryScript": "score.py",
        "NodeCount": 2,
        "ProcessCountPerNode": 1,
        "MiniBatchSize": "5",
        "ErrorThreshold": 7,
        "OutputAction": "append_row",
        "RunInvocationTimeout": 90,
        "RunMaxTry": 2,
        "LoggingLevel": "INFO",
    }
    assert {name: settings[name] for name in expected} == expected
    run_configuration = json.loads(node["Runconfig"])
    assert run_configuration["environmentVariables"]["LEVEL"] == "9"
    (output,) = (item for item in node["ModuleOutputSettings"] if item["Name"] == "predictions")
    assert output["DatasetOutputOptions"]["PathOnDatastore"] == "scores/{run-id}"
    declared = {
        item.name: item.default_value for item in opened.send(wire.get_graph_interface(published.graph_id)).parameters
    }
    assert {name: declared[name] for name in ("batch", "cut", "nodes")} == {"batch": "5", "cut": "0.5", "nodes": "2"}
    assert set(published.data_set_definition_value_assignments) == {"rows_data"}


def test_a_submission_carries_its_key_and_knows_its_parameters(opened: Session, pipeline: BatchPipeline) -> None:
    key = SubmissionKey.of("task", generation="1")
    arguments: dict[str, Any] = {
        "spec": pipeline.to_json(),
        "experiment_name": "submitted",
        "parameters": {"batch": "3"},
        "datasets": {},
        "data_paths": {"rows_data": {"DataStoreName": "workspaceblobstore", "RelativePath": "other/*.csv"}},
        "tags": {"team": "a", **key.tags},
        "properties": key.tags,
    }
    run_id = interpreter.run(opened, "submit", arguments, python=sys.executable)["run_id"]
    (found,) = find_runs(opened, key, "submitted", None)
    assert found.run_id == run_id
    assert key.is_on(found)
    assert found.tags["team"] == "a"
    submitted = opened.send(wire.get_pipeline_run(run_id))
    assert submitted.parameter_assignments["batch"] == "3"
    # A path for a dataset parameter travels as its literal value.
    literal = submitted.data_set_definition_value_assignments["rows_data"].literal_value
    assert literal == wire.DataPath(data_store_name="workspaceblobstore", relative_path="other/*.csv")
    assert submitted.data_path_assignments == {}
    opened.send(wire.cancel_run(run_id))

    with pytest.raises(SdkError, match=r"'batches'; the pipeline declares batch, cut, nodes, rows_data"):
        interpreter.run(opened, "submit", {**arguments, "parameters": {"batches": 3}}, python=sys.executable)


def test_two_who_publish_the_same_at_once_end_with_one(opened: Session, source: Path) -> None:
    step = ParallelRun(
        name="score-rows",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("rows", path="rows/*.csv")],
        environment=Environment("scoring", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-small", "STANDARD_D2_V2", max_nodes=3),
        error_threshold=0,
        output=Output("predictions"),
    )
    spec, both = BatchPipeline("raced", step), Barrier(2, timeout=120)

    def task(_: int) -> tuple[publishing.Published, wire.PipelineEndpoint]:
        session = Session(opened.settings)
        both.wait()  # neither finds it published: the SDK alone takes seconds to start
        published = publishing.publish(session, spec, python=sys.executable)
        both.wait()
        return published, publishing.make_default(session, "raced-live", published.pipeline)

    with ThreadPoolExecutor(2) as tasks:
        (one, live), (other, also_live) = tasks.map(task, range(2))
    assert one.pipeline.id == other.pipeline.id
    assert one.created != other.created
    left = [pipeline.id for pipeline in opened.send(wire.list_pipelines()) if pipeline.name == "raced"]
    everything = [
        pipeline.id for pipeline in opened.send(wire.list_pipelines(active_only=False)) if pipeline.name == "raced"
    ]
    assert left == [one.pipeline.id]
    assert len(everything) == 2, "they did not meet"
    assert live.id == also_live.id
    assert [item.pipeline_id for item in live.pipeline_version_list] == left


REFUSED = """
import json, os, sys
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.errors import SdkError
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

session = Session(ConnectionSettings.from_json("azureml_default", os.environ["AIRFLOW_CONN_AZUREML_DEFAULT"]))
for data in json.load(open("definitions.json")):
    try:
        publishing.publish(session, BatchPipeline.from_json(data))
    except SdkError as error:
        print("refused:", error)
"""


def test_what_the_workspace_does_not_have_is_named(
    emulator: ServedEmulator, pipeline: BatchPipeline, tmp_path: Path
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "compute_target='gpu-farm' is not in workspace": {"compute_target": "gpu-farm"},
        "Environment 'never-made' cannot be had": {"environment": Environment("never-made")},
        "attic": {"output": Output("predictions", datastore="attic")},
        "never-kept": {"inputs": [Input("rows", dataset="never-kept")]},
    }
    broken = [replace(pipeline, step=replace(pipeline.step, **change)).to_json() for change in changes.values()]
    (tmp_path / "definitions.json").write_text(json.dumps(broken))
    done = run_sdk(REFUSED, emulator.environment, cwd=tmp_path)
    messages = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    assert len(messages) == len(changes)
    for words, message in zip(changes, messages, strict=True):
        assert words in message


BUILT = """
import json, os, sys
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.build import build
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

def make(cut):
    def function(workspace):
        data = json.loads({spec!r})
        data["step"]["arguments"] = ["--cut", cut]
        return build(BatchPipeline.from_json(data), workspace)
    return function

session = Session(ConnectionSettings.from_json("azureml_default", os.environ["AIRFLOW_CONN_AZUREML_DEFAULT"]))
path, environment = list(sys.path), dict(os.environ)
done = [publishing.publish_built(session, make(cut), name="built") for cut in (1, 1, 2)]
assert (sys.path, dict(os.environ)) == (path, environment), "the process must be left as it was"
print(json.dumps([[item.pipeline.id, item.created] for item in done]))
"""


def test_what_a_function_builds_is_published_once_too(emulator: ServedEmulator, pipeline: BatchPipeline) -> None:
    script = BUILT.replace("{spec!r}", repr(json.dumps(pipeline.to_json())))
    done = run_sdk(script, emulator.environment)
    (first, again, other) = json.loads(done.stdout.splitlines()[-1])
    assert first[1]
    assert again == [first[0], False]
    assert other[1]
    assert other[0] != first[0]
