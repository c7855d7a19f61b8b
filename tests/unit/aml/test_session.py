"""The session: who gets the token, what is repeated and how long it waits, how errors read."""

from __future__ import annotations

import json

import pytest
import requests
from scripted_service import SETTINGS, Reply, ScriptedService, in_turn

from airflow_provider_amlbatch.aml import errors, history, pipelines
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo

RUN = "/history/v1.0{workspace}/runs/r1"
DONE = {"runId": "r1", "status": "Completed"}
SUBMIT = r"/pipelines/v1.0\{workspace\}/PipelineRuns/PipelineSubmit/p1"


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


def fail(status: int, code: str = "Bad", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"code": code, "message": "no"}}, named)


def test_token_goes_to_services_and_not_to_the_discovery_page(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", lambda _: DONE)
    session = service.session()
    assert session.send(history.get_run("r1")).run_id == "r1"
    session.send(history.get_run("r1"))
    arm, discovery, first, second = service.asked
    assert (arm.url.split("?")[0], discovery.url) == (
        f"https://management.azure.com{SETTINGS.workspace_scope}",
        "https://region.test/discovery",
    )
    assert first.path == second.path == RUN
    assert "Authorization" not in discovery.headers
    assert {asked.headers["Authorization"] for asked in (arm, first, second)} == {"Bearer token-1"}


def test_refused_token_is_renewed_once(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", in_turn(fail(401), DONE))
    service.session().send(history.get_run("r1"))
    assert [a.headers["Authorization"] for a in service.calls("GET", r".*/runs/r1")] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_refused_fresh_token_is_an_error(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", lambda _: fail(401, "InvalidOrExpiredToken"))
    with pytest.raises(errors.AuthenticationError) as caught:
        service.session().send(history.get_run("r1"))
    assert (caught.value.status, caught.value.code) == (401, "InvalidOrExpiredToken")
    assert len(service.calls("GET", r".*/runs/r1")) == 2


def test_token_is_renewed_while_it_is_still_good(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", lambda _: DONE)
    session = service.session()
    for passed in (0.0, 3200.0, 150.0):  # an hour's token is given up five minutes before its end
        service.now += passed
        session.send(history.get_run("r1"))
    tokens = [asked.headers["Authorization"] for asked in service.calls("GET", r".*/runs/r1")]
    assert tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    "trouble",
    [fail(429), fail(500), fail(503), fail(408), requests.ConnectionError("reset"), Reply(text='{"runId": "r')],
    ids=["429", "500", "503", "408", "reset", "truncated"],
)
def test_a_question_is_asked_again(service: ScriptedService, trouble: object) -> None:
    service.on("GET", r".*/runs/r1", in_turn(trouble, trouble, DONE))
    assert service.session().send(history.get_run("r1")).status == "Completed"
    assert service.slept == [0.5, 1.0]


def test_retry_after_is_obeyed(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", in_turn(fail(429, retry_after="17"), fail(503, retry_after_ms="4500"), DONE))
    service.session().send(history.get_run("r1"))
    assert service.slept == [17.0, 4.5]


def test_patience_ends(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", lambda _: fail(503))
    with pytest.raises(errors.ServiceUnavailableError):
        service.session().send(history.get_run("r1"))
    assert service.slept == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_wait_longer_than_the_patience_is_not_begun(service: ScriptedService) -> None:
    service.on("GET", r".*/runs/r1", lambda _: fail(429, retry_after="3600"))
    with pytest.raises(errors.ThrottledError) as caught:
        service.session().send(history.get_run("r1"))
    assert (caught.value.retry_after, service.slept) == (3600.0, [])


@pytest.mark.parametrize("trouble", [fail(500), requests.ConnectionError("reset"), Reply(text="{")])
def test_a_submission_that_may_have_arrived_is_not_repeated(service: ScriptedService, trouble: object) -> None:
    service.on("POST", SUBMIT, in_turn(trouble, {"Id": "r1"}))
    with pytest.raises(errors.AzureMLBatchError):
        service.session().send(pipelines.submit_pipeline("p1", PipelineSubmissionInfo(experiment_name="e")))
    assert len(service.calls("POST", SUBMIT)) == 1


def test_a_throttled_submission_is_repeated(service: ScriptedService) -> None:
    service.on("POST", SUBMIT, in_turn(fail(429), {"Id": "r1"}))
    sent = pipelines.submit_pipeline("p1", PipelineSubmissionInfo(experiment_name="e"))
    assert service.session().send(sent).id == "r1"


def test_pages_are_followed_to_the_end(service: ScriptedService) -> None:
    pages = {
        None: {"value": [{"runId": "a"}], "continuationToken": "2"},
        "2": {"value": [{"runId": "b"}], "continuationToken": None},
    }
    service.on("GET", r".*/runs/r1/children", lambda asked: pages[asked.query.get("$continuationToken")])
    found = service.session().pages(history.list_children("r1"))
    assert [run.run_id for run in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.ValidationError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (405, errors.ValidationError),
        (409, errors.ConflictError),
        (412, errors.ConflictError),
        (429, errors.ThrottledError),
        (502, errors.ServiceUnavailableError),
    ],
)
@pytest.mark.parametrize("envelope", ["camel", "pascal"])
def test_both_envelopes_are_read(status: int, kind: type[errors.ServiceError], envelope: str) -> None:
    body = (
        {"error": {"code": "C", "message": "M"}, "correlation": {"operation": "op-1"}}
        if envelope == "camel"
        else {"Error": {"Code": "C", "Message": "M"}, "Correlation": {"RequestId": "op-1"}}
    )
    response = requests.Response()
    response.status_code, response._content = status, json.dumps(body).encode()
    error = errors.from_response(response, asked="GET /x")
    assert type(error) is kind
    assert (error.status, error.code, error.correlation_id) == (status, "C", "op-1")
    assert "GET /x" in str(error)
    assert "M" in str(error)


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abc.def-ghi_jkl",
        "https://a.blob.core.windows.net/c/b?sv=2020&sig=abc.def-ghi_jkl&se=1",
        "client_secret=abc.def-ghi_jkl&x=1",
        '{"password": "abc.def-ghi_jkl"}',
        "AccountKey=abc.def-ghi_jkl;",
        "token eyJhbGciOi.abc.def-ghi_jkl ends",
    ],
)
def test_no_secret_survives_in_an_error(secret: str) -> None:
    response = requests.Response()
    response.status_code, response._content = 400, secret.encode()
    text = str(errors.from_response(response, asked="GET /x"))
    assert "abc.def-ghi_jkl" not in text
    assert "***" in text
