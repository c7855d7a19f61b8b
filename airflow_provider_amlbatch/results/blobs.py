"""Read ranges of blobs over plain HTTP.

The SDK's own download costs about 4 ms of processor time a blob and keeps what it downloads in memory; here a signed
GET is sent and the body handed on piece by piece. Address and credential come from the caller's ``ContainerClient``.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import certifi
import requests
import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from airflow_provider_amlbatch.aml.blobs import own_errors
from airflow_provider_amlbatch.results.errors import BlobChanged, BlobCorrupt, BlobMissing, DownloadError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

#: Bytes handed on at once.
PIECE = 1 << 20
#: Connections that may be open at the same time.
CONNECTIONS = 16

_VERSION = "2021-12-02"
_SCOPE = "https://storage.azure.com/.default"
_TRY_AGAIN = {408, 429, 500, 502, 503, 504}
_TIMEOUT = urllib3.Timeout(connect=20, read=120)
#: An account key signs a URL for so long; it is signed anew well before.
_SIGNED_FOR = timedelta(hours=4)
_RENEW_BEFORE = 600.0

Pause = Callable[[float], None]


@dataclass(frozen=True)
class Blob:
    """A blob as it was when it was looked at.

    :param size: bytes.
    :param etag: identifies this content; reads are bound to it.
    :param md5: digest of the content, when the service has one.
    """

    name: str
    size: int
    etag: str
    md5: bytes | None = None


class BlobReader:
    """Reads blobs of one container. Threads may share it.

    :param container: says where the container is and how to get in: SAS, account key or token.
    :param verify: file of certificates to trust instead of the usual ones.
    :param tries: how often a broken read is taken up again where it broke, before it is given up.
    :param pause: waits some seconds.
    """

    def __init__(
        self, container: ContainerClient, *, verify: str | None = None, tries: int = 6, pause: Pause = time.sleep
    ) -> None:
        self._container, self._tries, self._pause = container, tries, pause
        parts = urlsplit(container.url)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._query = parts.query
        self._authorization: tuple[dict[str, str], str, float] | None = None
        self._pool = _pool(self._base, verify)

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.clear()

    def find(self, prefix: str = "") -> Iterator[Blob]:
        """List blobs by prefix, in the order of their names.

        :raises AzureMLBatchError: they cannot be listed.
        """
        with own_errors(f"Listing {prefix or 'everything'} in {self._base}"):
            for item in self._container.list_blobs(name_starts_with=prefix or None):
                md5 = item.content_settings.content_md5 if item.content_settings else None
                yield Blob(item.name, item.size, _plain(item.etag), None if md5 is None else bytes(md5))

    def look(self, name: str) -> Blob:
        """Look at one blob.

        :raises BlobMissing: there is none.
        """
        for attempt in range(self._tries):
            try:
                with self._sent("HEAD", name, {}) as response:
                    return _blob(name, response.headers, int(response.headers["Content-Length"]))
            except (HTTPError, OSError, _Again) as error:
                self._wait(name, attempt, error)
        raise AssertionError("unreachable")

    def read(self, blob: Blob, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read a range piece by piece. A broken connection is taken up again at the byte where it broke.

        :raises BlobChanged: the blob is no longer the one that was looked at.
        :raises DownloadError: it cannot be read.
        """
        end = blob.size if length is None else min(blob.size, start + length)
        attempt = 0
        while start < end:
            headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{blob.etag}"'}
            try:
                with self._sent("GET", blob.name, headers) as response:
                    _check_range(blob, response, start, end)
                    for piece in response.stream(PIECE, decode_content=False):
                        start += len(piece)
                        attempt = 0
                        yield piece
                if start < end:
                    raise _Again("the connection ended early")
            except (HTTPError, OSError, _Again) as error:
                self._wait(blob.name, attempt, error)
                attempt += 1

    def _wait(self, name: str, attempt: int, error: Exception) -> None:
        if attempt + 1 >= self._tries:
            raise DownloadError(f"{name} could not be read in {self._tries} tries: {_told(error)}") from None
        self._pause(min(30.0, 0.5 * 2**attempt) * (0.5 + random.random() / 2))  # noqa: S311

    @contextmanager
    def _sent(self, method: str, name: str, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        signed, query = self._signed()
        url = f"{self._base}/{quote(name, safe='/~')}" + (f"?{query}" if query else "")
        response = self._pool.request(
            method,
            url,
            headers={"x-ms-version": _VERSION, "Accept-Encoding": "identity", **signed, **headers},
            preload_content=False,
            redirect=False,
            retries=False,
        )
        try:
            _check_status(name, response, self._base)
            yield response
        except BaseException:
            response.close()
            raise
        response.release_conn()

    def _signed(self) -> tuple[dict[str, str], str]:
        now = time.time()
        if self._authorization is None or now > self._authorization[2] - _RENEW_BEFORE:
            self._authorization = _authorization(self._container, self._query)
        return self._authorization[:2]


class _Again(Exception):
    """Raised when trying again may help."""


def _authorization(container: Any, query: str) -> tuple[dict[str, str], str, float]:
    """Return headers, query string and the time (epoch seconds) until which they hold."""
    credential = container.credential
    if credential is None:
        return {}, query, float("inf")
    if hasattr(credential, "get_token"):
        token = credential.get_token(_SCOPE)
        return {"Authorization": f"Bearer {token.token}"}, "", float(token.expires_on)
    if hasattr(credential, "account_key"):
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        until = datetime.now(UTC) + _SIGNED_FOR
        signature = generate_container_sas(
            credential.account_name,
            container.container_name,
            account_key=credential.account_key,
            permission=ContainerSasPermissions(read=True),
            expiry=until,
        )
        return {}, signature, until.timestamp()
    if hasattr(credential, "signature"):
        return {}, str(credential.signature).lstrip("?"), float("inf")
    raise DownloadError(
        f"The container's credential is a {type(credential).__name__}; a SAS, an account key or a token credential is "
        "needed"
    )


def _pool(url: str, verify: str | None) -> urllib3.PoolManager:
    """Open connections with the proxy and the certificates that ``requests`` would take from the environment."""
    with requests.Session() as session:
        settings = session.merge_environment_settings(url, {}, True, verify, None)
    trusted, proxy = settings["verify"], requests.utils.select_proxy(url, settings["proxies"])
    options: dict[str, Any] = {"maxsize": CONNECTIONS, "block": False, "timeout": _TIMEOUT}
    if isinstance(trusted, str) and Path(trusted).is_dir():
        options["ca_cert_dir"] = trusted
    else:
        options["ca_certs"] = trusted if isinstance(trusted, str) else certifi.where()
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _check_status(name: str, response: BaseHTTPResponse, base: str) -> None:
    status = response.status
    if status in (200, 206):
        return
    code = response.headers.get("x-ms-error-code", response.reason)
    if status == 404:
        raise BlobMissing(f"{name} does not exist in {base} ({code})")
    if status == 412:
        raise BlobChanged(f"{name} changed while it was read: collect again when nothing writes to it")
    if status in _TRY_AGAIN:
        raise _Again(f"{status} {code}")
    raise DownloadError(f"{name} could not be read: {status} {code}")


def _check_range(blob: Blob, response: BaseHTTPResponse, start: int, end: int) -> None:
    if _plain(response.headers.get("ETag", "")) != blob.etag:
        raise BlobChanged(f"{blob.name} changed while it was read: collect again when nothing writes to it")
    found = response.headers.get("Content-Range")
    whole = response.status == 200 and start == 0 and end == blob.size
    if not whole and found != f"bytes {start}-{end - 1}/{blob.size}":
        raise BlobCorrupt(f"{blob.name}: bytes {start}-{end - 1}/{blob.size} were asked for, {found} came")


def _blob(name: str, headers: Mapping[str, str], size: int) -> Blob:
    digest = headers.get("Content-MD5")
    return Blob(name, size, _plain(headers.get("ETag", "")), base64.b64decode(digest) if digest else None)


def _plain(etag: str) -> str:
    return etag.strip('"')


def _told(error: Exception) -> str:
    """Describe an error without the URL, which may hold a signature."""
    return str(error) if isinstance(error, _Again) else type(error).__name__
