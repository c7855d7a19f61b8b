"""Nonsense on every route: a refusal that says why, never a 5xx, a defect or a broken connection."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from fastapi import APIRouter
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from airflow_provider_amlbatch.emulator.interception import UNTOUCHED
from airflow_provider_amlbatch.emulator.paths import BLOB_PREFIX
from airflow_provider_amlbatch.emulator.routes import ROUTERS
from airflow_provider_amlbatch.testing import ServedEmulator

WORDS = st.sampled_from(
    ["a", "a:1", "../x", "x" * 300, "ü", "\x00", "0", "-1", "{", "a/b", "'", '"', "9" * 20, "true", "list", "block",
     "ExperimentRun", "dcid.x", "11111111-2222-3333-4444-555555555555", "default", "azureml", "eA==", "*", "bytes=0-1"]
)  # fmt: skip
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2), max_leaves=5
)
BLOB_PARAMETERS = ["comp", "restype", "prefix", "delimiter", "marker", "maxresults", "include", "blockid"]
BLOB_HEADERS = ["x-ms-blob-type", "x-ms-range", "if-match", "if-modified-since", "x-ms-meta-a", "content-md5"]


def routes() -> list[APIRoute]:
    """Every route of every service. The emulator's own, which can reset it, and its pages are tested elsewhere."""

    def within(router: APIRouter) -> list[APIRoute]:
        return [route for route in router.routes if isinstance(route, APIRoute)]

    found = [route for router in ROUTERS for route in within(router)]
    return [route for route in found if not route.path.startswith(UNTOUCHED)]


def body_of(route: APIRoute) -> st.SearchStrategy[Any]:
    """Bodies of which some nearly fit."""
    annotation = route.body_field.field_info.annotation if route.body_field is not None else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = [field.alias or name for name, field in annotation.model_fields.items()]
        return st.one_of(st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUES)), VALUES)
    return VALUES


@st.composite
def requests_to(draw: st.DrawFn, route: APIRoute, scope: dict[str, str]) -> dict[str, Any]:
    """A request to a route of the emulator's own workspace, of which everything else is nonsense."""
    path = route.path
    for name in route.param_convertors:
        value = scope.get(name) or draw(WORDS)
        path = path.replace(f"{{{name}:path}}", quote(value)).replace(f"{{{name}}}", quote(value, safe=""))
    blob = path.startswith(BLOB_PREFIX)
    names = BLOB_PARAMETERS if blob else [parameter.alias for parameter in route.dependant.query_params]
    method = draw(st.sampled_from(sorted(route.methods)))
    return {
        "method": method,
        "path": path.removeprefix(BLOB_PREFIX),
        "params": draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, WORDS))),
        "headers": draw(st.fixed_dictionaries({}, optional=dict.fromkeys(BLOB_HEADERS, WORDS.filter(str.isascii))))
        if blob
        else {},
        "body": draw(body_of(route)) if method in ("POST", "PUT", "PATCH") else None,
    }


@pytest.fixture(scope="module")
def emulator(own_emulator: ServedEmulator) -> ServedEmulator:
    return own_emulator


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.endpoint.__module__}.{route.name}")
def test_nonsense_is_refused(emulator: ServedEmulator, route: APIRoute) -> None:
    identity, session = emulator.services.identity, emulator.session()
    scope = {
        "subscription": identity.subscription_id,
        "group": identity.resource_group,
        "workspace": identity.workspace_name,
    }
    is_blob = route.path.startswith(BLOB_PREFIX)
    # With a good signature the rules behind it are reached.
    signature = dict(
        parse_qsl(
            generate_account_sas(
                identity.account_name,
                identity.account_key,
                ResourceTypes(service=True, container=True, object=True),
                AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
                datetime.now(UTC) + timedelta(hours=1),
            )
        )
    )

    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests_to(route, scope))
    def run(request: dict[str, Any]) -> None:
        headers = dict(request["headers"])
        if is_blob:
            headers |= {"x-ms-version": "2021-08-06"}
            request["params"] |= signature
        reply = session.request(
            request["method"],
            emulator.url + request["path"],
            params=request["params"],
            data=json.dumps(request["body"]).encode() if request["body"] is not None else None,
            headers={name: value for name, value in headers.items() if "\x00" not in value},
            timeout=20,
        )
        assert reply.status_code < 500, reply.text
        assert "The emulator failed" not in reply.text
        if reply.status_code >= 400 and not is_blob and request["method"] != "HEAD":
            assert reply.json().get("error"), reply.text

    run()
