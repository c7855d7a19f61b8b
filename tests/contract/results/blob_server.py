"""A blob container over HTTP with faults on demand: ranges, ETags, If-Match, MD5, listing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from azure.storage.blob import ContainerClient


@dataclass
class Container:
    """What is stored, what has been asked for, and what is to go wrong.

    :param cut: byte counts after which the connections of the next GETs of a blob break.
    :param refuse: statuses of the next GETs of a blob.
    :param changes: blobs that get this content after so many GETs.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    md5: dict[str, bytes | None] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    refuse: dict[str, list[int]] = field(default_factory=dict)
    changes: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    served: int = 0
    url: str = ""
    lock: RLock = field(default_factory=RLock)

    def client(self) -> ContainerClient:
        """The SDK's client for this container, with a SAS."""
        return ContainerClient.from_container_url(f"{self.url}?sp=rl&sig=secret%2Bsignature")

    def etag(self, name: str) -> str:
        """Identity of the present content."""
        return f"0x{hash(self.blobs[name]) & 0xFFFFFFFFFFFF:X}"

    def digest(self, name: str) -> bytes | None:
        """MD5 as the service tells it."""
        return self.md5.get(name, hashlib.md5(self.blobs[name]).digest())


@contextmanager
def serve(container: Container) -> Iterator[Container]:
    """Serve a container on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._blob(body=False)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parse_qs(parts.query).get("comp") == ["list"]:
                self._list(parse_qs(parts.query).get("prefix", [""])[0])
            else:
                self._blob(body=True)

        def _list(self, prefix: str) -> None:
            entries = "".join(
                f"<Blob><Name>{escape(name)}</Name><Properties><Etag>{container.etag(name)}</Etag>"
                f"<Content-Length>{len(content)}</Content-Length>{self._md5(name)}<BlobType>BlockBlob</BlobType>"
                "</Properties></Blob>"
                for name, content in sorted(container.blobs.items())
                if name.startswith(prefix)
            )
            text = f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>"
            self._answer(200, text.encode(), {"Content-Type": "application/xml"})

        def _md5(self, name: str) -> str:
            digest = container.digest(name)
            return "" if digest is None else f"<Content-MD5>{base64.b64encode(digest).decode()}</Content-MD5>"

        def _blob(self, body: bool) -> None:
            parts = urlsplit(self.path)
            name = unquote(parts.path).removeprefix("/c/")
            with container.lock:
                container.asked.append((name, self.headers.get("Range", "")))
                if "sig=secret%2Bsignature" not in parts.query:
                    return self._answer(403, b"", {"x-ms-error-code": "AuthenticationFailed"})
                if name in container.changes and body:
                    left, content = container.changes[name]
                    container.changes[name] = (left - 1, content)
                    if left == 0:
                        container.blobs[name] = content
                if name not in container.blobs:
                    return self._answer(404, b"", {"x-ms-error-code": "BlobNotFound"})
                if body and container.refuse.get(name):
                    return self._answer(container.refuse[name].pop(0), b"", {"x-ms-error-code": "ServerBusy"})
                content, etag = container.blobs[name], f'"{container.etag(name)}"'
                stop = container.cut[name].pop(0) if body and container.cut.get(name) else None
            if self.headers.get("If-Match") not in (None, etag):
                return self._answer(412, b"", {"x-ms-error-code": "ConditionNotMet"})
            headers = {"ETag": etag, "Last-Modified": "Sat, 21 Nov 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}
            if "Range" not in self.headers and (digest := container.digest(name)) is not None:
                headers["Content-MD5"] = base64.b64encode(digest).decode()
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if found:
                start, end = int(found[1]), min(int(found[2]), len(content) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
                content = content[start : end + 1]
            self._answer(206 if found else 200, content, headers, body=body, stop=stop)
            return None

        def _answer(
            self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True, stop: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[:stop])
            if stop is not None:
                self.close_connection = True
            with container.lock:
                container.served += len(content[:stop]) if status == 206 else 0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    container.url = f"http://127.0.0.1:{server.server_port}/c"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield container
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
