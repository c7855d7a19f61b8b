"""What clients are told about the emulator, and which spelling of a path it takes."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.environment import environment
from airflow_provider_amlbatch.emulator.errors import Unauthorized
from airflow_provider_amlbatch.emulator.paths import PathMiddleware
from airflow_provider_amlbatch.emulator.state import Identity, StateError, StateFolder
from airflow_provider_amlbatch.emulator.tokens import LIFETIME, Tokens

URL = "https://localhost:8443"


def test_the_environment_names_all_that_the_sdk_reads(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    identity = folder.open()
    told = environment(identity, URL, folder)
    connection = json.loads(told.pop("AIRFLOW_CONN_AZUREML_DEFAULT"))
    bundle = str(tmp_path / "tls" / "bundle.pem")
    assert told == {
        "ARM_CLOUD_METADATA_URL": "https://localhost:8443/metadata/endpoints",
        "AZUREML_CURRENT_CLOUD": "AzureCloud",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": "adfs",
        "AZUREML_SERVICE_PRINCIPAL_ID": identity.client_id,
        "AZUREML_SERVICE_PRINCIPAL_PASSWORD": identity.client_secret,
        "HBI_WORKSPACE_JOB": "true",
        "AZURE_CONFIG_DIR": str(tmp_path / "azure" / "localhost-8443"),
        "AZUREML_DEFAULT_BACKOFF": "1",
        "AZUREML_DEFAULT_RETRIES": "1",
        "AZUREML_SUBSCRIPTION_ID": identity.subscription_id,
        "AZUREML_RESOURCE_GROUP": "emulator",
        "AZUREML_WORKSPACE_NAME": "emulator",
    }
    assert (connection["conn_type"], connection["login"]) == ("azureml", identity.client_id)
    assert connection["password"] == identity.client_secret
    assert connection["extra"] == {
        "tenantId": "adfs",
        "subscriptionId": identity.subscription_id,
        "resource_group_name": "emulator",
        "workspace_name": "emulator",
        "cloud": "custom",
        "metadata_url": "https://localhost:8443/metadata/endpoints",
        "ca_bundle": bundle,
    }


def test_a_folder_is_one_emulator_for_ever_and_another_is_another(tmp_path: Path) -> None:
    first = StateFolder(tmp_path / "a").open()
    assert StateFolder(tmp_path / "a").open() == first
    other = StateFolder(tmp_path / "b").open()
    assert other.workspace_id != first.workspace_id
    assert other.account_key != first.account_key
    file = tmp_path / "a" / "emulator.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(StateError, match="format 99"):
        StateFolder(tmp_path / "a").open()


def test_a_folder_is_its_owners_only(tmp_path: Path) -> None:
    StateFolder(tmp_path / "below" / "state").open()
    assert (tmp_path / "below" / "state").stat().st_mode & 0o777 == 0o700


def test_a_token_ends_with_its_second(tmp_path: Path) -> None:
    clock = Clock()
    clock.freeze(datetime(2026, 3, 1, tzinfo=UTC))
    tokens = Tokens(Identity(), clock)
    token = f"Bearer {tokens.issue('https://ml.azure.com')}"
    clock.shift(LIFETIME - timedelta(seconds=1))
    assert tokens.check(token).name == "emulator"
    clock.shift(timedelta(seconds=1))
    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(token)
    with pytest.raises(Unauthorized, match="signature"):
        Tokens(Identity(), clock).check(token)


@pytest.mark.parametrize(
    ("sent", "headers", "query", "seen"),
    [
        ("//subscriptions/s/resourcegroups/g", {}, b"", "/subscriptions/s/resourceGroups/g"),
        (
            "/x/PROVIDERS/microsoft.MachineLearningServices/w",
            {},
            b"",
            "/x/providers/Microsoft.MachineLearningServices/w",
        ),
        ("/azureml/a//b", {b"x-ms-version": b"2021-08-06"}, b"", "/_blob/azureml/a//b"),
        ("/azureml/resourcegroups/b", {}, b"sv=1&sig=x", "/_blob/azureml/resourcegroups/b"),
        ("/azureml/a", {}, b"design=x", "/azureml/a"),
    ],
)
def test_paths(sent: str, headers: dict[bytes, bytes], query: bytes, seen: str) -> None:
    got: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(scope["path"])

    scope = {"type": "http", "path": sent, "headers": list(headers.items()), "query_string": query}
    asyncio.run(PathMiddleware(application)(scope, None, None))  # type: ignore[arg-type]  # neither is used
    assert got == [seen]
