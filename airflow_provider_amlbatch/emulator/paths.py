"""One spelling for every request path, before a route is looked for.

The SDK builds ARM URLs with ``//``, and Azure matches resource group segments whatever their case. Blob calls come to
the same host as everything else (the account name travels as URL userinfo); what tells them is that storage clients
always send their service version, and that signed URLs always carry a signature.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

#: Where the routes of the blob service live.
BLOB_PREFIX = "/_blob"

#: Fills every data plane path; the values are checked against the workspace that the emulator is.
WORKSPACE = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)

_RESOURCE_GROUPS = re.compile(r"/resourcegroups/", re.IGNORECASE)
_PROVIDER = re.compile(r"/providers/microsoft\.machinelearningservices/", re.IGNORECASE)


class PathMiddleware:
    """Rewrites the path of each request; nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its one spelling."""
        if scope["type"] == "http":
            path = BLOB_PREFIX + scope["path"] if is_blob_call(scope) else _one_spelling(scope["path"])
            scope = dict(scope) | {"path": path}
        await self._app(scope, receive, send)


def is_blob_call(scope: Scope) -> bool:
    """Whether a request is for the storage account."""
    if any(name == b"x-ms-version" for name, _ in scope["headers"]):
        return True
    return any(pair.startswith(b"sig=") for pair in scope["query_string"].split(b"&"))


def _one_spelling(path: str) -> str:
    path = re.sub(r"/{2,}", "/", path)
    path = _RESOURCE_GROUPS.sub("/resourceGroups/", path)
    return _PROVIDER.sub("/providers/Microsoft.MachineLearningServices/", path)
