"""Published pipelines and pipeline endpoints, judged by the SDK and by bare REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
dataset = make_files("endpoint-data", 4)
write("src/score.py", DOUBLE)
write("other/score.py", DOUBLE.replace("2 *", "3 *"))

def publish(name, source):
    step = parallel("score", source, dataset, arguments=["--label", PipelineParameter("label", "none")])
    return Pipeline(ws, [step]).publish(name, description=name, version="7")

double, triple = publish("double", "src"), publish("triple", "other")
endpoint = PipelineEndpoint.publish(ws, name="nightly", pipeline=double, description="every night")
endpoint.add(triple)
before = [entry.version for entry in endpoint.list_versions()]
by_default = endpoint.submit("endpoint-runs", pipeline_parameters={"label": "night"})
by_version = endpoint.submit("endpoint-runs", pipeline_version="1")
endpoint.set_default_version("1")

header = ws._auth.get_authentication_header()
named = endpoint.endpoint.rpartition("/Id/")[0] + "/Name"
def invoke(url, **query):
    return requests.post(url, params=query, headers=header, json={"ExperimentName": "endpoint-runs"})

by_rest = PipelineRun(ws.experiments["endpoint-runs"], invoke(endpoint.endpoint).json()["Id"])
by_name = PipelineRun(ws.experiments["endpoint-runs"], invoke(named, name="nightly", pipelineVersion="0").json()["Id"])
runs = dict(by_default=by_default, by_version=by_version, by_rest=by_rest, by_name=by_name)
for run in runs.values():
    run.wait_for_completion(show_output=False)

found = PipelineEndpoint.get(ws, name="nightly")
report(
    versions=before,
    scores={name: lines(run.find_step_run("score")[0], name) for name, run in runs.items()},
    label=by_default.get_properties()["azureml.parameters"],
    found=[found.id == endpoint.id, found.default_version, found.description, found.status],
    by_id=PipelineEndpoint.get(ws, id=endpoint.id).name,
    listed=[entry.name for entry in PipelineEndpoint.list(ws)],
    pipelines=[entry.name for entry in endpoint.list_pipelines()],
    pipeline=[double.name, double.version, double.description, double.status],
    all_pipelines=sorted(entry.name for entry in PublishedPipeline.list(ws) if entry.name in ("double", "triple")),
    runs_of_double=sorted(run.id for run in PipelineRun.get_pipeline_runs(ws, double.id)),
    ids={name: run.id for name, run in runs.items()},
    again=failure(PipelineEndpoint.publish, ws, name="nightly", pipeline=double, description="twice"),
    no_version=invoke(endpoint.endpoint + "/9").json()["Error"],
    no_name=invoke(named, name="nowhere").status_code,
)
endpoint.disable()
double.disable()
report(
    disabled_status=[PipelineEndpoint.get(ws, name="nightly").status, PublishedPipeline.get(ws, double.id).status],
    disabled_endpoint=invoke(endpoint.endpoint).json()["Error"]["Message"],
    disabled_pipeline=invoke(double.endpoint).json()["Error"]["Message"],
    disabled_submit=failure(double.submit, ws, "endpoint-runs"),
    active=[entry.name for entry in PublishedPipeline.list(ws) if entry.name in ("double", "triple")],
    hidden=[entry.name for entry in PublishedPipeline.list(ws, active_only=False) if entry.name == "double"],
)
double.enable()
report(enabled=[PublishedPipeline.get(ws, double.id).status, double.submit(ws, "endpoint-runs").id])
"""


@pytest.fixture(scope="module")
def told(pipeline_sdk: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return pipeline_sdk(SCRIPT)


def test_an_endpoint_runs_its_default_version_or_the_one_that_is_named(told: dict[str, Any]) -> None:
    twice = [f"{number:03}.csv: {2 * number}" for number in range(4)]
    thrice = [f"{number:03}.csv: {3 * number}" for number in range(4)]
    assert told["versions"] == ["0", "1"]
    assert told["scores"] == {"by_default": twice, "by_version": thrice, "by_rest": thrice, "by_name": twice}
    assert told["label"] == '{"label": "night"}'


def test_endpoints_and_pipelines_are_found_and_listed(told: dict[str, Any]) -> None:
    assert told["found"] == [True, "1", "every night", "Active"]
    assert told["by_id"] == "nightly"
    assert told["listed"] == ["nightly"]
    assert told["pipelines"] == ["double", "triple"]
    assert told["pipeline"] == ["double", "7", "double", "Active"]
    assert told["all_pipelines"] == ["double", "triple"]
    assert told["runs_of_double"] == sorted([told["ids"]["by_default"], told["ids"]["by_name"]])


def test_a_wrong_name_or_version_is_refused(told: dict[str, Any]) -> None:
    assert "already" in told["again"]
    assert told["no_version"]["Code"] == "PipelineVersionNotFound"
    assert told["no_name"] == 404


def test_what_is_disabled_does_not_run_and_is_not_listed(told: dict[str, Any]) -> None:
    assert told["disabled_status"] == ["Disabled", "Disabled"]
    assert told["disabled_endpoint"] == "PipelineEndpoint is disabled"
    assert told["disabled_pipeline"] == "Pipeline is disabled"
    assert "Pipeline is disabled" in told["disabled_submit"]
    assert told["active"] == ["triple"]
    assert told["hidden"] == ["double"]
    assert told["enabled"][0] == "Active"


def test_an_endpoint_cannot_be_given_a_default_that_it_does_not_have(
    emulator: ServedEmulator, told: dict[str, Any]
) -> None:
    base = f"{emulator.url}/pipelines/v1.0{emulator.scope}/PipelineEndpoints"
    session = emulator.session()
    entity = session.get(f"{base}/Name", params={"Name": "nightly"}).json()
    answer = session.put(f"{base}/{entity['Id']}", json=entity | {"DefaultVersion": "5"})
    assert answer.status_code == 400
    assert "'5'" in answer.json()["Error"]["Message"]


def test_an_endpoint_cannot_take_the_name_of_another(emulator: ServedEmulator, told: dict[str, Any]) -> None:
    base = f"{emulator.url}/pipelines/v1.0{emulator.scope}/PipelineEndpoints"
    session = emulator.session()
    first = session.get(f"{base}/Name", params={"Name": "nightly"}).json()
    pipeline_id = first["PipelineVersionList"][0]["PipelineId"]
    second = session.post(f"{base}/Create", json={"Name": "second", "PipelineId": pipeline_id}).json()
    assert session.put(f"{base}/{second['Id']}", json=second | {"Name": "nightly"}).status_code == 409
    assert session.put(f"{base}/{second['Id']}", json=second | {"Name": "renamed"}).status_code == 200
    assert session.get(f"{base}/Name", params={"Name": "nightly"}).json()["Id"] == first["Id"]
