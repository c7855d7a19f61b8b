"""A service that answers as a test says, mounted below ``requests`` where the network would be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter

from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings

SETTINGS = ConnectionSettings(
    subscription_id="11111111-2222-3333-4444-555555555555", resource_group="rg", workspace_name="ws", tenant_id="t"
)


@dataclass(frozen=True)
class Asked:
    """One request that reached the service."""

    method: str
    url: str
    body: Any
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.url).path.replace(SETTINGS.workspace_scope, "{workspace}")

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}


@dataclass(frozen=True)
class Reply:
    """What a handler may return instead of a JSON value."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None


Handler = Callable[[Asked], Any]


class Token:
    """Stands for azure-identity's access token."""

    def __init__(self, token: str, expires_on: int) -> None:
        self.token, self.expires_on = token, expires_on


class CountingCredential:
    """Gives token-1, token-2, ..., each good for an hour of the given clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.given = 0

    def get_token(self, *scopes: str) -> Token:
        assert scopes == ("https://management.core.windows.net/.default",)
        self.given += 1
        return Token(f"token-{self.given}", int(self._clock()) + 3600)


class ScriptedService(BaseAdapter):
    """Answers by the first handler whose verb and path pattern fit; records what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.slept: list[float] = []
        self.now = 1000.0
        self._handlers: list[tuple[str, re.Pattern[str], Handler]] = []
        self.on("GET", r"\{workspace\}", lambda _: {
            "id": SETTINGS.workspace_scope, "name": "ws", "location": "here",
            "properties": {"discoveryUrl": "https://region.test/discovery"},
        })  # fmt: skip
        services = dict.fromkeys(("api", "history", "studio"), "https://region.test/")
        self.on("GET", "/discovery", lambda _: services)
        self.credential = CountingCredential(lambda: self.now)

    def on(self, method: str, pattern: str, handler: Handler) -> None:
        """Answer a verb on paths that fit a pattern; later handlers go before earlier ones."""
        self._handlers.insert(0, (method, re.compile(pattern), handler))

    def session(self) -> Session:
        """A session that ends here."""
        http = requests.Session()
        http.trust_env = False
        http.mount("https://", self)
        return Session(SETTINGS, http=http, credential=self.credential, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def calls(self, method: str, pattern: str) -> list[Asked]:
        """The requests that were received for a verb and a path."""
        return [asked for asked in self.asked if asked.method == method and re.fullmatch(pattern, asked.path)]

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        body = json.loads(request.body) if request.body else None
        asked = Asked(str(request.method), str(request.url), body, request.headers)
        self.asked.append(asked)
        for method, pattern, handler in self._handlers:
            if method == asked.method and pattern.fullmatch(asked.path):
                return _response(request, handler(asked))
        return _response(request, Reply(404, {"error": {"code": "NoRoute", "message": asked.path}}))

    def close(self) -> None:
        """Nothing to close."""


def in_turn(*answers: Any) -> Handler:
    """Give one answer after the other, and the last one for ever. An exception is raised."""
    rest = list(answers)

    def handler(_: Asked) -> Any:
        answer = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


def _response(request: requests.PreparedRequest, answer: Any) -> requests.Response:
    reply = answer if isinstance(answer, Reply) else Reply(body=answer)
    response = requests.Response()
    response.status_code = reply.status
    response.headers.update(reply.headers)
    response.request, response.url = request, str(request.url)
    text = reply.text if reply.text is not None else ("" if reply.body is None else json.dumps(reply.body))
    response._content = text.encode()
    return response
