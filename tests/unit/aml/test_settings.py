"""Connections: what is read from where, what is inferred, and what each mistake is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.cloud import KNOWN, from_metadata
from airflow_provider_amlbatch.aml.errors import ConnectionSettingsError
from airflow_provider_amlbatch.aml.settings import AuthMode, ConnectionSettings

PLACE = {
    "subscriptionId": "11111111-2222-3333-4444-555555555555",
    "resource_group_name": "rg",
    "workspace_name": "ws",
}


def read(login: str | None = "id", password: str | None = "s3cret", **extra: Any) -> ConnectionSettings:
    return ConnectionSettings.from_fields("mine", login, password, {**PLACE, "tenantId": "tenant", **extra})


def test_a_connection_of_the_azure_provider_with_two_extras_added() -> None:
    settings = read()
    assert settings.workspace_scope == (
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
        "/providers/Microsoft.MachineLearningServices/workspaces/ws"
    )
    assert (settings.tenant_id, settings.client_id, settings.client_secret) == ("tenant", "id", "s3cret")
    assert (settings.auth_mode, settings.cloud) == (AuthMode.CLIENT_SECRET, "AzureCloud")


def test_without_a_secret_the_default_chain_is_used() -> None:
    settings = read(None, None, managed_identity_client_id="mi", workload_identity_tenant_id="wt")
    assert settings.auth_mode is AuthMode.DEFAULT
    assert (settings.managed_identity_client_id, settings.workload_identity_tenant_id) == ("mi", "wt")


def test_names_of_old_forms_are_understood_and_new_ones_win() -> None:
    extra = {"extra__azure__tenantId": "old", "extra__azure__subscriptionId": PLACE["subscriptionId"]}
    place = {"resource_group_name": "rg", "workspace_name": "ws"}
    assert ConnectionSettings.from_fields("mine", "id", "x", {**extra, **place}).tenant_id == "old"
    assert read(**{"extra__azure__tenantId": "old"}).tenant_id == "tenant"


def test_empty_fields_of_a_form_are_no_fields() -> None:
    settings = read(auth_mode="", cloud="", metadata_url="", ca_bundle=None)
    assert (settings.auth_mode, settings.cloud, settings.ca_bundle) == (AuthMode.CLIENT_SECRET, "AzureCloud", None)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"subscriptionId": None}, "lacks the field 'subscriptionId'"),
        ({"resource_group_name": " "}, "lacks the field 'resource_group_name'"),
        ({"workspace_name": ""}, "lacks the field 'workspace_name'"),
        ({"subscriptionId": "mine"}, "'subscriptionId' of connection 'mine' is 'mine'; it must be a GUID"),
        ({"tenantId": None}, "lacks the field 'tenantId': auth_mode 'client_secret' needs it"),
        ({"auth_mode": "magic"}, "is 'magic'; it must be one of client_secret, certificate, managed_identity"),
        ({"auth_mode": "certificate"}, "lacks the field 'certificate_path': auth_mode 'certificate' needs it"),
        ({"cloud": "AzureGermanCloud"}, "one of AzureCloud, AzureUSGovernment, AzureChinaCloud, custom"),
        ({"cloud": "custom"}, "lacks the field 'metadata_url': cloud 'custom' needs it"),
        ({"metadata_url": "http://plain"}, "'metadata_url' of connection 'mine' is 'http://plain'"),
        ({"ca_bundle": "/nowhere.pem"}, "'ca_bundle' of connection 'mine' is '/nowhere.pem'"),
        ({"workspace_name": 7}, "'workspace_name' of connection 'mine' is a int"),
    ],
)
def test_each_mistake_names_field_and_connection(extra: dict[str, Any], says: str) -> None:
    with pytest.raises(ConnectionSettingsError, match="'mine'") as caught:
        read(**extra)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_blanks_may_belong_to_a_secret_and_to_nothing_else() -> None:
    settings = read(" id ", " s3cret ", workspace_name=" ws\n")
    assert (settings.client_id, settings.client_secret, settings.workspace_name) == ("id", " s3cret ", "ws")


def test_the_secret_does_not_show() -> None:
    assert "s3cret" not in repr(read())


def test_there_and_back(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    settings = read(metadata_url="https://cloud.test/metadata", ca_bundle=str(bundle), auth_mode="client_secret")
    assert settings.cloud == "custom"
    assert ConnectionSettings.from_json("mine", settings.to_json()) == settings


@pytest.mark.parametrize("text", ["azureml://id:x@host", "[]", '{"extra": "{"}', '{"extra": [1]}'])
def test_what_is_no_connection(text: str) -> None:
    with pytest.raises(ConnectionSettingsError, match="'mine' is not a JSON object"):
        ConnectionSettings.from_json("mine", text)


def test_extra_as_text_is_read_too() -> None:
    text = json.dumps({"login": "id", "password": "x", "extra": json.dumps({**PLACE, "tenantId": "t"})})
    assert ConnectionSettings.from_json("mine", text).workspace_name == "ws"


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("AzureCloud", "https://management.core.windows.net/.default"),
        ("AzureUSGovernment", "https://management.core.usgovcloudapi.net/.default"),
        ("AzureChinaCloud", "https://management.core.chinacloudapi.cn/.default"),
    ],
)
def test_tokens_are_made_out_for_the_clouds_own_resource_manager(name: str, scope: str) -> None:
    assert KNOWN[name].scope == scope


def entry(name: str) -> dict[str, Any]:
    login = {"loginEndpoint": "https://login.test/", "audiences": ["https://arm.test/"]}
    return {"name": name, "resourceManager": "https://arm.test/", "authentication": login}


def test_a_cloud_is_chosen_from_a_metadata_list() -> None:
    found = from_metadata([entry("One"), entry("Two")], "Two")
    assert (found.name, found.resource_manager, found.authority) == ("Two", "https://arm.test", "https://login.test")
    assert from_metadata([entry("One"), entry("Two")], "custom").name == "One"


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([], "it describes: none"),
        ([entry("One")], "no cloud 'Two'; it describes: One"),
        ([{**entry("Two"), "authentication": {"loginEndpoint": "x", "audiences": []}}], "must give resourceManager"),
        ([{"name": "Two"}], "lacks 'authentication'"),
    ],
)
def test_a_list_that_does_not_describe_the_cloud(entries: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConnectionSettingsError, match="'Two'") as caught:
        from_metadata(entries, "Two")
    assert says in str(caught.value)
