"""What OpenLineage learns of a run and of a collected table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml import pipelines
from airflow_provider_amlbatch.aml.lineage import DataName, inputs_of, of_file, outputs_of
from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue, PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.testing import ServedEmulator

PATH = DataPath(data_store_name="workspaceblobstore", relative_path="lineage/*.csv")


@pytest.fixture(scope="module")
def hook(emulator: ServedEmulator) -> AzureMLBatchHook:
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    return AzureMLBatchHook(session=session)


@pytest.fixture(scope="module")
def run_id(hook: AzureMLBatchHook, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished run of a pipeline with a fixed input and one that was handed over."""
    source = tmp_path_factory.mktemp("source")
    (source / "score.py").write_text("def run(mini_batch):\n    return [1 for _ in mini_batch]\n")
    hook.container_client("workspaceblobstore").upload_blob("lineage/1.csv", b"1", overwrite=True)
    step = ParallelRun(
        name="ones",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("files", path="usual/*.csv", parameter="folder")],
        environment=Environment("plain", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-lineage", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=0,
        process_count_per_node=1,
        output=Output("ones", "lineage-out/{run-id}"),
    )
    pipeline = publishing.publish(hook.session, BatchPipeline("lineage", step), python=sys.executable).pipeline
    info = PipelineSubmissionInfo(
        experiment_name="lineage",
        data_set_definition_value_assignments={"folder": DataSetDefinitionValue(literal_value=PATH)},
    )
    run = hook.session.send(pipelines.submit_pipeline(pipeline.id, info))
    return hook.conclude(hook.wait(run.id, poll_interval=0.3))


def test_a_run_reads_what_it_was_given_and_writes_where_its_steps_write(hook: AzureMLBatchHook, run_id: str) -> None:
    (read,), (written,) = inputs_of(hook.session, run_id), outputs_of(hook.session, run_id)
    container = hook.container_client("workspaceblobstore")
    host = container.url.partition("://")[2].partition("/")[0].replace(".blob.", ".dfs.")
    assert read == DataName(f"wasbs://{container.container_name}@{host}", "lineage/*.csv")
    assert written.namespace == read.namespace
    assert written.name.startswith("lineage-out/")
    assert list(container.list_blob_names(name_starts_with=written.name))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/data/table.parquet", DataName("file", "/data/table.parquet")),
        ("file:///data/table.parquet", DataName("file", "/data/table.parquet")),
        ("s3://bucket/a/table.parquet", DataName("s3://bucket", "a/table.parquet")),
    ],
)
def test_a_table_is_named_by_its_place(place: str, name: DataName) -> None:
    assert of_file(place) == name


def test_the_openlineage_provider_finds_both(hook: AzureMLBatchHook, run_id: str, tmp_path: Path) -> None:
    """As its extractor calls it, after the task has succeeded."""
    base = pytest.importorskip("airflow.providers.openlineage.extractors.base")
    invoked: Any = AzureMLInvokePipelineOperator(task_id="invoke", experiment_name="e", pipeline_id="p")
    collected: Any = AzureMLCollectResultsOperator(
        task_id="collect", run_id=run_id, destination=str(tmp_path / "t.csv"), columns=["one"]
    )
    task: Any = type("TaskInstance", (), {"xcom_push": lambda *_, **__: None})()
    for operator in (invoked, collected):
        operator.hook = hook
        assert base.DefaultExtractor(operator).extract_on_complete(task) is None, "nothing was done yet"
    invoked.execute_complete({}, {"run_id": run_id, "status": "Completed"})
    collected.execute({"ti": task})

    ran, told = (base.DefaultExtractor(operator).extract_on_complete(task) for operator in (invoked, collected))
    (read,), (written,) = ran.inputs, ran.outputs
    assert read.name == "lineage/*.csv"
    assert ran.run_facets["externalQuery"].externalQueryId == run_id
    assert [(one.namespace, one.name) for one in told.inputs] == [(written.namespace, written.name)]
    (table,) = told.outputs
    assert (table.namespace, table.name) == ("file", str(tmp_path / "t.csv"))
    assert table.outputFacets["outputStatistics"].rowCount == 1
