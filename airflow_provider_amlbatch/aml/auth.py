"""Credentials (azure-identity) and the tokens that they give, kept until shortly before they expire."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from airflow_provider_amlbatch.aml.cloud import Cloud
from airflow_provider_amlbatch.aml.errors import AuthenticationError, redact
from airflow_provider_amlbatch.aml.settings import AuthMode, ConnectionSettings

#: Seconds before its end at which a token is renewed.
RENEWAL_MARGIN = 300.0


class AccessToken(Protocol):
    """A token and the epoch second at which it ends."""

    @property
    def token(self) -> str:
        """The token itself."""

    @property
    def expires_on(self) -> int:
        """When it ends."""


class Credential(Protocol):
    """What azure-identity's credentials offer."""

    def get_token(self, *scopes: str) -> AccessToken:
        """Obtain a token for a scope."""


class Tokens:
    """Tokens of one credential, by scope. May be used from several threads.

    :param clock: current epoch seconds.
    """

    def __init__(self, credential: Credential, clock: Callable[[], float]) -> None:
        self._credential = credential
        self._clock = clock
        self._tokens: dict[str, AccessToken] = {}
        self._lock = threading.Lock()

    def get(self, scope: str, *, instead_of: str | None = None) -> str:
        """Give a token that is good for some minutes.

        :param instead_of: a token that was just refused; a kept one that equals it is not given again.
        :raises AuthenticationError: if none can be had.
        """
        with self._lock:
            kept = self._tokens.get(scope)
            if kept and kept.token != instead_of and kept.expires_on - RENEWAL_MARGIN > self._clock():
                return kept.token
            self._tokens[scope] = fresh = _obtain(self._credential, scope)
            return fresh.token


def _obtain(credential: Credential, scope: str) -> AccessToken:
    try:
        return credential.get_token(scope)
    except Exception as error:  # azure-identity lets errors of azure-core, msal, requests and subprocesses through
        raise AuthenticationError(f"No token for {scope} could be had: {redact(str(error)).strip()}") from None


def _quiet() -> None:
    # At INFO, azure-core writes a dozen lines a request into the task's log. Who wants them sets the level.
    logger = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def credential_of(settings: ConnectionSettings, cloud: Cloud) -> Credential:
    """Make the credential that a connection asks for."""
    from azure import identity

    _quiet()
    common: dict[str, Any] = {"authority": cloud.authority}
    if settings.ca_bundle:
        common["connection_verify"] = settings.ca_bundle
    login = dict(common)
    if settings.metadata_url:
        # A login service that Microsoft's directory of clouds does not list.
        login["disable_instance_discovery"] = True
    match settings.auth_mode:
        case AuthMode.CLIENT_SECRET:
            made = identity.ClientSecretCredential(
                settings.tenant_id, settings.client_id, settings.client_secret, **login
            )
        case AuthMode.CERTIFICATE:
            made = identity.CertificateCredential(
                settings.tenant_id,
                settings.client_id,
                settings.certificate_path,
                password=settings.client_secret,
                **login,
            )
        case AuthMode.MANAGED_IDENTITY:
            made = identity.ManagedIdentityCredential(client_id=settings.managed_identity_client_id)
        case AuthMode.WORKLOAD_IDENTITY:
            made = identity.WorkloadIdentityCredential(
                tenant_id=settings.workload_identity_tenant_id or settings.tenant_id,
                client_id=settings.managed_identity_client_id or settings.client_id,
                **login,
            )
        case AuthMode.AZURE_CLI:
            made = identity.AzureCliCredential(tenant_id=settings.tenant_id or "")
        case AuthMode.DEFAULT:
            made = identity.DefaultAzureCredential(
                managed_identity_client_id=settings.managed_identity_client_id,
                workload_identity_tenant_id=settings.workload_identity_tenant_id,
                **common,
            )
    credential: Credential = made
    return credential
