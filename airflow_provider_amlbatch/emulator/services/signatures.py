"""Signatures of the storage service: Shared Key headers, and shared access signatures in URLs.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
https://learn.microsoft.com/rest/api/storageservices/create-service-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import Forbidden, Unauthorized
from airflow_provider_amlbatch.emulator.state import Identity

#: Version of the string to sign that our own signed URLs follow.
VERSION = "2021-08-06"

#: Since this version the encryption scope is signed too.
_ENCRYPTION_SCOPE_SINCE = "2020-12-06"
#: Before this version the resource type was not signed.
_OLDEST = "2018-11-09"

_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass(frozen=True)
class StorageRequest:
    """A request to the storage account, as far as signatures are concerned.

    ``raw_path`` is the path as it was sent, still encoded; ``permissions`` are the letters of which a shared access
    signature must grant one.
    """

    method: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    container: str
    blob: str
    permissions: str


class Signatures:
    """Makes and checks signatures with the account's key."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._account = identity.account_name
        self._key = base64.b64decode(identity.account_key)
        self._clock = clock

    def sign_blob(self, container: str, blob: str, permissions: str, lifetime: timedelta) -> str:
        """Query string that lets its bearer do something with one blob for a while."""
        expiry = (self._clock.now() + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"sv": VERSION, "sr": "b", "se": expiry, "sp": permissions, "spr": "https"}
        text = _service_text(query, f"/blob/{self._account}/{container}/{blob}")
        return urlencode(query | {"sig": self._sign(text)}, quote_via=quote)

    def check(self, request: StorageRequest) -> None:
        """Let a request in.

        :raises Unauthorized: if it is not signed at all.
        :raises Forbidden: if the signature is wrong, has expired or does not allow this.
        """
        if "sig" in request.query:
            self._check_url(request)
        elif request.headers.get("authorization", "").startswith("SharedKey "):
            self._check_header(request)
        elif "authorization" in request.headers:
            raise _failed("the emulator's storage account takes Shared Key and shared access signatures only")
        else:
            raise Unauthorized(
                "Server failed to authenticate the request: it carries neither an 'Authorization' header nor a "
                "shared access signature.",
                code="NoAuthenticationInformation",
            )

    def _check_header(self, request: StorageRequest) -> None:
        account, _, signature = request.headers["authorization"].removeprefix("SharedKey ").partition(":")
        if account != self._account:
            raise _failed(f"the account {account!r} does not exist here")
        # Microsoft's own clients differ in the order of headers that share a beginning: by characters, or by words.
        orders = ("", "-")
        if not any(self._matches(_header_text(request, account, ignored), signature) for ignored in orders):
            raise _failed("the signature does not match. Check the account key")

    def _check_url(self, request: StorageRequest) -> None:
        query = request.query
        version = query.get("sv", "")
        if version < _OLDEST:
            raise _failed(f"the emulator checks signatures of version {_OLDEST} and later, not {version!r}")
        for unsupported, name in (("si", "stored access policies"), ("skoid", "user delegation keys")):
            if unsupported in query:
                raise _failed(f"the emulator has no {name}")
        of_account = "ss" in query
        text = _account_text(query, self._account) if of_account else _service_text(query, self._resource(request))
        if not self._matches(text, query["sig"]):
            raise _failed("the signature of the URL does not match")
        self._check_time(query)
        if of_account:
            _check_account_scope(request)
        if not set(request.permissions) & set(query.get("sp", "")):
            raise Forbidden(
                f"The signature grants {query.get('sp', '')!r}; this needs one of {request.permissions!r}.",
                code="AuthorizationPermissionMismatch",
            )

    def _resource(self, request: StorageRequest) -> str:
        kind = request.query.get("sr")
        if kind == "c":
            return f"/blob/{self._account}/{request.container}"
        if kind == "b":
            return f"/blob/{self._account}/{request.container}/{request.blob}"
        raise _failed(f"the emulator checks signatures of blobs and containers, not sr={kind!r}")

    def _check_time(self, query: Mapping[str, str]) -> None:
        now = self._clock.now()
        start = _instant(query["st"]) if "st" in query else None
        expiry = _instant(query.get("se", ""))
        if expiry is None or now >= expiry:
            raise _failed(f"the signature expired at {query.get('se')!r}, and now it is {now:%Y-%m-%dT%H:%M:%SZ}")
        if start is not None and now < start - timedelta(minutes=15):  # clocks differ
            raise _failed(f"the signature is not valid before {query['st']!r}")

    def _matches(self, text: str, signature: str) -> bool:
        return hmac.compare_digest(self._sign(text).encode(), signature.encode())

    def _sign(self, text: str) -> str:
        return base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()


def _header_text(request: StorageRequest, account: str, ignored: str) -> str:
    headers = dict(request.headers)
    if headers.get("content-length") == "0":
        del headers["content-length"]
    lines = [request.method, *(headers.get(name, "") for name in _SIGNED_HEADERS)]

    def order(name: str) -> tuple[str, str]:
        return name.replace(ignored, "") if ignored else name, name

    own = sorted((name for name in headers if name.startswith("x-ms-")), key=order)
    lines += [f"{name}:{headers[name].strip()}" for name in own]
    lines.append(f"/{account}{request.raw_path}")
    lines += [f"{name.lower()}:{value}" for name, value in sorted(request.query.items())]
    return "\n".join(lines)


def _service_text(query: Mapping[str, str], resource: str) -> str:
    def of(*names: str) -> list[str]:
        return [query.get(name, "") for name in names]

    lines = [*of("sp", "st", "se"), resource, *of("si", "sip", "spr", "sv", "sr"), ""]
    if query["sv"] >= _ENCRYPTION_SCOPE_SINCE:
        lines += of("ses")
    return "\n".join(lines + of("rscc", "rscd", "rsce", "rscl", "rsct"))


def _account_text(query: Mapping[str, str], account: str) -> str:
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"]
    if query["sv"] >= _ENCRYPTION_SCOPE_SINCE:
        names.append("ses")
    return "\n".join([account, *(query.get(name, "") for name in names), ""])


def _check_account_scope(request: StorageRequest) -> None:
    if "b" not in request.query["ss"]:
        raise Forbidden("The signature is not for the blob service.", code="AuthorizationServiceMismatch")
    needed = "o" if request.blob else "c" if request.container else "s"
    if needed not in request.query.get("srt", ""):
        raise Forbidden(
            f"The signature is for resource types {request.query.get('srt', '')!r}; this needs {needed!r}.",
            code="AuthorizationResourceTypeMismatch",
        )


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _failed(why: str) -> Forbidden:
    return Forbidden(f"Server failed to authenticate the request: {why}.", code="AuthenticationFailed")
