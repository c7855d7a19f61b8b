"""The blob service of the storage account: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Annotated
from xml.etree import ElementTree

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from airflow_provider_amlbatch.emulator.blobs import Blob, BlobProperties
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import BadRequest, ServiceError, Unsupported
from airflow_provider_amlbatch.emulator.paths import BLOB_PREFIX
from airflow_provider_amlbatch.emulator.routes.access import TheEmulator
from airflow_provider_amlbatch.emulator.routes.blob_xml import error_xml, list_blobs_xml, list_containers_xml
from airflow_provider_amlbatch.emulator.services.blob import Conditions, RangeNotSatisfiable, http_date, read_range
from airflow_provider_amlbatch.emulator.services.signatures import StorageRequest

_META = "x-ms-meta-"
#: Smaller content is answered in one piece.
_ONE_PIECE = 1 << 20
#: A list of 50,000 blocks, the most that Azure takes, is smaller.
_LONGEST_BODY = 16 << 20

#: Letters of which a shared access signature must grant one, by method and ``comp``.
_PERMISSIONS = {
    ("GET", "list"): "l",
    ("GET", ""): "r",
    ("HEAD", ""): "r",
    ("GET", "metadata"): "r",
    ("PUT", ""): "cw",
    ("PUT", "block"): "cw",
    ("PUT", "blocklist"): "cw",
    ("PUT", "appendblock"): "aw",
    ("PUT", "metadata"): "w",
    ("DELETE", ""): "d",
}

#: Requests that would be something else than their method and ``comp`` say.
_OTHER_REQUESTS = (
    "x-ms-copy-source",
    "x-ms-structured-body",
    "x-ms-content-crc64",
    "x-ms-lease-action",
    "x-ms-blob-condition-maxsize",
)


class BlobCall:
    """A request to the account: what it asks for, once its signature was found good."""

    def __init__(self, request: Request, emulator: Emulator) -> None:
        self.query = dict(request.query_params)
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.container = str(request.path_params.get("container", ""))
        self.name = str(request.path_params.get("name", ""))
        self.comp = self.query.get("comp", "")
        self.conditions = Conditions.of(self.headers)
        permissions = _PERMISSIONS.get((request.method, self.comp))
        if permissions is None or "snapshot" in self.query or "versionid" in self.query:
            shown = {name: value for name, value in self.query.items() if name != "sig"}
            raise Unsupported(f"The emulator's blob service has no {request.method} with {shown}.")
        for name in _OTHER_REQUESTS:
            if name in self.headers:
                raise Unsupported(f"The emulator's blob service does not know the header {name!r}.")
        emulator.signatures.check(
            StorageRequest(
                method=request.method,
                raw_path=bytes(request.scope["raw_path"]).decode("ascii"),
                query=self.query,
                headers=self.headers,
                container=self.container,
                blob=self.name,
                permissions=permissions,
            )
        )

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata in the headers."""
        found = {name[len(_META) :]: value for name, value in self.headers.items() if name.startswith(_META)}
        wrong = [name for name in found if not name.isidentifier()]
        if wrong:
            raise BadRequest(f"{wrong[0]!r} is not a name for metadata.", code="InvalidMetadata")
        return found

    @property
    def content_type(self) -> str | None:
        """The type that the blob shall have."""
        return self.headers.get("x-ms-blob-content-type") or self.headers.get("content-type")


async def blob_call(request: Request, emulator: TheEmulator) -> BlobCall:
    """Read and admit a request. A coroutine, because the framework calls plain callables in a thread each."""
    return BlobCall(request, emulator)


Call = Annotated[BlobCall, Depends(blob_call)]

router = APIRouter(prefix=BLOB_PREFIX)


@router.get("/")
def list_containers(call: Call, emulator: TheEmulator) -> Response:
    """List the account's containers."""
    if call.comp != "list":
        raise Unsupported("The emulator's blob service lists containers; it has no account properties.")
    prefix = call.query.get("prefix", "")
    names = [name for name in emulator.blob.containers() if name.startswith(prefix)]
    return _xml(list_containers_xml(names))


@router.get("/{container}")
def get_container(call: Call, emulator: TheEmulator) -> Response:
    """List the blobs of a container, or tell its properties."""
    if call.comp != "list":
        return head_container(call, emulator)
    query = call.query
    try:
        limit = int(query.get("maxresults", "5000"))
    except ValueError:
        raise BadRequest("maxresults is not a number.", code="InvalidQueryParameterValue") from None
    page = emulator.blob.list_blobs(
        call.container, query.get("prefix", ""), query.get("delimiter", ""), query.get("marker", ""), limit
    )
    return _xml(list_blobs_xml(call.container, query, page))


@router.head("/{container}")
def head_container(call: Call, emulator: TheEmulator) -> Response:
    """Tell that there is a container."""
    emulator.blob.check_container(call.container)
    return Response(headers=_common() | {"x-ms-lease-state": "available", "x-ms-lease-status": "unlocked"})


@router.put("/{container}")
def put_container(call: Call, emulator: TheEmulator) -> Response:
    """Make a container."""
    if call.query.get("restype") != "container" or call.comp:
        raise Unsupported("The emulator's blob service makes containers; it does not change them.")
    emulator.blob.create_container(call.container)
    return Response(status_code=201, headers=_common())


