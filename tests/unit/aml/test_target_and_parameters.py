"""What is invoked and what is handed over: refused before a run exists, with a message that says what would do."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_service import SETTINGS, Asked, Reply, ScriptedService

from airflow_provider_amlbatch.aml import parameters
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.pipelines import GraphInterface, PipelineSubmissionInfo, PublishedPipeline
from airflow_provider_amlbatch.aml.target import Target, find_target

BASE = f"https://region.test/pipelines/v1.0{SETTINGS.workspace_scope}/PipelineRuns"
INFO = PipelineSubmissionInfo(experiment_name="e")


class Pipelines(ScriptedService):
    """Three published pipelines, the third disabled, and an endpoint over them."""

    def __init__(self) -> None:
        super().__init__()
        self.on("GET", r".*/Pipelines/(a|b|off)", self.pipeline)
        endpoint = {
            "Id": "ep", "Name": "nightly", "DefaultVersion": "1",
            "PipelineVersionList": [
                {"Version": str(n), "PipelineId": name} for n, name in enumerate(("a", "b", "off"))
            ],
        }  # fmt: skip
        self.on("GET", r".*/PipelineEndpoints/Id/ep", lambda _: endpoint)
        self.on("GET", r".*/PipelineEndpoints/Name", lambda asked: (
            endpoint if asked.query["Name"] == "nightly" else Reply(404, {})
        ))  # fmt: skip

    @staticmethod
    def pipeline(asked: Asked) -> Any:
        name = asked.path.rpartition("/")[2]
        return {"Id": name, "Name": f"score-{name}", "EntityStatus": "Disabled" if name == "off" else "Active"}


def find(**named: Any) -> Target:
    return find_target(Pipelines().session(), **named)


@pytest.mark.parametrize(
    ("named", "pipeline", "path"),
    [
        ({"pipeline_id": "a"}, "a", "PipelineSubmit/a"),
        ({"pipeline_endpoint": "nightly"}, "b", "PipelineEndpointSubmit/Id/ep"),
        (
            {"pipeline_endpoint": "nightly", "pipeline_endpoint_version": "0"},
            "a",
            "PipelineEndpointSubmit/Id/ep/0",
        ),
        # What a template renders in a DAG with render_template_as_native_obj=True.
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": 0}, "a", "PipelineEndpointSubmit/Id/ep/0"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": 1}, "b", "PipelineEndpointSubmit/Id/ep/1"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": None}, "b", "PipelineEndpointSubmit/Id/ep"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": ""}, "b", "PipelineEndpointSubmit/Id/ep"),
        ({"endpoint_url": f"{BASE}/PipelineSubmit/a"}, "a", "PipelineSubmit/a"),
        ({"endpoint_url": f"{BASE}/PipelineEndpointSubmit/Id/ep"}, "b", "PipelineEndpointSubmit/Id/ep"),
        ({"endpoint_url": f"{BASE}/PipelineEndpointSubmit/Id/ep/0"}, "a", "PipelineEndpointSubmit/Id/ep/0"),
        (
            {"endpoint_url": f"{BASE}/PipelineEndpointSubmit/Name?name=nightly&pipelineVersion=0"},
            "a",
            "PipelineEndpointSubmit/Id/ep/0",
        ),
        # The host is the workspace's own, whatever the URL says: no token goes anywhere else.
        ({"endpoint_url": f"{BASE}/PipelineSubmit/a".replace("region", "evil")}, "a", "PipelineSubmit/a"),
        ({"endpoint_url": f"{BASE}/PipelineSubmit/a".replace("Groups/rg", "groups/RG")}, "a", "PipelineSubmit/a"),
    ],
)  # fmt: skip
def test_ways_to_name_a_pipeline(named: dict[str, Any], pipeline: str, path: str) -> None:
    target = find(**named)
    assert target.pipeline.id == pipeline
    call = target.submission(INFO)
    assert call.path == f"/pipelines/v1.0{{workspace}}/PipelineRuns/{path}"
    assert (call.method, call.service, call.retriable) == ("POST", "pipelines", False)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"endpoint_url": "https://example.com/"}, "it must be the REST endpoint of a published pipeline"),
        ({"endpoint_url": f"{BASE}/PipelineSubmit/a".replace("/ws/", "/other/")}, "'azureml_default' is for"),
        ({"pipeline_id": "off"}, "is Disabled; enable it"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": "7"}, "no version '7'; it has: 0, 1, 2"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": 7}, "no version '7'; it has: 0, 1, 2"),
        ({"pipeline_endpoint": "nightly", "pipeline_endpoint_version": "2"}, "is Disabled"),
    ],
)
def test_what_cannot_be_invoked(named: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        find(**named)
    assert says in str(caught.value)


PIPELINE = PublishedPipeline.model_validate(
    {"Id": "a", "Name": "score", "DataSetDefinitionValueAssignments": {"batch": {"DataSetReference": {"Id": "d"}}}}
)
INTERFACE = GraphInterface.model_validate(
    {
        "Parameters": [
            {"Name": "count", "Type": "0"},
            {"Name": "threshold", "Type": "1"},
            {"Name": "strict", "Type": "2"},
            {"Name": "note", "Type": "3"},
        ],
        "DataPathParameters": [{"Name": "folder"}],
    }
)


def check(**given: Any) -> None:
    everything: dict[str, Any] = {"parameters": {}, "datasets": {}, "data_paths": {}, **given}
    everything["parameters"] = parameters.assignments(everything["parameters"])
    parameters.check(PIPELINE, INTERFACE, **everything)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"parameters": {"count": 3, "threshold": 0.5, "strict": True, "note": "x"}},
        {"parameters": {"count": "3", "threshold": "1e-3", "strict": "false"}},
        {"parameters": {"count": True}},  # the SDK declares a truth value as a whole number
        {"datasets": {"batch": "x"}, "data_paths": {"folder": "store/x"}},
    ],
)
def test_what_is_declared_passes(given: dict[str, Any]) -> None:
    check(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"parameters": {"thresold": 1}}, "parameters names 'thresold'"),
        ({"parameters": {"thresold": 1}}, "its parameters are: count, note, strict, threshold"),
        ({"parameters": {"batch": "x"}}, "its datasets and data paths are: batch, folder"),
        ({"datasets": {"count": "x"}}, "datasets names 'count'"),
        ({"data_paths": {"nope": "a/b"}}, "data_paths names 'nope'"),
        (
            {"parameters": {"count": "many"}},
            "parameters['count'] is 'many'; the pipeline declares it as a whole number",
        ),
        ({"parameters": {"count": 1.5}}, "a whole number"),
        ({"parameters": {"threshold": "high"}}, "declares it as a number"),
        ({"parameters": {"strict": "maybe"}}, "declares it as True or False"),
        ({"parameters": {"note": None}}, "parameters['note'] is None, a NoneType"),
        ({"parameters": {"note": ["a"]}}, "a pipeline parameter is a text, a number or a truth value"),
    ],
)
def test_what_is_not_is_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        check(**given)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", ["store/a/b", "/store/a/b/", {"datastore": "store", "path": "a/b"}])
def test_data_paths(value: Any) -> None:
    assert parameters.data_path("p", value).to_wire() == {"DataStoreName": "store", "RelativePath": "a/b"}


@pytest.mark.parametrize("value", ["store", "", 3, {"datastore": "store"}, {"datastore": "s", "path": "p", "x": 1}])
def test_no_data_paths(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"data_paths\['p'\]"):
        parameters.data_path("p", value)


class Datasets(ScriptedService):
    """One registered dataset of three versions."""

    def __init__(self) -> None:
        super().__init__()
        self.on("GET", r".*/datasets/query/name=patients", lambda asked: {
            "datasetId": "ds-1", "name": "patients", "latest": {"versionId": asked.query.get("versionId", "3")},
        })  # fmt: skip


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("patients", {"DataSetReference": {"Id": "ds-1", "Name": "patients", "Version": "3"}}),
        ("patients:2", {"DataSetReference": {"Id": "ds-1", "Name": "patients", "Version": "2"}}),
        ({"name": "patients", "version": 2}, {"DataSetReference": {"Id": "ds-1", "Name": "patients", "Version": "2"}}),
        ({"id": "ds-9", "version": "1"}, {"DataSetReference": {"Id": "ds-9", "Version": "1"}}),
        ({"saved_id": "s"}, {"SavedDataSetReference": {"Id": "s"}}),
    ],
)
def test_datasets(value: Any, wire: dict[str, Any]) -> None:
    assert parameters.dataset_value(Datasets().session(), "batch", value).to_wire(exclude_none=True) == wire


@pytest.mark.parametrize("value", ["", 7, {}, {"version": "1"}, {"name": "a", "id": "b"}, {"nam": "a"}])
def test_no_datasets(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"datasets\['batch'\]"):
        parameters.dataset_value(Datasets().session(), "batch", value)
