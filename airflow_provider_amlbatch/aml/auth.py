"""Credentials (azure-identity) and the tokens that they give, kept until shortly before they expire."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from airflow_provider_amlbatch.aml.cloud import Cloud
from airflow_provider_amlbatch.aml.errors import (
    AuthenticationError,
    AzureMLBatchError,
    ConnectionSettingsError,
    NotSentError,
    redact,
)
from airflow_provider_amlbatch.aml.settings import AuthMode, ConnectionSettings

#: Seconds before its end at which a token is renewed.
RENEWAL_MARGIN = 300.0
#: How patient azure-identity is with a login service: by itself it waits five minutes for an answer, four times.
_PATIENCE = {"connection_timeout": 10, "read_timeout": 30, "retry_total": 2}
#: Statuses by which a login service says that it is not able to answer now.
_PASSING = frozenset({408, 429, *range(500, 600)})


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
        :raises AuthenticationError: if none can be had, because the identity is refused or is not there.
        :raises NotSentError: if the login service cannot be reached or fails, so that nothing was asked of Azure ML.
        """
        with self._lock:
            kept = self._tokens.get(scope)
            if kept and kept.token != instead_of and kept.expires_on - RENEWAL_MARGIN > self._clock():
                return kept.token
            self._tokens[scope] = fresh = _obtain(self._credential, scope)
            return fresh.token


class OwnErrors:
    """A credential whose failures are errors of this package, for a library that takes a credential."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """Obtain a token for a scope."""
        (scope,) = scopes
        return _obtain(self._credential, scope)


def _obtain(credential: Credential, scope: str) -> AccessToken:
    try:
        return credential.get_token(scope)
    except Exception as error:  # azure-identity lets errors of azure-core, msal, requests and subprocesses through
        raise _no_token(scope, error) from None


def _no_token(scope: str, error: Exception) -> AzureMLBatchError:
    """Tell a login service that is down or overloaded from one that refuses.

    What lies beneath shows in the causes only: azure-identity makes ``ClientAuthenticationError`` out of most things.
    Its ``DefaultAzureCredential`` hides the causes when it gets no token at all, which reads as a refusal.
    """
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    # Raised for a 5xx, whose number it tells in its text only.
    from msal.exceptions import MsalServiceError  # type: ignore[import-untyped]

    explanation = redact(str(error)).strip()
    for cause in _causes(error):
        lost = isinstance(cause, ServiceRequestError | ServiceResponseError | MsalServiceError)
        untrusted = "CERTIFICATE_VERIFY_FAILED" in str(cause)
        if (lost and not untrusted) or getattr(cause, "status_code", None) in _PASSING:
            return NotSentError(f"No token for {scope} could be had now: {explanation}")
    return AuthenticationError(f"No token for {scope} could be had: {explanation}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _quiet() -> None:
    # At INFO, azure-core writes a dozen lines a request into the task's log. Who wants them sets the level.
    logger = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def credential_of(settings: ConnectionSettings, cloud: Cloud) -> Credential:
    """Make the credential that a connection asks for.

    :raises ConnectionSettingsError: if what the connection names cannot be used, such as a file without a certificate.
    """
    _quiet()
    try:
        return _credential_of(settings, cloud)
    except ValueError as error:
        raise ConnectionSettingsError(
            f"Connection {settings.conn_id!r} cannot log in by {settings.auth_mode.value!r}: {redact(str(error))}"
        ) from None


def _credential_of(settings: ConnectionSettings, cloud: Cloud) -> Credential:
    from azure import identity

    common: dict[str, Any] = {"authority": cloud.authority}
    if settings.ca_bundle:
        common["connection_verify"] = settings.ca_bundle
    login = {**common, **_PATIENCE}
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