@router.get("/{container}/{name:path}")
def get_blob(call: Call, emulator: TheEmulator) -> Response:
    """Read a blob or a part of it."""
    blob, said = emulator.blob.get(call.container, call.name, call.conditions)
    if call.comp == "metadata":
        return Response(headers=_blob_headers(blob, said))
    headers = _blob_headers(blob, said)
    try:
        part = read_range(call.headers.get("x-ms-range") or call.headers.get("range"), blob.size)
    except RangeNotSatisfiable as error:
        error.headers["Content-Range"] = f"bytes */{blob.size}"
        raise
    if part is None:
        return _content(blob, 0, blob.size, 200, headers)
    first, length = part
    headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{blob.size}"
    if "Content-MD5" in headers:
        # What is called Content-MD5 here would be the part's; the whole blob's has a name of its own.
        headers["x-ms-blob-content-md5"] = headers.pop("Content-MD5")
    return _content(blob, first, length, 206, headers)


@router.head("/{container}/{name:path}")
def head_blob(call: Call, emulator: TheEmulator) -> Response:
    """Tell a blob's properties."""
    blob, said = emulator.blob.get(call.container, call.name, call.conditions)
    return Response(headers=_blob_headers(blob, said) | {"Content-Length": str(blob.size)})


@router.put("/{container}/{name:path}")
async def put_blob(request: Request, call: Call, emulator: TheEmulator) -> Response:
    """Write a blob, one block of it, or the list of its blocks, or add to its end."""
    if call.comp == "blocklist":
        return await _put_block_list(request, call, emulator)
    if call.comp == "metadata":
        blob = await run_in_threadpool(
            emulator.blob.set_metadata, call.container, call.name, call.conditions, call.metadata
        )
        return Response(headers=_common(blob))
    kind = call.headers.get("x-ms-blob-type")
    if not call.comp and kind not in ("BlockBlob", "AppendBlob"):
        raise Unsupported(f"The emulator keeps block blobs and append blobs, not {kind!r}.")
    with emulator.blobs.receiving() as upload:
        async for chunk in request.stream():
            upload.write(chunk)
        md5 = call.headers.get("content-md5")
        if call.comp == "block":
            block = call.query.get("blockid", "")
            await run_in_threadpool(emulator.blob.stage_block, upload, call.container, call.name, block, md5)
            return Response(status_code=201, headers=_common() | {"Content-MD5": upload.md5})
        if call.comp == "appendblock":
            expected = call.headers.get("x-ms-blob-condition-appendpos")
            blob, offset = await run_in_threadpool(
                emulator.blob.append, upload, call.container, call.name, call.conditions, md5, expected
            )
            headers = _common(blob) | {"Content-MD5": upload.md5, "x-ms-blob-append-offset": str(offset)}
            return Response(status_code=201, headers=headers)
        blob = await run_in_threadpool(
            emulator.blob.put,
            upload,
            call.container,
            call.name,
            call.conditions,
            call.content_type,
            md5 or call.headers.get("x-ms-blob-content-md5"),
            call.metadata,
            appendable=kind == "AppendBlob",
        )
    return Response(status_code=201, headers=_common(blob) | {"Content-MD5": upload.md5})


@router.delete("/{container}/{name:path}")
def delete_blob(call: Call, emulator: TheEmulator) -> Response:
    """Remove a blob."""
    emulator.blob.delete(call.container, call.name, call.conditions)
    return Response(status_code=202, headers=_common())


def refusal(error: ServiceError) -> Response:
    """What the storage service answers instead of a result."""
    headers = _common() | {"x-ms-error-code": error.code} | error.headers
    if error.status == 304:
        return Response(status_code=304, headers=headers)
    return Response(error_xml(error), error.status, headers, "application/xml")


async def _put_block_list(request: Request, call: BlobCall, emulator: Emulator) -> Response:
    body = await request.body()
    if len(body) > _LONGEST_BODY:
        raise BadRequest("The list of blocks is too long.", code="BlockListTooLong")
    try:
        # expat refuses the entity bombs that the rule warns of, and the caller has proved to hold the account's key.
        listed = [entry.text or "" for entry in ElementTree.fromstring(body)]  # noqa: S314
    except ElementTree.ParseError:
        raise BadRequest("The list of blocks is not XML.", code="InvalidXmlDocument") from None
    blob = await run_in_threadpool(
        emulator.blob.commit_blocks,
        call.container,
        call.name,
        listed,
        call.conditions,
        call.headers.get("x-ms-blob-content-type"),  # the request's own type is that of the list
        call.headers.get("x-ms-blob-content-md5"),
        call.metadata,
    )
    return Response(status_code=201, headers=_common(blob))


def _content(blob: Blob, first: int, length: int, status: int, headers: dict[str, str]) -> Response:
    kind = headers.pop("Content-Type")
    if length <= _ONE_PIECE:
        return Response(b"".join(_read(blob, first, length)), status, headers, kind)
    return StreamingResponse(_read(blob, first, length), status, headers | {"Content-Length": str(length)}, kind)


def _read(blob: Blob, first: int, length: int) -> Iterator[bytes]:
    with open(blob.path, "rb") as file:
        file.seek(first)
        while length and (chunk := file.read(min(length, _ONE_PIECE))):
            length -= len(chunk)
            yield chunk


def _common(blob: Blob | None = None) -> dict[str, str]:
    headers = {"x-ms-version": "2021-08-06", "x-ms-request-id": str(uuid.uuid4())}
    if blob is not None:
        headers |= {"ETag": blob.etag, "Last-Modified": http_date(blob.last_modified)}
        headers["x-ms-request-server-encrypted"] = "true"
    return headers


def _blob_headers(blob: Blob, said: BlobProperties) -> dict[str, str]:
    headers = _common(blob) | {
        "Content-Type": said.content_type or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": said.kind,
        "x-ms-creation-time": http_date(blob.last_modified),
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "x-ms-server-encrypted": "true",
    }
    if said.content_md5:
        headers["Content-MD5"] = said.content_md5
    return headers | {_META + name: value for name, value in said.metadata.items()}


def _xml(text: str) -> Response:
    return Response(text, headers=_common(), media_type="application/xml")
