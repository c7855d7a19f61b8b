"""Whatever is sent to whichever route, the answer is below 500, comes soon, and admits no defect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest
import requests
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from airflow_provider_amlbatch.emulator.app import create_app
from airflow_provider_amlbatch.emulator.interception import UNTOUCHED, operation_name
from airflow_provider_amlbatch.emulator.paths import BLOB_PREFIX
from airflow_provider_amlbatch.emulator.routes import ROUTERS
from airflow_provider_amlbatch.testing import ServedEmulator, serving

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
SERVICES = [route for route in ROUTES if not route.path.startswith(UNTOUCHED)]
OWN = [
    route
    for route in ROUTES
    if route.path.startswith(UNTOUCHED) and operation_name(route.endpoint) != "control.post_reset"
]

#: Requests to each route: a few each time, and many in the slow variant, which chooses others every time.
FEW, MANY = 3, 40

#: In seconds; every operation is to answer within it.
SOON = 10

#: Names of things that are there, and things that may upset a parser.
WORDS = st.one_of(
    st.sampled_from(
        ["fuzz", "run", "dcid.run", "model", "model:1", "workspaceblobstore", "azureml", "ExperimentRun", "0", "-1",
         "1e999", "..", "a/../b", "%", "\x00", "'", "eq", "null", "true", "🙂", "a" * 3000, "2026-99-99", "[]", "{}"]
    ),
    st.text(max_size=12),
)  # fmt: skip
BLOB_QUERIES = [{"comp": "block", "blockid": "AA=="}, {"comp": "blocklist"}, {"comp": "metadata"}, {"comp": "list"}]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEmulator]:
    """An emulator of this module's own."""
    with serving(tmp_path_factory.mktemp("fuzz")) as served:
        yield served


@pytest.fixture(scope="module")
def there(served: ServedEmulator) -> dict[str, list[str]]:
    """Put one of most things into the emulator, and tell what to write for which part of a path."""
    services, scope = served.services, served.scope
    with served.session() as client:

        def make(path: str, body: Any, method: str = "POST") -> Any:
            answer = client.request(method, served.url + path.format(scope), json=body)
            assert answer.ok, (path, answer.text)
            return answer.json() if answer.content else None

        experiment = services.experiments.create("fuzz")
        services.history.modify("run", experiment, {"status": "Running", "tags": {"a": "b"}})
        services.blobs.put("azureml", "ExperimentRun/dcid.run/logs/a.txt", [b"line\n"])
        asset = make("/modelmanagement/v1.0{}/assets", {"name": "model"})["id"]
        make("/modelmanagement/v1.0{}/models", {"name": "model", "url": f"aml://asset/{asset}", "mimeType": "x"})
        module = make("/pipelines/v1.0{}/Modules", {"Name": "step"})["Id"]
        graph = {"ModuleNodes": [{"Id": "node", "ModuleId": module}], "DatasetNodes": [], "Edges": []}
        published = make("/pipelines/v1.0{}/Pipelines/Create", {"Name": "fuzz", "Graph": graph})
        info = {"Graph": graph, "CreationInfo": {"RunHistoryExperimentName": "fuzz"}}
        run = make("/pipelines/v1.0{}/PipelineRuns/Unsubmitted/CreationInfoWithGraph", info)["Id"]
        endpoint = make("/pipelines/v1.0{}/PipelineEndpoints/Create", {"Name": "fuzz", "PipelineId": published["Id"]})
        schedule = {
            "Name": "fuzz",
            "PipelineId": published["Id"],
            "PipelineSubmissionInfo": {"ExperimentName": "fuzz"},
            "ScheduleType": "Recurrence",
            "Recurrence": {"Frequency": "Month", "Interval": 1, "StartTime": "2099-01-01T00:00:00"},
        }
        schedule = make("/pipelines/v1.0{}/Schedules/Create", schedule)
    _, _, subscription, _, group, *_, name = scope.split("/")
    return {
        "subscription": [subscription],
        "group": [group],
        "workspace": [name],
        "workspace_id": [services.identity.workspace_id],
        "experiment": ["fuzz"],
        "experiment_name": ["fuzz"],
        "experiment_id": [experiment.experiment_id],
        "run_id": ["run", run],
        "model_id": ["model:1", "model"],
        "asset_id": [asset],
        "module_id": [module],
        "pipeline_id": [published["Id"]],
        "graph_id": [published["GraphId"]],
        "endpoint_id": [endpoint["Id"]],
        "schedule_id": [schedule["Id"]],
        "node_id": ["node"],
        "origin": ["ExperimentRun"],
        "container": ["dcid.run"],
        "name": ["fuzz", "workspaceblobstore", "cpu"],
        "path": ["logs/a.txt", "ExperimentRun/dcid.run/logs/a.txt"],
    }


