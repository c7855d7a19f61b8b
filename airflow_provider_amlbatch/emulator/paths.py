"""One spelling for every request path, before a route is looked for.

The SDK builds ARM URLs with ``//``, and Azure matches resource group segments whatever their case. Blob calls come to
the same host as everything else (the account name travels as URL userinfo), so a path whose first part is a container
belongs to the blob service.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_amlbatch.emulator.blobs import BlobStore

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

    def __init__(self, app: ASGIApp, blobs: BlobStore) -> None:
        self._app = app
        self._blobs = blobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its one spelling."""
        if scope["type"] == "http":
            scope = dict(scope) | {"path": self._rewrite(scope["path"])}
        await self._app(scope, receive, send)

    def _rewrite(self, path: str) -> str:
        container, _, name = path.lstrip("/").partition("/")
        if container and self._blobs.has_container(container):
            return f"{BLOB_PREFIX}/{container}/{name}" if name else f"{BLOB_PREFIX}/{container}"
        path = re.sub(r"/{2,}", "/", path)
        path = _RESOURCE_GROUPS.sub("/resourceGroups/", path)
        return _PROVIDER.sub("/providers/Microsoft.MachineLearningServices/", path)
