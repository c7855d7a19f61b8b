"""A login service for tests: takes secrets, signed assertions, federated tokens and managed identities, or fails."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from airflow_provider_amlbatch.testing import ServedEmulator

#: Header that App Service wants with a question for a managed identity's token.
IDENTITY_HEADER = "known-to-the-machine-only"


@dataclass
class Directory:
    """Who may log in, and who did.

    :param emulator: its tokens are given.
    :param certificate: whose key signs the assertions that are believed.
    :param federated: the token of a pod's service account.
    :param breaks: ``reset`` to hang up, a number to answer with that status, None to work.
    :param logins: how each token was earned, in order.
    """

    emulator: ServedEmulator
    certificate: x509.Certificate | None = None
    federated: str | None = None
    breaks: str | int | None = None
    logins: list[str] = field(default_factory=list)
    url: str = ""

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Answer a question for a token, as RFC 6749 and RFC 7523 say."""
        identity = self.emulator.services.identity
        assertion = form.get("client_assertion")
        if form.get("client_id") != identity.client_id:
            return {"error": "unauthorized_client", "error_description": "AADSTS700016: no such application"}
        if form.get("client_secret") == identity.client_secret:
            return self.given("secret", form)
        if assertion is not None and assertion == self.federated:
            return self.given("federated", form)
        if assertion is not None and self.certificate is not None and self._signed(assertion):
            return self.given("certificate", form)
        return {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}

    def given(self, how: str, form: dict[str, str]) -> dict[str, Any]:
        """Give a token for the audience that is asked for."""
        self.logins.append(how)
        audience = (form.get("resource") or form.get("scope", "").split(" ")[0]).removesuffix("/.default")
        return {"token_type": "Bearer", "expires_in": 3600, "access_token": self.emulator.token(audience)}

    def _signed(self, assertion: str) -> bool:
        assert self.certificate is not None
        key: Any = self.certificate.public_key()
        # The certificate is named by its thumbprint, of the one kind or of the other.
        known = {_base64(self.certificate.fingerprint(kind)) for kind in (hashes.SHA1(), hashes.SHA256())}
        header = jwt.get_unverified_header(assertion)
        try:
            claims = jwt.decode(assertion, key, algorithms=["RS256", "PS256"], options={"verify_aud": False})
        except jwt.InvalidSignatureError:
            return False
        named = {str(header[name]).rstrip("=") for name in ("x5t", "x5t#S256") if name in header}
        return (
            bool(named)
            and named <= known
            and claims["iss"] == claims["sub"] == self.emulator.services.identity.client_id
        )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _handler(directory: Directory) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Write nothing."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            if parts.path == "/metadata/endpoints":
                clouds = directory.emulator.session().get(f"{directory.emulator.url}{self.path}").json()
                for cloud in clouds:
                    cloud["authentication"]["loginEndpoint"] = directory.url
                self.answer(200, clouds)
            elif parts.path.endswith("/.well-known/openid-configuration"):
                tenant = f"{directory.url}{parts.path.partition('/.well-known')[0]}"
                self.answer(
                    200, {"issuer": tenant, **{f"{w}_endpoint": f"{tenant}/{w}" for w in ("authorization", "token")}}
                )
            elif parts.path == "/msi/token":
                good = self.headers.get("X-IDENTITY-HEADER") == IDENTITY_HEADER
                self.managed("app service", good, query)
            elif parts.path == "/metadata/identity/oauth2/token":
                self.managed("machine", self.headers.get("Metadata") == "true", query)
            else:
                self.answer(404, {})

        def managed(self, how: str, good: bool, query: dict[str, str]) -> None:
            if directory.breaks is not None:
                self.fail()
                return
            answer = directory.given(how, query) if good else {"error": "unauthorized"}
            self.answer(200 if good else 400, {**answer, **query, "expires_on": "4000000000"})

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            if directory.breaks is not None:
                self.fail()
                return
            answer = directory.token(form)
            self.answer(401 if "error" in answer else 200, answer)

        def fail(self) -> None:
            if isinstance(directory.breaks, int):
                self.answer(directory.breaks, {"error": "server_error", "error_description": "AADSTS90033: try later"})
            else:
                self.close_connection = True

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def served(directory: Directory, *, tls: bool = True) -> Iterator[Directory]:
    """Serve a directory, under the emulator's certificate."""
    server = ThreadingHTTPServer(("localhost", 0), _handler(directory))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = directory.emulator.root / "tls"
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    directory.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield directory
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
