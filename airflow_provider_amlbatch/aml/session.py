"""The only HTTP in the provider: sends a :class:`~airflow_provider_amlbatch.aml.call.Call` and reads the reply.

A session may be used from several threads. It follows no redirect, keeps no cookie, reads no ``.netrc``, and sends its
token to nobody but the resource manager and the services that the workspace's discovery document names.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from airflow_provider_amlbatch import __version__
from airflow_provider_amlbatch.aml import arm, cloud
from airflow_provider_amlbatch.aml.auth import Credential, Tokens, credential_of
from airflow_provider_amlbatch.aml.call import WORKSPACE, Call, Page
from airflow_provider_amlbatch.aml.errors import (
    AuthenticationError,
    AzureMLBatchError,
    ConnectionSettingsError,
    NotSentError,
    ServiceError,
    ServiceUnavailableError,
    ThrottledError,
    UnexpectedReplyError,
    UnreachableError,
    from_response,
    redact,
)
from airflow_provider_amlbatch.aml.settings import ConnectionSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

#: Seconds to wait for a connection, and between two bytes of an answer.
TIMEOUT = (10.0, 60.0)
#: A call is tried so often unless told otherwise, and no longer than so many seconds.
ATTEMPTS = 6
PATIENCE = 120.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
#: Connections kept open at once to one host.
POOL_SIZE = 16

#: urllib3's errors before a request was sent.
_NEVER_SENT = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")


class Session:
    """Sends calls to the services of one workspace.

    :param settings: the connection.
    :param http: carries out requests; handed in by tests.
    :param credential: gives tokens; made from the settings unless handed in.
    :param clock: current epoch seconds.
    :param sleep: waits between two tries, in seconds.
    :param attempts: how often a call is tried; 1 for somebody who wants to know at once.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        http: requests.Session | None = None,
        credential: Credential | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.settings = settings
        self._http = http or _plain_http()
        self._credential = credential
        self._clock = clock
        self._sleep = sleep
        self._attempts = attempts
        self._discovery = threading.RLock()

    def send(self, call: Call[T]) -> T:
        """Carry out a call, again when that is safe and may help.

        A retriable call is repeated after a throttling, a failure of the service, and a lost or broken answer; any
        other one only after a throttling and when no connection could be made, because then nothing happened.

        :raises AzureMLBatchError: as drawn in :mod:`~airflow_provider_amlbatch.aml.errors`.
        """
        repeat = _may_help if call.retriable else _nothing_happened
        return self._patiently(repeat, lambda: self.send_once(call))

    def send_once(self, call: Call[T]) -> T:
        """Carry out a call with one try, for a caller that comes again anyway."""
        return _read(call, self._authorized(call))

    def pages(self, first: Call[Page[T]]) -> Iterator[T]:
        """Go through all items of a paged list."""
        call = first
        while True:
            page = self.send(call)
            yield from page.value
            token = page.continuation_token
            if token is None or token == call.params.get(call.next_page):
                return
            call = replace(first, params={**first.params, first.next_page: token})

    def download(self, signed_url: str, *, last_bytes: int | None = None) -> bytes:
        """Read the content behind a signed URL, without a token.

        :param last_bytes: read only the end, if the server can do that.
        """
        headers = {} if last_bytes is None else {"Range": f"bytes=-{last_bytes}"}
        response = self._patiently(_may_help, lambda: self._request("GET", signed_url, headers=headers))
        return response.content if last_bytes is None else response.content[-last_bytes:]

    @cached_property
    def cloud(self) -> cloud.Cloud:
        """The cloud of the connection, read from its metadata when the connection names a list."""
        url = self.settings.metadata_url
        if url is None:
            return cloud.KNOWN[self.settings.cloud]
        entries = self._open(cloud.get_metadata(url))
        return cloud.from_metadata(entries, self.settings.cloud)

    @cached_property
    def workspace(self) -> arm.Workspace:
        """The workspace as the resource manager described it when first asked."""
        return self.send(arm.get_workspace())

    @cached_property
    def services(self) -> dict[str, str]:
        """Base URLs of the workspace's services, by name."""
        url = self.workspace.properties.discovery_url
        if not url:
            raise UnexpectedReplyError(f"Workspace {self.settings.workspace_name!r} has no discovery URL.")
        return self._open(arm.get_services(url))

    @property
    def studio(self) -> str:
        """Base URL of the web pages that show runs."""
        return self.services.get("studio") or "https://ml.azure.com"

    def token(self, *, instead_of: str | None = None) -> str:
        """Give a token for the resource manager and all services.

        :param instead_of: a token that was refused.
        """
        return self._tokens.get(self.cloud.scope, instead_of=instead_of)

    @cached_property
    def credential(self) -> Credential:
        """The identity behind the tokens."""
        return self._credential or credential_of(self.settings, self.cloud)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.credential, self._clock)

    def _authorized(self, call: Call[Any]) -> requests.Response:
        with self._discovery:
            url = self._base(call.service) + call.path.replace(WORKSPACE, self.settings.workspace_scope)
            token = self.token()
        try:
            return self._request(call.method, url, token, params=call.params, body=call.body)
        except AuthenticationError:
            fresh = self.token(instead_of=token)
        return self._request(call.method, url, fresh, params=call.params, body=call.body)

    def _base(self, service: str) -> str:
        if service == arm.ARM:
            return self.cloud.resource_manager
        if not service:
            raise ValueError("A call to a whole URL never carries a token; it is sent by the session itself.")
        # Every service of a region lives on one host; not every discovery document repeats it under each name.
        base = self.services.get(service) or self.services.get("api")
        if base is None:
            raise UnexpectedReplyError(f"The workspace's discovery document names no service {service!r}.")
        return base

    def _open(self, call: Call[T]) -> T:
        """Carry out a call to a whole URL, without a token."""
        return self._patiently(_may_help, lambda: _read(call, self._request(call.method, call.path)))

    def _patiently(self, repeat: Callable[[BaseException], bool], work: Callable[[], R]) -> R:
        retrying = Retrying(
            retry=retry_if_exception(repeat),
            wait=_pause,
            stop=stop_after_attempt(self._attempts) | stop_before_delay(PATIENCE),
            sleep=self._sleep,
            before_sleep=_log_repetition,
            reraise=True,
        )
        return retrying(work)

    def _request(
        self,
        method: str,
        url: str,
        token: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        asked = f"{method} {urlsplit(url).path}"
        try:
            response = self._http.request(
                method,
                url,
                params={name: _query(value) for name, value in (params or {}).items() if value is not None},
                json=body,
                headers=headers,
                auth=_Bearer(token),
                timeout=TIMEOUT,
                allow_redirects=False,
                verify=self.settings.ca_bundle,  # None lets requests look at REQUESTS_CA_BUNDLE
            )
        except requests.RequestException as error:
            raise self._no_answer(asked, url, error) from None
        if response.status_code >= 300:
            raise from_response(response, asked=asked)
        return response

    def _no_answer(self, asked: str, url: str, error: requests.RequestException) -> AzureMLBatchError:
        cause: Any = error.args[0] if error.args else error
        cause = getattr(cause, "reason", None) or cause
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return ConnectionSettingsError(
                f"The certificate of {urlsplit(url).netloc} is not trusted; name the certificates to trust in the "
                f"field 'ca_bundle' of connection {self.settings.conn_id!r} or in REQUESTS_CA_BUNDLE."
            )
        kind = NotSentError if type(cause).__name__ in _NEVER_SENT else UnreachableError
        return kind(f"{asked} got no answer: {redact(str(cause))[:300]}")


class _Bearer(AuthBase):
    """Sets the header itself, so that requests does not look for a login in ``.netrc``."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _plain_http() -> requests.Session:
    http = requests.Session()
    http.mount("https://", HTTPAdapter(pool_connections=4, pool_maxsize=POOL_SIZE))
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    http.headers["User-Agent"] = f"airflow-provider-amlbatch/{__version__}"
    return http


def _query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(call: Call[T], response: requests.Response) -> T:
    try:
        return call.read(response.json() if response.content else None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # pydantic's errors are ValueErrors
        explanation = str(error).splitlines()[0][:200]
        raise UnexpectedReplyError(
            f"{call.method} {call.path} was answered with something else than expected: {redact(explanation)}"
        ) from None


def _may_help(error: BaseException) -> bool:
    return isinstance(error, (ThrottledError, ServiceUnavailableError, UnreachableError, UnexpectedReplyError))


def _nothing_happened(error: BaseException) -> bool:
    return isinstance(error, (ThrottledError, NotSentError))


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_for = error.retry_after if isinstance(error, ServiceError) else None
    own = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (state.attempt_number - 1))
    return max(own, asked_for or 0.0)


def _log_repetition(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s Trying again in %.1f s.", error, pause)
