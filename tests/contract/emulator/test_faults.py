"""The control plane, and what armed faults do to a client on the other end of a TLS connection."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner

from airflow_provider_amlbatch.cli import main
from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob
from airflow_provider_amlbatch.testing import ServedEmulator, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEmulator]:
    """An emulator of this module's own: its clock, counts and content are changed."""
    with serving(tmp_path_factory.mktemp("faults")) as served:
        yield served


@pytest.fixture
def client(served: ServedEmulator) -> Iterator[requests.Session]:
    """A signed-in client, and nothing armed or counted."""
    served.services.faults.clear()
    served.services.requests.clear()
    with served.session() as session:
        yield session


def control(served: ServedEmulator, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    """Call the control plane without a token."""
    return requests.request(
        method, f"{served.url}/_emulator/{path}", json=body, headers=headers, verify=served.ca_bundle, timeout=30
    )


def arm(served: ServedEmulator, operation: str, kind: str, **more: Any) -> None:
    """Arm a fault, and let nothing that came before count."""
    assert control(served, "POST", "faults", {"operation": operation, "kind": kind, **more}).status_code == 201


def workspace(served: ServedEmulator) -> str:
    """The address of the workspace itself: the SDK's first question."""
    return served.url + served.scope


def models(served: ServedEmulator) -> str:
    """The address at which assets are made: a request that does something."""
    return f"{served.url}/modelmanagement/v1.0{served.scope}/assets"


def assets(served: ServedEmulator) -> int:
    """How many assets there are, asked of the service itself."""
    return len(served.services.models.list_assets(None, None).value)


def test_a_status_with_retry_after_comes_so_often_as_said_and_then_the_answer(
    served: ServedEmulator, client: requests.Session
) -> None:
    arm(served, "arm.get_workspace", "status", status=429, retryAfter=3, times=2)
    answers = [client.get(workspace(served)) for _ in range(3)]
    assert [(a.status_code, a.headers.get("Retry-After")) for a in answers] == [(429, "3"), (429, "3"), (200, None)]
    assert answers[0].json()["error"]["code"] == "TooManyRequests"
    report = control(served, "GET", "faults").json()
    assert report["allConsumed"]
    assert [(f["consumed"], f["fault"]["times"]) for f in report["faults"]] == [(2, 2)]
    counts = control(served, "GET", "requests").json()
    assert counts["operations"]["arm.get_workspace"] == {"count": 3, "answers": {"200": 1, "429": 2}}


@pytest.mark.parametrize("status", [500, 503])
def test_a_refused_request_has_done_nothing(served: ServedEmulator, client: requests.Session, status: int) -> None:
    before = assets(served)
    arm(served, "models.create_asset", "status", status=status)
    assert client.post(models(served), json={"name": "a"}).status_code == status
    assert assets(served) == before


@pytest.mark.parametrize(("kind", "done"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_connection_before_and_after_the_work(
    served: ServedEmulator, client: requests.Session, kind: str, done: int
) -> None:
    before = assets(served)
    arm(served, "POST /assets$", kind)
    with pytest.raises(requests.ConnectionError):
        client.post(models(served), json={"name": "a"})
    assert assets(served) == before + done
    assert client.post(models(served), json={"name": "a"}).ok
    assert assets(served) == before + done + 1
    counts = control(served, "GET", "requests").json()
    assert counts["operations"]["models.create_asset"] == {"count": 2, "answers": {"200": 1, "reset": 1}}


def test_a_reset_is_a_reset_and_not_a_farewell(served: ServedEmulator, client: requests.Session) -> None:
    arm(served, "discovery.get_services", "reset_before")
    # TLS by hand: ssl.SSLSocket reports an end and a reset alike.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=served.ca_bundle).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0), timeout=20) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(1 << 16))
        tls.write(b"GET /discovery HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.sendall(outgoing.read())
        with pytest.raises(ConnectionResetError):
            _read_to_the_end(connection)


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass  # session tickets


def test_a_truncated_answer_promises_more_than_it_brings(served: ServedEmulator, client: requests.Session) -> None:
    whole = client.get(workspace(served)).content
    arm(served, "arm.get_workspace", "truncate")
    address = urlsplit(served.url)
    connection = http.client.HTTPSConnection(
        "localhost", address.port, context=ssl.create_default_context(cafile=served.ca_bundle), timeout=20
    )
    connection.request("GET", served.scope, headers={"Authorization": f"Bearer {served.token()}"})
    answer = connection.getresponse()
    assert int(answer.headers["Content-Length"]) == len(whole)
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert cut.value.partial == whole[: len(whole) // 2]
    arm(served, "arm.get_workspace", "truncate")
    with pytest.raises(requests.exceptions.RequestException):
        _ = client.get(workspace(served)).content


def test_a_slow_answer_arrives_whole_and_late(served: ServedEmulator, client: requests.Session) -> None:
    whole = client.get(workspace(served)).json()
    arm(served, "arm.get_workspace", "slow", seconds=1)
    began = time.monotonic()
    assert client.get(workspace(served)).json() == whole
    assert time.monotonic() - began >= 0.9
    arm(served, "arm.get_workspace", "slow", seconds=30)
    with pytest.raises(requests.exceptions.RequestException):
        client.get(workspace(served), timeout=0.5)
    # The abandoned request holds nobody up.
    assert client.get(workspace(served), timeout=10).ok


def test_an_expired_token_is_refused_in_the_service_s_own_words(
    served: ServedEmulator, client: requests.Session
) -> None:
    arm(served, "arm.get_workspace", "expire_token")
    refused = client.get(workspace(served))
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
    assert "invalid_token" in refused.headers["WWW-Authenticate"]
    assert client.get(workspace(served)).ok


def test_the_blob_service_s_faults_are_in_xml(served: ServedEmulator, client: requests.Session) -> None:
    arm(served, "GET ^/_blob/", "status", status=503)
    answer = client.get(f"{served.url}/azureml/x", headers={"x-ms-version": "2021-08-06"})
    assert answer.status_code == 503
    assert answer.headers["x-ms-error-code"] == "ServiceUnavailable"
    assert answer.text.startswith("<?xml")


def test_faults_and_counts_leave_the_emulator_s_own_pages_alone(
    served: ServedEmulator, client: requests.Session
) -> None:
    arm(served, "* .*", "status", status=500)
    assert control(served, "GET", "health").ok
    assert control(served, "GET", "requests").json()["total"] == 0
    assert client.get(f"{served.url}/nowhere").status_code == 500
    assert client.get(f"{served.url}/nowhere").status_code == 400
    assert control(served, "GET", "requests").json()["operations"] == {
        "(no operation)": {"count": 2, "answers": {"400": 1, "500": 1}}
    }
    assert control(served, "DELETE", "requests").status_code == 204
    assert control(served, "GET", "requests").json()["total"] == 0


def test_the_operations_are_named(served: ServedEmulator, client: requests.Session) -> None:
    names = control(served, "GET", "operations").json()["operations"]
    assert {"arm.get_workspace", "models.create_asset", "aad.post_token"} <= set(names)
    assert not [name for name in names if name.startswith(("control.", "studio."))]
    refused = control(served, "POST", "faults", {"operation": "arm.get_workspaces", "kind": "slow"})
    assert refused.status_code == 400
    assert "arm.get_workspace" in refused.json()["message"]


def test_the_clock_freezes_shifts_and_runs(served: ServedEmulator, client: requests.Session) -> None:
    at = "2031-03-30T00:59:59Z"
    frozen = control(served, "PUT", "clock", {"freezeAt": at, "shiftSeconds": 1}).json()
    assert frozen == {"now": "2031-03-30T01:00:00.0000000Z", "frozen": True}
    assert served.clock.now() == datetime(2031, 3, 30, 1, tzinfo=UTC)
    assert client.get(workspace(served)).status_code == 401  # the token was made years ago
    control(served, "PUT", "clock", {"run": True})
    now = served.clock.now()
    control(served, "PUT", "clock", {"shiftSeconds": (datetime.now(UTC) - now).total_seconds()})
    assert not control(served, "GET", "clock").json()["frozen"]
    assert client.get(workspace(served)).ok
    assert control(served, "PUT", "clock", {"freezeAt": at, "shiftSeconds": -3e9}).status_code == 200
    assert (
        control(served, "PUT", "clock", {"freezeAt": "0001-01-02T00:00:00Z", "shiftSeconds": -1e6}).status_code == 400
    )
    served.clock.freeze(datetime.now(UTC))
    served.clock.run()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://elsewhere.example"}, {"Host": "rebound.example"}, {"Origin": "null"}]
)
def test_pages_of_others_in_this_machine_s_browser_are_kept_out(
    served: ServedEmulator, headers: dict[str, str]
) -> None:
    before = served.clock.now()
    assert control(served, "PUT", "clock", {"shiftSeconds": 9999}, **headers).status_code == 403
    assert (served.clock.now() - before).total_seconds() < 9999
    assert control(served, "GET", "health", **headers).ok


def test_reset_deletes_everything_but_the_secrets_and_refuses_while_a_run_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.session() as client:
        assert client.post(models(served), json={"name": "a"}).ok
        before = served.services.identity.workspace_id
        served.services.blobs.create_container("mine")
        served.services.blobs.put("mine", "x", [b"1"])
        run = RunFolder(served.services.folder.runs / "r1")
        run.create(PipelineJob("r1", steps=()))
        refused = control(served, "POST", "reset", {})
        assert refused.status_code == 409
        assert "r1" in refused.json()["message"]
        assert assets(served) == 1
        assert control(served, "POST", "reset", {"force": True}).status_code == 204
        assert assets(served) == 0
        assert not served.services.blobs.has_container("mine")
        assert list(served.services.folder.runs.iterdir()) == []
        described = client.get(workspace(served))  # the token of before is still good
        assert described.json()["properties"]["workspaceId"] not in (before, None)
        assert client.post(models(served), json={"name": "a"}).ok
        datastores = client.get(f"{served.url}/datastore/v1.0{served.scope}/datastores")
        assert "workspaceblobstore" in json.dumps(datastores.json())


def test_the_command_line_arms_counts_and_moves_time(served: ServedEmulator, client: requests.Session) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["emulator", *arguments, "--state", str(served.root)])
        return done.exit_code, done.output

    code, said = run("faults", "add", "arm.get_workspace", "status", "--status", "429", "--retry-after", "3")
    assert (code, "status 429 after 3 s for arm.get_workspace" in said) == (0, True)
    assert run("faults", "list")[0] == 1
    assert client.get(workspace(served)).status_code == 429
    code, said = run("faults", "list")
    assert (code, said.split(maxsplit=1)[1]) == (0, "met 1 of 1  status 429 after 3 s for arm.get_workspace\n")
    assert "1  arm.get_workspace  (429 x 1)" in run("requests", "--clear")[1]
    assert run("requests")[1].split() == ["0", "in", "all"]
    assert run("faults", "clear")[0] == 0
    assert "arm.get_workspace" in run("faults", "operations")[1].split()
    assert run("faults", "add", "arm.get_workspac", "slow")[0] == 1
    assert run("clock", "freeze", "2031-01-01T00:00:00Z") == (0, "2031-01-01T00:00:00.0000000Z  (frozen)\n")
    assert run("clock", "shift", "-1d")[1].startswith("2030-12-31T00:00:00")
    assert run("clock", "shift", "tomorrow")[0] == 2
    assert "frozen" not in run("clock", "run")[1]
    served.clock.freeze(datetime.now(UTC))
    served.clock.run()
