"""A connection, read: one declared mapping from an Airflow connection's fields to frozen settings.

The extras are named as the Microsoft Azure provider names them, so its ``azure`` connection can be used as it is once
``resource_group_name`` and ``workspace_name`` are added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.aml import cloud
from airflow_provider_amlbatch.aml.errors import ConnectionSettingsError

CONNECTION_TYPE = "azureml"
DEFAULT_CONNECTION = "azureml_default"


class AuthMode(StrEnum):
    """How an identity is proved."""

    CLIENT_SECRET = "client_secret"  # noqa: S105
    CERTIFICATE = "certificate"
    MANAGED_IDENTITY = "managed_identity"
    WORKLOAD_IDENTITY = "workload_identity"
    AZURE_CLI = "azure_cli"
    DEFAULT = "default"


#: Settings field -> where a connection keeps it: ``login``, ``password``, or the name of an extra.
SOURCES = {
    "subscription_id": "subscriptionId",
    "resource_group": "resource_group_name",
    "workspace_name": "workspace_name",
    "tenant_id": "tenantId",
    "client_id": "login",
    "client_secret": "password",
    "certificate_path": "certificate_path",
    "managed_identity_client_id": "managed_identity_client_id",
    "workload_identity_tenant_id": "workload_identity_tenant_id",
    "cloud": "cloud",
    "metadata_url": "metadata_url",
    "ca_bundle": "ca_bundle",
    "auth_mode": "auth_mode",
}

#: What each way of proving an identity cannot do without.
_NEEDED = {
    AuthMode.CLIENT_SECRET: ("tenant_id", "client_id", "client_secret"),
    AuthMode.CERTIFICATE: ("tenant_id", "client_id", "certificate_path"),
}
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLOUDS = (*cloud.KNOWN, cloud.CUSTOM)


@dataclass(frozen=True)
class ConnectionSettings:
    """All that is needed to reach a workspace. Without Airflow; equal settings can share a session.

    :param conn_id: the connection they came from, for messages.
    :param client_secret: also the passphrase of the certificate.
    :param cloud: ``AzureCloud``, ``AzureUSGovernment``, ``AzureChinaCloud``, or ``custom`` with ``metadata_url``.
    :param metadata_url: a cloud's metadata list; set for private clouds and for the emulator.
    :param ca_bundle: file of certificates to trust instead of the usual ones.
    """

    subscription_id: str
    resource_group: str
    workspace_name: str
    conn_id: str = DEFAULT_CONNECTION
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    certificate_path: str | None = None
    managed_identity_client_id: str | None = None
    workload_identity_tenant_id: str | None = None
    cloud: str = cloud.PUBLIC.name
    metadata_url: str | None = None
    ca_bundle: str | None = None
    auth_mode: AuthMode = AuthMode.DEFAULT

    @property
    def workspace_scope(self) -> str:
        """The workspace's resource id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )

    @classmethod
    def from_fields(
        cls, conn_id: str, login: str | None, password: str | None, extra: Mapping[str, Any]
    ) -> ConnectionSettings:
        """Read a connection's fields.

        :param extra: the extras; names with the prefix of an old form (``extra__azure__``) are understood too.
        :raises ConnectionSettingsError: naming the field, the connection and what would do.
        """
        given = {"login": login, "password": password, **_plain_names(extra)}
        values = {name: _text(conn_id, source, given.get(source)) for name, source in SOURCES.items()}
        _check(conn_id, values)
        mode = values["auth_mode"] or (AuthMode.CLIENT_SECRET if values["client_secret"] else AuthMode.DEFAULT)
        cloud_name = values["cloud"] or (cloud.CUSTOM if values["metadata_url"] else cloud.PUBLIC.name)
        settings = cls(**{**values, "conn_id": conn_id, "auth_mode": AuthMode(mode), "cloud": cloud_name})  # type: ignore[arg-type]
        for name in _NEEDED.get(settings.auth_mode, ()):
            if getattr(settings, name) is None:
                raise _missing(conn_id, SOURCES[name], f"auth_mode {settings.auth_mode.value!r} needs it")
        return settings

    @classmethod
    def from_json(cls, conn_id: str, text: str) -> ConnectionSettings:
        """Read the JSON form of a connection, as the variable ``AIRFLOW_CONN_AZUREML_DEFAULT`` carries it."""
        try:
            connection = json.loads(text)
            extra = connection.get("extra") or {}
            extra = json.loads(extra) if isinstance(extra, str) else dict(extra)
        except (ValueError, AttributeError, TypeError):
            raise ConnectionSettingsError(
                f"Connection {conn_id!r} is not a JSON object; give "
                '{"conn_type": "azureml", "login": .., "password": .., "extra": {..}}.'
            ) from None
        return cls.from_fields(conn_id, connection.get("login"), connection.get("password"), extra)

    def to_json(self) -> str:
        """Write the JSON form of the connection. It carries the secret: hand it over, never log it."""
        given = {SOURCES[f.name]: getattr(self, f.name) for f in fields(self) if f.name in SOURCES}
        extra = {name: str(value) for name, value in given.items() if value and name not in ("login", "password")}
        connection = {"conn_type": CONNECTION_TYPE, "login": self.client_id, "password": self.client_secret}
        return json.dumps({**connection, "extra": extra})


def _plain_names(extra: Mapping[str, Any]) -> dict[str, Any]:
    prefixed = {name.split("__", 2)[2]: value for name, value in extra.items() if re.match(r"extra__\w+?__", name)}
    return {**prefixed, **{name: value for name, value in extra.items() if not name.startswith("extra__")}}


def _text(conn_id: str, source: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConnectionSettingsError(
            f"Field {source!r} of connection {conn_id!r} is a {type(value).__name__}; it must be a text."
        )
    if source == "password":
        return value or None  # blanks may belong to it
    return value.strip() or None


def _check(conn_id: str, values: Mapping[str, str | None]) -> None:
    for name in ("subscription_id", "resource_group", "workspace_name"):
        if values[name] is None:
            raise _missing(conn_id, SOURCES[name], "add it to the connection's extra fields")
    if not _GUID.fullmatch(values["subscription_id"] or ""):
        raise _malformed(conn_id, "subscriptionId", values["subscription_id"], "a GUID such as 00000000-0000-0000-...")
    for name, allowed in (("auth_mode", tuple(AuthMode)), ("cloud", _CLOUDS)):
        if values[name] is not None and values[name] not in allowed:
            raise _malformed(conn_id, name, values[name], "one of " + ", ".join(str(value) for value in allowed))
    if values["cloud"] == cloud.CUSTOM and values["metadata_url"] is None:
        raise _missing(conn_id, "metadata_url", "cloud 'custom' needs it")
    if values["metadata_url"] is not None and not values["metadata_url"].startswith("https://"):
        raise _malformed(conn_id, "metadata_url", values["metadata_url"], "an https:// URL")
    for name in ("ca_bundle", "certificate_path"):
        path = values[name]
        if path is not None and not Path(path).is_file():
            raise _malformed(conn_id, name, path, "the path of a file that exists on this machine")


def _missing(conn_id: str, source: str, why: str) -> ConnectionSettingsError:
    return ConnectionSettingsError(f"Connection {conn_id!r} lacks the field {source!r}: {why}.")


def _malformed(conn_id: str, source: str, value: str | None, would_do: str) -> ConnectionSettingsError:
    return ConnectionSettingsError(f"Field {source!r} of connection {conn_id!r} is {value!r}; it must be {would_do}.")