@dataclass(frozen=True)
class Attempt:
    """A request to a route."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes | None


def of_schema(schema: dict[str, Any], definitions: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a JSON schema allows, or nearly."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return st.one_of([of_schema(option, definitions, depth) for option in options])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "object" and depth > 4:
        return st.just({})
    if kind == "object" and "properties" in schema:
        named = {name: of_schema(inner, definitions, depth + 1) for name, inner in schema["properties"].items()}
        required = {name: named.pop(name) for name in schema.get("required", [])}
        return st.fixed_dictionaries(required, optional=named)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return st.dictionaries(
            WORDS, of_schema(inner, definitions, depth + 1) if isinstance(inner, dict) else JSON, max_size=2
        )
    if kind == "array":
        return st.lists(of_schema(schema.get("items", {}), definitions, depth + 1), max_size=2)
    if kind == "string" and schema.get("format") == "date-time":
        return st.datetimes().map(lambda instant: instant.isoformat() + "Z")
    simple = {"string": WORDS, "integer": st.integers(-(2**33), 2**33), "number": st.floats(), "boolean": st.booleans()}
    return simple.get(str(kind), st.none() if kind == "null" else JSON)


def bodies(route: APIRoute) -> st.SearchStrategy[bytes | None]:
    """Bodies that a route understands, most of the time."""
    odd = st.one_of(st.none(), st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode()))
    if route.body_field is None:
        return odd
    schema = TypeAdapter(route.body_field.field_info.annotation).json_schema()
    fit = of_schema(schema, schema.get("$defs", {})).map(lambda value: json.dumps(value).encode())
    return st.one_of(fit, fit, fit, odd)


@st.composite
def attempts(draw: st.DrawFn, route: APIRoute, there: dict[str, list[str]]) -> Attempt:
    """Requests to a route: most parts of the path name what is there, most bodies are of the right shape."""

    def fill(match: re.Match[str]) -> str:
        name, _, kind = match[1].partition(":")
        fit = there.get(name, [])
        value = draw(st.sampled_from(fit)) if fit and draw(st.integers(0, 19)) else draw(WORDS.filter(bool))
        return quote(value, safe="/" if kind == "path" else "")

    path = re.sub(r"{([^}]+)}", fill, route.path)
    known = [param.alias for param in route.dependant.query_params]
    more = ["comp", "restype", "prefix", "marker", "maxresults", "blockid"] if path.startswith(BLOB_PREFIX) else []
    query = draw(st.dictionaries(st.sampled_from([*known, *more, "api-version"]), WORDS, max_size=3))
    if more and draw(st.booleans()):
        query |= draw(
            st.sampled_from([{"comp": "block", "blockid": "AA=="}, {"comp": "blocklist"}, {"comp": "metadata"}])
        )
    return Attempt(draw(st.sampled_from(sorted(route.methods))), path, query, draw(bodies(route)))


def send(served: ServedEmulator, client: requests.Session, attempt: Attempt) -> requests.Response:
    """Send it; a blob request with the right to do what it says, so that it gets past the gate."""
    address, headers, query = attempt.path, {}, attempt.query
    if attempt.body is not None:
        headers["Content-Type"] = "application/json"
    if address.startswith(BLOB_PREFIX):
        name = unquote(address.removeprefix(BLOB_PREFIX).lstrip("/").partition("/")[2])
        signed = served.services.blob.signed_url("azureml", name or "x", "rcwd").partition("?")[2]
        query = dict(parse_qsl(signed)) | query
        address = "/azureml/" + quote(name)
        headers |= {"x-ms-version": "2021-08-06", "x-ms-blob-type": "BlockBlob"}
    return client.request(
        attempt.method,
        served.url + address,
        params=query,
        data=attempt.body,
        headers=headers,
        timeout=SOON,
        allow_redirects=False,
    )


def check(answer: requests.Response, attempt: Attempt) -> None:
    """Below 500, and no defect."""
    assert answer.status_code < 500, (attempt, answer.status_code, answer.text[:500])
    assert "The emulator failed at" not in answer.text, (attempt, answer.text[:800])


def fuzz(served: ServedEmulator, there: dict[str, list[str]], route: APIRoute, count: int) -> None:
    """Send requests to a route until one is answered badly."""

    with served.session() as client:

        @settings(
            max_examples=count,
            deadline=None,
            derandomize=count == FEW,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(attempts(route, there))
        def run(attempt: Attempt) -> None:
            check(send(served, client, attempt), attempt)

        run()


def title(route: APIRoute) -> str:
    """What a route is called in the list of tests."""
    return f"{operation_name(route.endpoint)} {route.path.rpartition('}')[2] or route.path[-24:]}"


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("route", SERVICES, ids=title)
def test_no_request_to_a_service_upsets_it(
    served: ServedEmulator, there: dict[str, list[str]], route: APIRoute, count: int
) -> None:
    fuzz(served, there, route, count)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("route", OWN, ids=title)
def test_no_request_to_the_emulator_itself_upsets_it(
    served: ServedEmulator, there: dict[str, list[str]], route: APIRoute, count: int
) -> None:
    try:
        fuzz(served, there, route, count)
    finally:
        served.services.faults.clear()


def test_every_route_is_sent_something(tmp_path: Path) -> None:
    app = create_app(tmp_path)
    sent = {operation_name(route.endpoint) for route in SERVICES + OWN} | {"control.post_reset"}
    assert {operation_name(route.endpoint) for route in app.routes if isinstance(route, APIRoute)} == sent
    app.state.emulator.stop()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST /adfs/oauth2/token HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01",
        b"BREW /discovery HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_next_is_answered(served: ServedEmulator, raw: bytes) -> None:
    import socket
    import ssl

    context = ssl.create_default_context(cafile=served.ca_bundle)
    port = int(served.url.rsplit(":", 1)[1])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=SOON) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(raw + b"\r\n\r\n")
        assert connection.recv(12) in (b"HTTP/1.1 400", b"")
    assert requests.get(f"{served.url}/_emulator/health", verify=served.ca_bundle, timeout=SOON).ok


def test_a_defect_would_be_seen(served: ServedEmulator) -> None:
    """The check is able to fail."""
    answer = requests.Response()
    answer.status_code, answer._content = 400, b"The emulator failed at GET /: KeyError('x')"
    with pytest.raises(AssertionError):
        check(answer, Attempt("GET", "/", {}, None))
