"""What a client needs to know to reach an emulator: environment variables, a config file, an Airflow connection."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from airflow_provider_amlbatch.emulator.state import Identity, StateFolder
from airflow_provider_amlbatch.emulator.tls import Certificates

#: The path at which clients read which cloud this is.
METADATA_PATH = "/metadata/endpoints"

#: Clients make blob addresses as ``https://<account>.blob.<suffix>/``. With this suffix everything before ``@`` is a
#: user name to URL parsers, so all accounts arrive here without any change to name resolution.
STORAGE_SUFFIX = "core.local@{host}"


def storage_suffix(url: str) -> str:
    """The storage endpoint suffix of the emulator at that URL."""
    return STORAGE_SUFFIX.format(host=urlsplit(url).netloc)


def environment(identity: Identity, url: str, folder: StateFolder) -> dict[str, str]:
    """Every variable that the unmodified SDK and Airflow need to work against the emulator.

    :param url: address of the emulator, such as ``https://localhost:8443``.
    """
    bundle = str(Certificates(folder.tls).bundle)
    return {
        "ARM_CLOUD_METADATA_URL": url + METADATA_PATH,
        "AZUREML_CURRENT_CLOUD": "AzureCloud",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,  # the native dataset reader and urllib look here, and only here
        "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": identity.tenant_id,
        "AZUREML_SERVICE_PRINCIPAL_ID": identity.client_id,
        "AZUREML_SERVICE_PRINCIPAL_PASSWORD": identity.client_secret,
        "HBI_WORKSPACE_JOB": "true",  # the SDK sends telemetry to Microsoft otherwise
        # The SDK keeps what it read from the metadata URL here and never asks again: a folder per address.
        "AZURE_CONFIG_DIR": str(folder.root / "azure" / urlsplit(url).netloc.replace(":", "-")),
        "AZUREML_DEFAULT_BACKOFF": "1",
        "AZUREML_DEFAULT_RETRIES": "1",
        "AZUREML_SUBSCRIPTION_ID": identity.subscription_id,
        "AZUREML_RESOURCE_GROUP": identity.resource_group,
        "AZUREML_WORKSPACE_NAME": identity.workspace_name,
        "AIRFLOW_CONN_AZUREML_DEFAULT": connection(identity, url, folder),
    }


def connection(identity: Identity, url: str, folder: StateFolder) -> str:
    """The Airflow connection to the emulator, as JSON."""
    return json.dumps(
        {
            "conn_type": "azureml",
            "login": identity.client_id,
            "password": identity.client_secret,
            "extra": {
                "tenantId": identity.tenant_id,
                "subscriptionId": identity.subscription_id,
                "resource_group_name": identity.resource_group,
                "workspace_name": identity.workspace_name,
                "cloud": "custom",
                "metadata_url": url + METADATA_PATH,
                "ca_bundle": str(Certificates(folder.tls).bundle),
            },
        }
    )


def config(identity: Identity) -> dict[str, str]:
    """The content of ``config.json`` for ``Workspace.from_config()``."""
    return {
        "subscription_id": identity.subscription_id,
        "resource_group": identity.resource_group,
        "workspace_name": identity.workspace_name,
    }
