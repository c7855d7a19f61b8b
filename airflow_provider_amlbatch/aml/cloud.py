"""Clouds: where the resource manager and the login are, and for whom a token must be made out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import ConnectionSettingsError


@dataclass(frozen=True)
class Cloud:
    """One Azure cloud.

    :param resource_manager: base URL of the resource manager, without a slash at the end.
    :param authority: base URL of the login service, without a slash at the end.
    :param audience: for whom tokens are made out: the resource manager, on every call of every service.
    """

    name: str
    resource_manager: str
    authority: str
    audience: str

    @property
    def scope(self) -> str:
        """The audience in the form that OAuth 2 asks for."""
        return f"{self.audience.rstrip('/')}/.default"


PUBLIC = Cloud(
    "AzureCloud",
    "https://management.azure.com",
    "https://login.microsoftonline.com",
    "https://management.core.windows.net/",
)
US_GOVERNMENT = Cloud(
    "AzureUSGovernment",
    "https://management.usgovcloudapi.net",
    "https://login.microsoftonline.us",
    "https://management.core.usgovcloudapi.net/",
)
CHINA = Cloud(
    "AzureChinaCloud",
    "https://management.chinacloudapi.cn",
    "https://login.chinacloudapi.cn",
    "https://management.core.chinacloudapi.cn/",
)
KNOWN = {cloud.name: cloud for cloud in (PUBLIC, US_GOVERNMENT, CHINA)}

#: The cloud of a connection whose ``metadata_url`` says everything.
CUSTOM = "custom"


def get_metadata(url: str) -> Call[list[dict[str, Any]]]:
    """Ask a resource manager for the list of clouds that it knows."""
    return Call("GET", "", url, lambda body: list(body or []))


def from_metadata(entries: Sequence[dict[str, Any]], name: str) -> Cloud:
    """Choose a cloud from a metadata list.

    :param name: the cloud's name, or ``custom`` for the first of the list.
    :raises ConnectionSettingsError: if the list does not describe that cloud.
    """
    matching = [entry for entry in entries if name in (entry.get("name"), CUSTOM)]
    chosen = matching[0] if matching else None
    if chosen is None:
        names = ", ".join(str(entry.get("name")) for entry in entries) or "none"
        raise ConnectionSettingsError(f"The metadata list describes no cloud {name!r}; it describes: {names}.")
    try:
        login = chosen["authentication"]
        return Cloud(
            str(chosen["name"]),
            str(chosen["resourceManager"]).rstrip("/"),
            str(login["loginEndpoint"]).rstrip("/"),
            str(login["audiences"][0]),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ConnectionSettingsError(
            f"The metadata of cloud {name!r} lacks {error}; it must give resourceManager, "
            "authentication.loginEndpoint and authentication.audiences."
        ) from None
