"""Datastores (``/datastore/v1.0``): named blob containers with the way to get in."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import Field

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call, Page
from airflow_provider_amlbatch.aml.wire import Camel


class AzureStorage(Camel):
    """The storage account and container behind a datastore. Its secrets never show in ``repr``."""

    account_name: str | None = None
    container_name: str | None = None
    endpoint: str | None = None
    protocol: str | None = None
    credential_type: str | None = None
    credential: str | None = Field(default=None, repr=False)
    account_key: str | None = Field(default=None, repr=False)
    sas_token: str | None = Field(default=None, repr=False)
    is_sas: bool = False
    subscription_id: str | None = None
    resource_group: str | None = None


class Datastore(Camel):
    """A datastore. Only ``AzureBlob`` is spoken here."""

    name: str
    data_store_type: str | None = None
    has_been_validated: bool = True
    tags: dict[str, str] | None = None
    azure_storage_section: AzureStorage | None = None


DatastorePage = Page[Datastore]

_BASE = f"/datastore/v1.0{WORKSPACE}"


def get_datastore(name: str) -> Call[Datastore]:
    """Read a datastore, the way to get in included."""
    return Call("GET", "api", f"{_BASE}/datastores/{quote(name)}", Datastore.model_validate)


def get_default_datastore() -> Call[Datastore]:
    """Read the workspace's default datastore."""
    return Call("GET", "api", f"{_BASE}/default", Datastore.model_validate)
