"""Tokens over the wire: what is let in, what is not, and how it is refused."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
import requests

from airflow_provider_amlbatch.emulator.tokens import AML_AUDIENCE
from airflow_provider_amlbatch.testing import ServedEmulator

ARM = "https://management.core.windows.net/"


@pytest.fixture
def data_plane(emulator: ServedEmulator) -> str:
    return f"{emulator.url}/modelmanagement/v1.0{emulator.scope}/models"


def get(emulator: ServedEmulator, url: str, token: str | None) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(url, headers=headers, verify=emulator.ca_bundle, timeout=10)


def check_refused(reply: requests.Response, status: int, code: str) -> None:
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == code
    assert reply.json()["Error"]["Code"] == code
    assert status != 401 or reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("audience", "arm", "data"),
    [
        (ARM, 200, 200),
        ("https://management.azure.com/", 200, 200),
        ("https://management.azure.com", 200, 200),
        (AML_AUDIENCE, 401, 200),
        ("https://graph.windows.net/", 401, 401),
    ],
)
def test_audiences(emulator: ServedEmulator, data_plane: str, audience: str, arm: int, data: int) -> None:
    token = emulator.token(audience)
    assert get(emulator, f"{emulator.url}{emulator.scope}", token).status_code == arm
    assert get(emulator, f"{emulator.url}/subscriptions", token).status_code == arm
    assert get(emulator, data_plane, token).status_code == data


def test_every_service_wants_a_token(emulator: ServedEmulator, data_plane: str) -> None:
    scope = emulator.scope
    for path in (
        scope,
        "/subscriptions",
        f"{scope}/computes/x",
        f"/rp/workspaces{scope}/computes",
        f"/artifact/v2.0{scope}/artifacts/ExperimentRun/dcid.x",
        f"/datastore/v1.0{scope}/default",
        f"/environment/v1.0{scope}/environments",
        f"/content/v1.0{scope}/snapshots/latest/metadata",
    ):
        check_refused(get(emulator, emulator.url + path, None), 401, "AuthenticationFailed")
        check_refused(get(emulator, emulator.url + path, "not.a.token"), 401, "AuthenticationFailed")
    for header in ("Basic eDp5", "Bearer", "Bearer  "):
        reply = requests.get(data_plane, headers={"Authorization": header}, verify=emulator.ca_bundle, timeout=10)
        check_refused(reply, 401, "AuthenticationFailed")


def test_a_forged_token_is_refused(emulator: ServedEmulator, data_plane: str) -> None:
    claims = jwt.decode(emulator.token(), options={"verify_signature": False})
    other_key = jwt.encode(claims, "another key that is long enough for it", algorithm="HS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    head, body, signature = emulator.token().split(".")
    longer = jwt.encode(claims | {"exp": claims["exp"] + 9999}, "k" * 32, algorithm="HS256").split(".")[1]
    for token in (other_key, unsigned, f"{head}.{longer}.{signature}", f"{head}.{body}.", f"{head}.{body}"):
        check_refused(get(emulator, data_plane, token), 401, "AuthenticationFailed")


def test_a_token_expires_by_the_emulators_clock(emulator: ServedEmulator, data_plane: str) -> None:
    token, of_run = emulator.token(), emulator.services.tokens.for_run("r")
    try:
        emulator.clock.shift(timedelta(minutes=59))
        assert get(emulator, data_plane, token).status_code == 200
        emulator.clock.shift(timedelta(minutes=1, seconds=1))
        check_refused(get(emulator, data_plane, token), 401, "ExpiredAuthenticationToken")
        assert get(emulator, data_plane, emulator.token()).status_code == 200
        assert get(emulator, data_plane, of_run).status_code == 200
    finally:
        emulator.clock.shift(-timedelta(hours=1, seconds=1))


def test_scopes_that_are_not_ours_are_refused(emulator: ServedEmulator, data_plane: str) -> None:
    identity = emulator.services.identity
    for ours, status, code in (
        (identity.subscription_id, 403, "AuthorizationFailed"),
        ("resourceGroups/emulator", 403, "AuthorizationFailed"),
        ("workspaces/emulator", 404, "ResourceNotFound"),
    ):
        other = data_plane.replace(ours, ours[:-1] + "x")
        check_refused(get(emulator, other, emulator.token()), status, code)
        check_refused(get(emulator, other, None), 401, "AuthenticationFailed")


def test_the_directory_refuses_in_its_own_words(emulator: ServedEmulator) -> None:
    identity = emulator.services.identity
    good = {
        "grant_type": "client_credentials",
        "client_id": identity.client_id,
        "client_secret": identity.client_secret,
        "scope": f"{ARM}/.default",
    }

    def ask(**change: str) -> requests.Response:
        url = f"{emulator.url}/adfs/oauth2/token"
        return requests.post(url, data=good | change, verify=emulator.ca_bundle, timeout=10)

    granted = ask().json()
    claims = jwt.decode(granted["access_token"], identity.signing_key, algorithms=["HS256"], audience=ARM)
    assert claims["exp"] - claims["iat"] == granted["expires_in"] == 3600
    assert claims["tid"] == "adfs"
    for change, status, error in (
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "someone"}, 400, "unauthorized_client"),
        ({"scope": "https://else.where/.default"}, 400, "invalid_scope"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ):
        refused = ask(**change)
        assert (refused.status_code, refused.json()["error"]) == (status, error)
        assert "access_token" not in refused.json()
