"""The definition of a pipeline: Azure's rules, JSON both ways, digest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.sdk.errors import SpecError
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "scoring"
    folder.mkdir()
    (folder / "score.py").write_text("def run(mini_batch):\n    return list(mini_batch)\n")
    return folder


@pytest.fixture
def step(source: Path) -> ParallelRun:
    labels = Input("labels", path="labels", datastore="workspaceblobstore")
    return ParallelRun(
        name="score-rows",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("rows", path=["in/*.csv"], parameter="rows_data")],
        environment=Environment("scoring", pip_packages=["scikit-learn==1.5.2"], python_version="3.10"),
        compute_target=Compute("cpu", "STANDARD_D2_V2", max_nodes=4),
        error_threshold=-1,
        node_count=Parameter("nodes", 2),
        output=Output("predictions", "scores/{run-id}"),
        mini_batch_size=Parameter("batch", "5"),
        arguments=["--model", "m", "--cut", Parameter("cut", 0.5), "--labels", labels, "--quiet", True],
        side_inputs=[labels],
        environment_variables={"LEVEL": "1"},
    )


@pytest.fixture
def pipeline(step: ParallelRun) -> BatchPipeline:
    return BatchPipeline("scoring", step, description="Scores rows")


def test_json_round_trip_restores_an_equal_definition(pipeline: BatchPipeline) -> None:
    text = json.dumps(pipeline.to_json())
    again = BatchPipeline.from_json(json.loads(text))
    assert again == pipeline
    assert again.digest == pipeline.digest
    assert again.parameters == {"rows_data": None, "nodes": 2, "batch": "5", "cut": 0.5}


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"name": "Score_Rows"}, "ParallelRun.name"),
        ({"name": "ab"}, "ParallelRun.name"),
        ({"name": "a" * 33}, "ParallelRun.name"),
        ({"source_directory": "/nowhere/at/all"}, "source_directory"),
        ({"entry_script": "missing.py"}, "entry_script"),
        ({"entry_script": "../outside.py"}, "entry_script"),
        ({"error_threshold": Parameter("threshold", 3)}, "error_threshold"),
        ({"error_threshold": True}, "error_threshold"),
        ({"error_threshold": -2}, "error_threshold"),
        ({"allowed_failed_count": -2}, "allowed_failed_count"),
        ({"allowed_failed_percent": 100.5}, "allowed_failed_percent"),
        ({"mini_batch_size": "1kbkb"}, "mini_batch_size"),
        ({"mini_batch_size": "10 files"}, "mini_batch_size"),
        ({"mini_batch_size": 0}, "mini_batch_size"),
        ({"mini_batch_size": Parameter("batch", "many")}, "batch"),
        ({"mini_batch_size": 5, "partition_keys": ["store"]}, "exclude each other"),
        ({"mini_batch_size": None, "partition_keys": []}, "partition_keys"),
        ({"mini_batch_size": None, "partition_keys": Parameter("keys", "store")}, "keys"),
        ({"node_count": 5}, "max_nodes"),
        ({"node_count": 0}, "node_count"),
        ({"process_count_per_node": 0}, "process_count_per_node"),
        ({"run_invocation_timeout": 0}, "run_invocation_timeout"),
        ({"run_max_try": 0}, "run_max_try"),
        ({"logging_level": "TRACE"}, "logging_level"),
        ({"append_row_file_name": "out/rows.txt"}, "append_row_file_name"),
        ({"output": None}, "output"),
        ({"output_action": "overwrite"}, "output_action"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [Input("a", path="a"), Input("b", dataset="b", kind="tabular")]}, "one kind"),
        ({"inputs": [Input("labels", path="a")]}, "labels"),
        ({"side_inputs": []}, "side_inputs"),
        ({"arguments": ["value"]}, "arguments"),
        ({"arguments": ["--output=here"]}, "--output=here"),
        ({"arguments": ["--x", 1, "--mini_batch_size", 2]}, "--mini_batch_size"),
        ({"environment": "scoring"}, "environment"),
        ({"compute_target": ""}, "compute_target"),
        ({"environment_variables": {"N": 1}}, "environment_variables"),
    ],
)
def test_a_broken_rule_is_refused_and_the_message_names_the_argument(
    step: ParallelRun, change: dict[str, Any], argument: str
) -> None:
    with pytest.raises(SpecError) as caught:
        replace(step, **change)
    assert argument in str(caught.value)


def test_a_summary_needs_no_output_and_ranks_need_no_input(step: ParallelRun) -> None:
    summary: dict[str, Any] = {"output": None, "output_action": "Summary_Only"}
    assert replace(step, **summary).output_action == "summary_only"
    assert replace(step, inputs=[], arguments=["--rank_mini_batch_count", 4]).inputs == ()


@pytest.mark.parametrize(
    ("size", "kind", "items"),
    [
        (None, "file", 10),
        (None, "tabular", 1048576),
        ("10", "file", 10),
        ("2KB", "tabular", 2048),
        ("1gb", "tabular", 1073741824),
    ],
)
def test_mini_batch_size_counts_in_powers_of_1024(step: ParallelRun, size: str | None, kind: Any, items: int) -> None:
    assert replace(step, inputs=[Input("rows", path="x", kind=kind)], mini_batch_size=size).mini_batch_items == items


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Input("x"), "dataset= and path="),
        (lambda: Input("x", dataset="d", path="p"), "exactly one"),
        (lambda: Input("1x", path="p"), "Input.name"),
        (lambda: Input("x", path="p", version=2), "Input.version"),
        (lambda: Input("x", dataset="d", datastore="s"), "Input.datastore"),
        (lambda: Environment("e", pip_packages=["a"], interpreter="/usr/bin/python3"), "2 ways"),
        (lambda: Environment("e", pip_packages="numpy"), "pip_packages"),
        (lambda: Environment("e", pip_packages=["a"], version="3"), "Environment.version"),
        (lambda: Environment("AzureML-mine", pip_packages=["a"]), "reserved"),
        (lambda: Environment("e", conda_file="/no/such.yml"), "conda_file"),
        (lambda: Compute("c", "S", max_nodes=1, min_nodes=2), "min_nodes"),
        (lambda: Parameter("p", None), "Parameter.default"),  # type: ignore[arg-type]
        (lambda: Parameter("p", "a\nb"), "single line"),
    ],
)
def test_parts_are_checked_on_their_own(build: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        build()


def test_one_name_with_two_defaults_is_refused(step: ParallelRun) -> None:
    with pytest.raises(SpecError, match="two defaults, 2 and 3"):
        BatchPipeline("scoring", replace(step, run_max_try=Parameter("nodes", 3)))


def test_json_with_an_unknown_or_missing_key_is_refused(pipeline: BatchPipeline) -> None:
    data = pipeline.to_json()
    data["step"]["nodecount"] = 2
    with pytest.raises(SpecError, match="has no 'nodecount'"):
        BatchPipeline.from_json(data)
    del data["step"]["nodecount"], data["step"]["environment"]
    with pytest.raises(SpecError, match="needs 'environment'"):
        BatchPipeline.from_json(data)


def test_digest_follows_content_and_ignores_place_caches_and_ignored_files(
    pipeline: BatchPipeline, source: Path, tmp_path: Path
) -> None:
    before = pipeline.digest
    moved = source.rename(tmp_path / "elsewhere")
    (moved / "__pycache__").mkdir()
    (moved / "__pycache__" / "score.cpython-311.pyc").write_bytes(b"x")
    pipeline = replace(pipeline, step=replace(pipeline.step, source_directory=moved))
    assert pipeline.digest == before

    (moved / ".amlignore").write_text("*.log\n/local/\n!keep.log\n")
    (moved / ".gitignore").write_text("score.py\n")
    with_rules = pipeline.digest
    assert with_rules != before  # the ignore file is part of the snapshot
    (moved / "run.log").write_text("noise")
    (moved / "local").mkdir()
    (moved / "local" / "data.bin").write_text("noise")
    assert pipeline.digest == with_rules

    (moved / "keep.log").write_text("kept")
    with_kept = pipeline.digest
    assert with_kept != with_rules
    (moved / "score.py").write_text("def run(mini_batch):\n    return []\n")  # .gitignore counts for nothing here
    assert pipeline.digest != with_kept


def test_digest_follows_the_definition(pipeline: BatchPipeline) -> None:
    changed = replace(pipeline, step=replace(pipeline.step, run_max_try=4))
    assert changed.digest != pipeline.digest
