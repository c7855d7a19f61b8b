"""The resource manager, and the discovery document that it leads to."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.wire import Camel

ARM = "arm"
WORKSPACE_API_VERSION = "2022-05-01"


class WorkspaceProperties(Camel):
    """What the workspace is made of."""

    workspace_id: str | None = None
    discovery_url: str | None = None
    friendly_name: str | None = None
    storage_account: str | None = None
    key_vault: str | None = None
    application_insights: str | None = None
    provisioning_state: str | None = None


class Workspace(Camel):
    """A workspace as the resource manager describes it."""

    id: str
    name: str
    location: str | None = None
    tags: dict[str, str] | None = None
    properties: WorkspaceProperties = Field(default_factory=WorkspaceProperties)


def get_workspace() -> Call[Workspace]:
    """Describe the connection's workspace."""
    return Call("GET", ARM, WORKSPACE, Workspace.model_validate, params={"api-version": WORKSPACE_API_VERSION})


def get_services(discovery_url: str) -> Call[dict[str, str]]:
    """List the base URLs of the workspace's services, by name."""
    return Call("GET", "", discovery_url, lambda body: {name: str(url).rstrip("/") for name, url in body.items()})
