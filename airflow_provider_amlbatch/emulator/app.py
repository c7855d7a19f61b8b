"""The application: every route of the emulator, over one state folder and one clock."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import BadRequest, ServiceError, Unsupported
from airflow_provider_amlbatch.emulator.interception import InterceptionMiddleware
from airflow_provider_amlbatch.emulator.paths import BLOB_PREFIX, PathMiddleware
from airflow_provider_amlbatch.emulator.routes import ROUTERS, blob
from airflow_provider_amlbatch.emulator.state import StateFolder

log = logging.getLogger(__name__)


def create_app(root: Path, clock: Clock | None = None, base_url: str = "https://localhost") -> FastAPI:
    """Make the application over a state folder.

    :param base_url: the address under which clients reach it; it is written into documents that carry links.
    """
    # The wire types are built when they are first used, and FastAPI then takes a body's own name for a lost alias.
    warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)
    emulator = Emulator(StateFolder(root), clock or Clock(), base_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        emulator.start()
        try:
            yield
        finally:
            emulator.stop()

    app = FastAPI(title="Azure ML emulator", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.emulator = emulator
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ServiceError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_middleware(DefectMiddleware)
    app.add_middleware(InterceptionMiddleware, emulator=emulator, routes=app.routes, answer=_answer)
    app.add_middleware(PathMiddleware)
    return app


def _answer(request: Request, error: ServiceError) -> Response:
    if request.url.path.startswith(BLOB_PREFIX):
        return blob.refusal(error)
    correlation = {"operation": uuid.uuid4().hex, "request": request.headers.get("x-ms-client-request-id", "")}
    return JSONResponse(error.body(correlation), status_code=error.status, headers=error.headers)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _answer(request, error)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | ValidationError)
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'] if part != 'body') or 'body'}: {problem['msg']}"
        for problem in error.errors()
    )
    return _answer(request, BadRequest(f"The request is not valid. {problems}"))


def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return _answer(request, Unsupported(f"The emulator has no {request.method} {request.url.path}."))
    return _answer(request, BadRequest(str(error.detail)))


class DefectMiddleware:
    """Answers for defects of the emulator. Never with a 5xx: the SDK would hide it behind minutes of retries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer it if nobody else does."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            log.exception("The emulator failed at %s %s.", scope["method"], scope["path"])
            refusal = Unsupported(f"The emulator failed at {scope['method']} {scope['path']}: {error!r}")
            await _answer(Request(scope), refusal)(scope, receive, send)
