"""A folder in the place of a dataset parameter's default: by both forms that the wire has for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from airflow_provider_amlbatch.aml import history, parameters, pipelines
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.pipelines import GraphInterface, PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = "from pathlib import Path\n\ndef run(mini_batch):\n    return [Path(path).name for path in mini_batch]\n"
PLACE = parameters.data_path("folder", "workspaceblobstore/chosen")


@pytest.fixture(scope="module")
def hook(emulator: ServedEmulator) -> AzureMLBatchHook:
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    hook = AzureMLBatchHook(session=session)
    container = hook.container_client("workspaceblobstore")
    for name in ("usual/usual.csv", "chosen/chosen.csv"):
        container.upload_blob(name, b"1", overwrite=True)
    return hook


@pytest.fixture(scope="module")
def pipeline_id(hook: AzureMLBatchHook, tmp_path_factory: pytest.TempPathFactory) -> str:
    source = tmp_path_factory.mktemp("source")
    (source / "score.py").write_text(SCRIPT)
    step = ParallelRun(
        name="names",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("files", path="usual/*.csv", parameter="folder")],
        environment=Environment("plain", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-paths", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=0,
        process_count_per_node=1,
        output=Output("names"),
    )
    return publishing.publish(hook.session, BatchPipeline("names-of-files", step), python=sys.executable).pipeline.id


def names(hook: AzureMLBatchHook, pipeline_id: str, tmp_path: Path, **given: object) -> list[str]:
    info = PipelineSubmissionInfo.model_validate({"experiment_name": "paths", **given})
    run = hook.session.send(pipelines.submit_pipeline(pipeline_id, info))
    hook.wait(run.id, poll_interval=0.3)
    outcome = RunOutcome.of(hook.session.send(history.get_run(run.id)))
    assert outcome is not None
    assert outcome.succeeded
    hook.collect(run.id, tmp_path / "names.csv")
    return (tmp_path / "names.csv").read_text().split()[1:]


def test_a_data_path_takes_the_place_of_the_default(hook, pipeline_id, tmp_path):
    assert "usual.csv" in str(names(hook, pipeline_id, tmp_path))
    assert "chosen.csv" in str(names(hook, pipeline_id, tmp_path, data_path_assignments={"folder": PLACE}))


def test_a_path_for_a_dataset_parameter_travels_as_its_literal_value(hook, pipeline_id, tmp_path):
    interface = hook.declared_interface(hook.get_pipeline(pipeline_id))
    paths, literals = parameters.split_paths(interface, {"folder": PLACE})

    assert paths == {}
    scored = names(hook, pipeline_id, tmp_path, data_set_definition_value_assignments=literals)
    assert "chosen.csv" in str(scored)


def test_a_path_for_a_path_parameter_travels_as_a_path():
    interface = GraphInterface(data_path_parameters=[{"Name": "folder"}])
    assert parameters.split_paths(interface, {"folder": PLACE}) == ({"folder": PLACE}, {})
