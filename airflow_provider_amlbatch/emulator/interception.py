"""Stands before all routes: counts the requests to the services, and does to them what an armed fault says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_amlbatch.emulator.connection import reset, transport_of
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import ServiceError
from airflow_provider_amlbatch.emulator.faults import NO_OPERATION, Fault, FaultKind
from airflow_provider_amlbatch.emulator.tokens import ARM_AUDIENCES

#: What people and tests use to look at the emulator is neither counted nor broken.
UNTOUCHED = ("/_emulator/", "/studio")

#: How a refusal is written down; it depends on the service.
Answer = Callable[[Request, ServiceError], Response]

_CODES = {429: "TooManyRequests", 500: "InternalServerError", 503: "ServiceUnavailable"}

#: A slow answer comes in so many pieces.
_PIECES = 10

#: So often a slow answer looks whether its client is still there, in seconds.
_LOOK = 0.1

#: A client that does not close its side is cut off after so many seconds.
_PATIENCE = 2.0


class InjectedError(ServiceError):
    """Raised by no service: the answer of a fault, and the only one beyond 4xx."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__(f"An armed fault answers with {status}.", _CODES[status], headers)
        self.status = status


def operation_name(endpoint: Callable[..., Any]) -> str:
    """The name of an operation: ``module.function`` of the handler."""
    return f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"


class InterceptionMiddleware:
    """Counts requests and lets armed faults happen. Stands behind the one that gives paths their one spelling."""

    def __init__(self, app: ASGIApp, emulator: Emulator, routes: list[BaseRoute], answer: Answer) -> None:
        self._app = app
        self._emulator = emulator
        self._routes = routes
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or break it."""
        if scope["type"] != "http" or scope["path"].startswith(UNTOUCHED):
            await self._app(scope, receive, send)
            return
        fault, operation = self._fault(scope)
        if fault is None:
            await self._counted(scope, receive, send)
        elif fault.kind is FaultKind.EXPIRE_TOKEN:
            await self._counted(self._with_expired_token(scope), receive, send)
        elif fault.kind is FaultKind.STATUS:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._emulator.requests.add(operation, str(fault.status))
            await self._answer(Request(scope), InjectedError(fault.status, headers))(scope, receive, send)
        elif fault.kind is FaultKind.SLOW:
            await self._counted(scope, receive, _Trickle(transport_of(scope), send, fault.seconds))
        else:
            await self._broken(fault.kind, operation, scope, receive, send)

    def _fault(self, scope: Scope) -> tuple[Fault | None, str]:
        if not self._emulator.faults.is_any_armed:
            return None, ""
        operation = self._operation(scope)
        with_token = any(
            name == b"authorization" and value[:7].lower() == b"bearer " for name, value in scope["headers"]
        )
        fault = self._emulator.faults.take(operation, scope["method"], scope["path"], with_token=with_token)
        return fault, operation

    def _operation(self, scope: Scope) -> str:
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
                return operation_name(route.endpoint)
        return NO_OPERATION

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The router has left the handler in the scope by now. Counted before the client can see the answer.
                self._count(scope, str(message["status"]))
            await send(message)

        await self._app(scope, receive, counting)

    def _count(self, scope: Scope, answer: str) -> None:
        endpoint = scope.get("endpoint")
        self._emulator.requests.add(NO_OPERATION if endpoint is None else operation_name(endpoint), answer)

    def _with_expired_token(self, scope: Scope) -> Scope:
        token = self._emulator.tokens.issue(ARM_AUDIENCES[0], lifetime=timedelta(seconds=-1))
        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        return dict(scope) | {"headers": [*headers, (b"authorization", f"Bearer {token}".encode())]}

    async def _broken(self, kind: FaultKind, operation: str, scope: Scope, receive: Receive, send: Send) -> None:
        transport = transport_of(scope)
        if kind is FaultKind.TRUNCATE:
            self._emulator.requests.add(operation, "truncated")
            await self._app(scope, receive, _Half(scope["method"], transport, send))
        else:
            self._emulator.requests.add(operation, "reset")
            if kind is FaultKind.RESET_AFTER:
                await self._app(scope, receive, _swallow)
            reset(transport)
        with suppress(TimeoutError):
            await asyncio.wait_for(_disconnected(receive), _PATIENCE)
        transport.abort()


class _Trickle:
    """Sends an answer slowly: the first message of its body in pieces, or all of it late when it has no body."""

    def __init__(self, transport: asyncio.Transport, send: Send, seconds: float) -> None:
        self._transport = transport
        self._send = send
        self._seconds = seconds
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        start, self._start = self._start, None
        body = message.get("body", b"")
        if not body:
            await self._pause(self._seconds)
            await self._send(start)
            await self._send(message)
            return
        await self._send(start)
        size = -(-len(body) // _PIECES)
        for offset in range(0, len(body), size):
            await self._pause(self._seconds / _PIECES)
            await self._send({"type": message["type"], "body": body[offset : offset + size], "more_body": True})
        await self._send({"type": message["type"], "body": b"", "more_body": message.get("more_body", False)})

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._transport.is_closing():  # nobody waits any more
            await asyncio.sleep(min(left, _LOOK))


class _Half:
    """Sends the head of an answer and half of the first message of its body, and closes the connection."""

    def __init__(self, method: str, transport: asyncio.Transport, send: Send) -> None:
        self._method = method
        self._transport = transport
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None:
            return
        start, self._start = self._start, None
        body = message.get("body", b"")
        if not body or self._method == "HEAD":
            reset(self._transport)  # there is no half of nothing
            return
        await self._send(start)
        await self._send({"type": message["type"], "body": body[: len(body) // 2], "more_body": True})
        self._transport.close()


async def _swallow(_: MutableMapping[str, Any]) -> None:
    return


async def _disconnected(receive: Callable[[], Awaitable[Message]]) -> None:
    # The server takes it for its own defect when the application returns before the connection is gone.
    while (await receive())["type"] != "http.disconnect":
        pass
