"""What the operators on this room refuse while a DAG is parsed, and what they show of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.operators.models import fetched
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator, AzureMLSubmitPipelineOperator
from airflow_provider_amlbatch.sdk.models import digest_of_path
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Environment, Input, Output, ParallelRun


@pytest.fixture
def pipeline(tmp_path: Path) -> BatchPipeline:
    (tmp_path / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    step = ParallelRun(
        name="score",
        source_directory=tmp_path,
        entry_script="score.py",
        inputs=[Input("rows", path="rows", parameter="rows_data")],
        environment=Environment("env"),
        compute_target="cpu",
        error_threshold=0,
        output=Output("scores"),
    )
    return BatchPipeline("scoring", step)


def test_a_model_behind_a_url_is_fetched_under_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "weights").write_bytes(b"12")
    for url in (folder.as_uri() + "/", (folder / "part" / "weights").as_uri()):
        with fetched(url, None) as path:
            assert tmp_path not in path.parents
            original = folder if url.endswith("/") else folder / "part" / "weights"
            assert digest_of_path(path) == digest_of_path(original)
        assert not path.exists()
    with pytest.raises(ArgumentError, match="does not exist"), fetched((folder / "none").as_uri(), None):
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "other"}, "name='other'"),
        ({"description": "d"}, "description='d'"),
        ({"pipeline": "scoring"}, "pipeline='scoring'"),
        ({"pipeline": lambda workspace: None}, "name=None"),
        ({"pipeline": lambda workspace: None, "name": "n", "sdk_python": "/usr/bin/python3"}, "sdk_python="),
        ({"validate_with": {"datasets": {"rows_data": "small"}}}, "without endpoint="),
        ({"validate_with": {"rows_data": "small"}, "endpoint": "live"}, "'rows_data': 'small'; give mappings under"),
        (
            {"validate_with": {"datasets": {"row_data": "small"}}, "endpoint": "live"},
            r"datasets names 'row_data'.* its datasets are: rows_data",
        ),
        (
            {"validate_with": {"parameters": {"rows_data": "small"}}, "endpoint": "live"},
            r"parameters names 'rows_data'.* its parameters are: none; its datasets are: rows_data",
        ),
    ],
)
def test_what_could_never_run_is_refused_at_once(
    pipeline: BatchPipeline, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        AzureMLPublishPipelineOperator(task_id="publish", **{"pipeline": pipeline, **arguments})


@pytest.mark.parametrize("argument", ["parameters", "datasets", "data_paths"])
def test_a_submission_with_an_unknown_parameter_is_refused_at_once(pipeline: BatchPipeline, argument: str) -> None:
    given: dict[str, Any] = {argument: {"batch": 5}}
    with pytest.raises(ArgumentError, match=rf"{argument} names 'batch'.* its parameters are: none"):
        AzureMLSubmitPipelineOperator(task_id="submit", experiment_name="e", pipeline=pipeline, **given)


def test_the_json_form_is_taken_and_templated(pipeline: BatchPipeline) -> None:
    data = pipeline.to_json()
    data["step"]["compute_target"] = "{{ var_of_cluster }}"
    operator = AzureMLPublishPipelineOperator(task_id="publish", pipeline=json.loads(json.dumps(data)))
    operator.render_template_fields({"var_of_cluster": "gpu"})  # type: ignore[typeddict-unknown-key]
    assert isinstance(operator.pipeline, dict)
    assert BatchPipeline.from_json(operator.pipeline).step.compute_target == "gpu"
