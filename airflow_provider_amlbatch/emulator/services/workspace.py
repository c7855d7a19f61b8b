"""The workspace as the resource manager and the discovery service describe it."""

from __future__ import annotations

from typing import Any

from airflow_provider_amlbatch.emulator.environment import storage_suffix
from airflow_provider_amlbatch.emulator.state import Identity

#: Services that clients look up. One server answers for them all.
SERVICES = (
    "api",
    "catalog",
    "datastore",
    "environment",
    "execution",
    "experimentation",
    "history",
    "hyperdrive",
    "jasmine",
    "metrics",
    "modelmanagement",
    "pipelines",
    "projectcontent",
)

#: Pages for people live under this path, so that ``{studio}/pipelines/..`` is not mistaken for the pipelines service.
STUDIO_PREFIX = "/studio"


class WorkspaceService:
    """Describes the one workspace of an emulator."""

    def __init__(self, identity: Identity, base_url: str) -> None:
        self._identity = identity
        self._base_url = base_url

    def clouds(self) -> list[dict[str, Any]]:
        """The clouds that there are: ours, under the public cloud's name, so that every login class takes it."""
        url = self._base_url
        return [
            {
                "name": "AzureCloud",
                # The SDK makes the data plane's audience of what follows the second dot.
                "portal": "https://portal.azure.com",
                "authentication": {
                    "loginEndpoint": url,
                    "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
                    "tenant": self._identity.tenant_id,
                    "identityProvider": "ADFS",
                },
                "resourceManager": url,
                "graphAudience": "https://graph.windows.net/",
                "graph": "https://graph.windows.net/",
                "sqlManagement": url,
                "batch": url,
                "gallery": url,
                "media": url,
                "vmImageAliasDoc": url,
                "activeDirectoryDataLake": url,
                "suffixes": {
                    "storage": storage_suffix(url),
                    "keyVaultDns": "vault.core.local",
                    "sqlServerHostname": "database.core.local",
                    "azureDataLakeStoreFileSystem": "datalake.core.local",
                    "azureDataLakeAnalyticsCatalogAndJob": "analytics.core.local",
                    "acrLoginServer": "azurecr.core.local",
                },
            }
        ]

    def discovery(self) -> dict[str, str]:
        """Base address of each service."""
        return dict.fromkeys(SERVICES, self._base_url) | {"studio": self._base_url + STUDIO_PREFIX}

    def subscription(self) -> dict[str, Any]:
        """The one subscription."""
        identity = self._identity
        return {
            "id": f"/subscriptions/{identity.subscription_id}",
            "subscriptionId": identity.subscription_id,
            "tenantId": identity.tenant_id,
            "displayName": "Azure ML emulator",
            "state": "Enabled",
        }

    def workspace(self) -> dict[str, Any]:
        """The workspace as a resource."""
        identity = self._identity
        group = f"/subscriptions/{identity.subscription_id}/resourceGroups/{identity.resource_group}/providers"
        return {
            "id": identity.scope,
            "name": identity.workspace_name,
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": identity.location,
            "tags": {},
            "sku": {"name": "Basic", "tier": "Basic"},
            "identity": {"type": "SystemAssigned", "principalId": identity.object_id, "tenantId": identity.tenant_id},
            "properties": {
                "workspaceId": identity.workspace_id,
                "friendlyName": identity.workspace_name,
                "description": "Azure ML emulator",
                "provisioningState": "Succeeded",
                "discoveryUrl": f"{self._base_url}/discovery/workspaces/{identity.workspace_id}",
                "storageAccount": f"{group}/Microsoft.Storage/storageAccounts/{identity.account_name}",
                "keyVault": f"{group}/Microsoft.KeyVault/vaults/emulator",
                "applicationInsights": f"{group}/Microsoft.Insights/components/emulator",
                "containerRegistry": None,
                "hbiWorkspace": False,
            },
        }

    def keys(self) -> dict[str, Any]:
        """The workspace's secrets."""
        return {"userStorageKey": self._identity.account_key, "userStorageResourceId": None}
