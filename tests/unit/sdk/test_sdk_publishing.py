"""Reuse by digest, and the switch of an endpoint, against a session that answers from a dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import ConflictError, NotFoundError
from airflow_provider_amlbatch.aml.pipelines import PublishedPipeline
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import pipelines, publishing
from airflow_provider_amlbatch.sdk.errors import SdkError


class Service:
    """Answers calls as the pipelines service would, and keeps what was written."""

    def __init__(self, pipelines: list[dict[str, Any]], endpoint: dict[str, Any] | None = None) -> None:
        self.pipelines = pipelines
        self.endpoint = endpoint
        self.written: list[tuple[str, dict[str, Any]]] = []

    def send(self, call: Call[Any]) -> Any:
        what = call.path.split("/pipelines/v1.0{workspace}", 1)[1]
        if call.method != "GET":
            self.written.append((f"{call.method} {what}", call.body))
            self.endpoint = {"Id": "e1", **call.body}
            return call.read(self.endpoint)
        if what == "/Pipelines":
            assert call.params == {"activeOnly": True}
            return call.read(self.pipelines)
        if self.endpoint is None:
            raise NotFoundError("no such endpoint", status=404)
        return call.read(self.endpoint)


def session(*entities: dict[str, Any], endpoint: dict[str, Any] | None = None) -> tuple[Session, Service]:
    service = Service(list(entities), endpoint)
    return cast(Session, service), service


def entity(pipeline_id: str, digest: str, day: int, name: str = "score") -> dict[str, Any]:
    return {
        "Id": pipeline_id,
        "Name": name,
        "Properties": {"amlbatch.digest": digest},
        "CreatedDate": f"2026-11-{day:02}T00:00:00.0000000Z",
    }


def test_the_first_pipeline_with_the_same_name_and_digest_is_found() -> None:
    found, _ = session(
        entity("old", "d1", 1), entity("new", "d1", 3), entity("other", "d2", 4), entity("alien", "d1", 5, "train")
    )
    same = publishing.find(found, "score", "d1")
    assert same is not None
    assert same.id == "old"
    assert publishing.find(found, "score", "d3") is None


ENDPOINT = {
    "Id": "e1",
    "Name": "live",
    "DefaultVersion": "3",
    "PipelineVersionList": [{"Version": "0", "PipelineId": "p0"}, {"Version": "3", "PipelineId": "p3"}],
    "Etag": "kept",
    "SomethingNew": 1,
}


def test_a_missing_endpoint_is_created_with_the_pipeline_as_its_version() -> None:
    opened, service = session()
    publishing.make_default(opened, "live", PublishedPipeline(id="p1"))
    ((what, body),) = service.written
    assert what == "POST /PipelineEndpoints/Create"
    assert (body["Name"], body["PipelineId"]) == ("live", "p1")
    assert body["Description"]  # the service wants one


@pytest.mark.parametrize(
    ("pipeline_id", "version", "versions"),
    [("p9", "4", ["0", "3", "4"]), ("p0", "0", ["0", "3"])],
    ids=["a new pipeline is added after the highest version", "a pipeline that is listed is only made default"],
)
def test_an_endpoint_is_switched_and_keeps_the_rest(pipeline_id: str, version: str, versions: list[str]) -> None:
    opened, service = session(endpoint=ENDPOINT)
    endpoint = publishing.make_default(opened, "live", PublishedPipeline(id=pipeline_id), sleep=lambda _: None)
    assert publishing.is_default(endpoint, pipeline_id)
    assert publishing.version_of(endpoint, pipeline_id) == version
    ((what, body),) = service.written
    assert what == "PUT /PipelineEndpoints/e1"
    assert body["DefaultVersion"] == version
    assert [item["Version"] for item in body["PipelineVersionList"]] == versions
    assert (body["Etag"], body["SomethingNew"]) == ("kept", 1)


def test_nothing_is_written_when_the_pipeline_is_the_default_already() -> None:
    opened, service = session(endpoint=ENDPOINT)
    publishing.make_default(opened, "live", PublishedPipeline(id="p3"))
    assert service.written == []


def replacing(service: Service, *pipelines: str) -> Callable[[float], None]:
    """Another task in the time between an update and the look at it: it adds its pipeline to what it had read before.

    :param pipelines: one pipeline at each look; nothing happens at the looks after the last.
    """
    read, rest = dict(ENDPOINT), list(pipelines)

    def pause(seconds: float) -> None:
        assert seconds == publishing.SETTLE_TIME
        if rest:
            versions = [*ENDPOINT["PipelineVersionList"], {"Version": "4", "PipelineId": rest.pop(0)}]
            service.endpoint = {**read, "DefaultVersion": "4", "PipelineVersionList": versions}

    return pause


def test_a_version_that_somebody_else_has_dropped_at_the_same_time_is_added_again() -> None:
    opened, service = session(endpoint=ENDPOINT)
    endpoint = publishing.make_default(opened, "live", PublishedPipeline(id="a"), sleep=replacing(service, "b"))
    assert service.endpoint is not None
    kept = {item["Version"]: item["PipelineId"] for item in service.endpoint["PipelineVersionList"]}
    assert kept == {"0": "p0", "3": "p3", "4": "b", "5": "a"}
    assert service.endpoint["DefaultVersion"] == publishing.version_of(endpoint, "a") == "5"


def test_a_default_that_somebody_else_has_set_since_stays() -> None:
    opened, service = session(endpoint=ENDPOINT)

    def other(_: float) -> None:
        publishing.make_default(opened, "live", PublishedPipeline(id="b"), sleep=lambda _: None)

    endpoint = publishing.make_default(opened, "live", PublishedPipeline(id="a"), sleep=other)
    assert (publishing.version_of(endpoint, "a"), publishing.version_of(endpoint, "b")) == ("4", "5")
    assert endpoint.default_version == "5"
    assert len(service.written) == 2


def test_an_endpoint_that_others_replace_each_time_is_a_conflict() -> None:
    opened, service = session(endpoint=ENDPOINT)
    others = replacing(service, *(f"b{number}" for number in range(publishing.UPDATES)))
    with pytest.raises(ConflictError, match=r"'live' lacks pipeline a after 5 updates"):
        publishing.make_default(opened, "live", PublishedPipeline(id="a"), sleep=others)


@pytest.mark.parametrize(
    ("value", "default", "typed"),
    [("5", 2, 5), (5, "2", "5"), ("0.5", 1.0, 0.5), (1, 1.0, 1.0), ("False", True, False), (True, "x", "True")],
)
def test_a_submitted_value_takes_the_type_of_the_default(value: Any, default: Any, typed: Any) -> None:
    converted = pipelines._typed("p", value, default)
    assert (converted, type(converted)) == (typed, type(typed))


@pytest.mark.parametrize(("value", "default"), [("many", 2), ("2.5", 2), ("yes", True), ("x", object())])
def test_a_submitted_value_of_another_type_is_refused(value: Any, default: Any) -> None:
    with pytest.raises(SdkError, match="'p'"):
        pipelines._typed("p", value, default)
