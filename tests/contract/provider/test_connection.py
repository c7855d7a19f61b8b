"""The provider's own client against the served emulator: sign in, find the workspace, read a datastore's container."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from airflow_provider_amlbatch.aml import pipelines
from airflow_provider_amlbatch.aml.auth import Tokens
from airflow_provider_amlbatch.aml.blobs import container_client
from airflow_provider_amlbatch.aml.errors import (
    ConnectionSettingsError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
    ServiceUnavailableError,
    ThrottledError,
    UnreachableError,
)
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.emulator.faults import Fault
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.results.blobs import Blob, BlobReader
from airflow_provider_amlbatch.testing import ServedEmulator


@pytest.fixture
def settings(emulator: ServedEmulator) -> ConnectionSettings:
    return ConnectionSettings.from_json("azureml_default", emulator.connection_json)


def test_the_printed_connection_leads_to_the_workspace(settings: ConnectionSettings, emulator: ServedEmulator) -> None:
    session = Session(settings)
    assert session.workspace.id.lower() == settings.workspace_scope.lower()
    assert session.studio.startswith(emulator.url)
    assert session.cloud.resource_manager == emulator.url


def test_token_is_kept_and_renewed_before_it_ends(settings: ConnectionSettings) -> None:
    session = Session(settings)
    now = [0.0]
    tokens = Tokens(session.credential, lambda: now[0])
    first = tokens.get(session.cloud.scope)
    assert tokens.get(session.cloud.scope) == first
    now[0] = 4e9  # far behind the end of any token
    tokens.get(session.cloud.scope)
    assert session.token() == session.token()


def test_container_of_the_default_datastore(settings: ConnectionSettings) -> None:
    container = container_client(Session(settings), "workspaceblobstore")
    container.upload_blob("provider/hello.txt", b"hello", overwrite=True)
    assert container.download_blob("provider/hello.txt").readall() == b"hello"


class TestListingABlobContainer:
    """What the storage library raises becomes an error of our tree, which the retry policy knows."""

    def listing(self, settings: ConnectionSettings, container: str = "", key: str | None = None) -> list[Blob]:
        client = container_client(Session(settings), "workspaceblobstore")
        credential = {"account_name": client.account_name, "account_key": key or client.credential.account_key}
        impatient = ContainerClient(
            client.url.rpartition("/")[0],
            container or client.container_name,
            credential=credential,
            connection_verify=settings.ca_bundle,
            retry_total=0,
        )
        return list(BlobReader(impatient).find("provider/"))

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ({"kind": "status", "status": 503}, ServiceUnavailableError),
            ({"kind": "status", "status": 429}, ThrottledError),
            ({"kind": "reset_before"}, UnreachableError),
        ],
    )
    def test_that_does_not_answer(
        self, emulator: ServedEmulator, settings: ConnectionSettings, fault: dict[str, Any], kind: type[Exception]
    ) -> None:
        faults = emulator.services.faults
        faults.arm(Fault(operation="blob.get_container", **fault), {"blob.get_container"})
        with pytest.raises(kind, match="Listing provider/ in https://"):
            self.listing(settings)
        assert faults.report().all_consumed
        faults.clear()
        self.listing(settings)

    def test_that_refuses(self, settings: ConnectionSettings) -> None:
        with pytest.raises(PermissionDeniedError):
            self.listing(settings, key="bm90IHRoaXMgb25l")
        with pytest.raises(NotFoundError):
            self.listing(settings, container="nowhere")


def test_unknown_things_are_not_found(settings: ConnectionSettings) -> None:
    with pytest.raises(NotFoundError) as caught:
        container_client(Session(settings), "nowhere")
    assert caught.value.status == 404


def test_an_untrusted_certificate_is_named(settings: ConnectionSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with pytest.raises(ConnectionSettingsError, match="'ca_bundle' of connection 'azureml_default'"):
        Session(replace(settings, ca_bundle=None)).cloud  # noqa: B018


def test_nobody_at_home(settings: ConnectionSettings) -> None:
    url = "https://localhost:1/metadata/endpoints"
    with pytest.raises(NotSentError):
        Session(replace(settings, metadata_url=url), sleep=lambda _: None).cloud  # noqa: B018


class TestButton:
    def test_it_succeeds(self, emulator: ServedEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
        good, message = AzureMLBatchHook(azureml_conn_id="azureml_default").test_connection()
        assert good, message

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"workspace_name": "nowhere"}, "Reading the workspace failed"),
            ({"subscriptionId": None}, "lacks the field 'subscriptionId'"),
            ({"metadata_url": "https://localhost:1/"}, "Finding the cloud failed"),
        ],
    )
    def test_it_says_what_fails(
        self, emulator: ServedEmulator, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], says: str
    ) -> None:
        connection = json.loads(emulator.connection_json)
        connection["extra"] = {**connection["extra"], **change}
        monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", json.dumps(connection))
        good, message = AzureMLBatchHook(azureml_conn_id="azureml_default").test_connection()
        assert not good
        assert says in message
        assert connection["password"] not in message


def test_pipelines_can_be_listed(settings: ConnectionSettings) -> None:
    assert isinstance(Session(settings).send(pipelines.list_pipelines()), list)
