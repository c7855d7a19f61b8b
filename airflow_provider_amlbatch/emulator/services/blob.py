"""The blob service's rules: conditions, ranges, lists, signed addresses."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

from airflow_provider_amlbatch.emulator.blobs import Blob, BlobProperties, BlobStore, Upload
from airflow_provider_amlbatch.emulator.environment import storage_suffix
from airflow_provider_amlbatch.emulator.errors import (
    BadRequest,
    Conflict,
    NotFound,
    PreconditionFailed,
    ServiceError,
    Unsupported,
)
from airflow_provider_amlbatch.emulator.services.signatures import Signatures
from airflow_provider_amlbatch.emulator.state import Identity

#: The most that one list answers.
PAGE = 5000

#: How long the addresses that services hand out are good.
READ_LIFETIME = timedelta(hours=24)

_CONTAINER = re.compile(r"[a-z0-9](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9]")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
#: Sorts after every name that begins with what stands before it.
_LAST = "\U0010ffff"


class NotModified(ServiceError):
    """Raised when the caller has the blob already."""

    status = 304
    code = "ConditionNotMet"


class RangeNotSatisfiable(ServiceError):
    """Raised when a range begins behind the end of a blob."""

    status = 416
    code = "InvalidRange"


@dataclass(frozen=True)
class Conditions:
    """Under which conditions a request is meant, by the headers of the same names."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Conditions:
        """Read the headers of a request, names in lower case."""
        return cls(
            if_match=headers.get("if-match"),
            if_none_match=headers.get("if-none-match"),
            if_modified_since=_http_date(headers.get("if-modified-since")),
            if_unmodified_since=_http_date(headers.get("if-unmodified-since")),
        )

    def check_read(self, blob: Blob) -> None:
        """Hold a read against the conditions.

        :raises NotModified: if the caller has this version.
        :raises PreconditionFailed: if this is not the version that the caller asks for.
        """
        self._check(blob)
        if self.if_none_match is not None and _names(self.if_none_match, blob.etag):
            raise NotModified("The blob has not changed.")
        if self.if_modified_since is not None and _seconds(blob.last_modified) <= self.if_modified_since:
            raise NotModified("The blob has not changed.")

    def check_write(self, blob: Blob | None) -> None:
        """Hold a write over a blob, or over nothing, against the conditions.

        :raises Conflict: if there is a blob and the caller wants none to be there.
        :raises PreconditionFailed: if this is not the version that the caller means to replace.
        """
        if blob is None:
            if self.if_match is not None:
                raise PreconditionFailed("The condition of the request's headers is not met: there is no such blob.")
            return
        self._check(blob)
        if self.if_none_match == "*":
            raise Conflict("The specified blob already exists.", code="BlobAlreadyExists")
        if self.if_none_match is not None and _names(self.if_none_match, blob.etag):
            raise PreconditionFailed("The condition of the request's headers is not met: the blob is this version.")

    def _check(self, blob: Blob) -> None:
        if self.if_match is not None and not _names(self.if_match, blob.etag):
            raise PreconditionFailed("The condition of the request's headers is not met: the blob has changed.")
        if self.if_unmodified_since is not None and _seconds(blob.last_modified) > self.if_unmodified_since:
            raise PreconditionFailed("The condition of the request's headers is not met: the blob has changed.")


@dataclass(frozen=True)
class Listing:
    """One page of a list of blobs. An entry of ``prefixes`` stands for all blobs below it."""

    blobs: list[tuple[Blob, BlobProperties]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_marker: str = ""


class BlobService:
    """The storage account over the blob store."""

    def __init__(self, identity: Identity, base_url: str, blobs: BlobStore, signatures: Signatures) -> None:
        self._identity = identity
        self._suffix = storage_suffix(base_url)
        self._blobs = blobs
        self._signatures = signatures
        self._writing = threading.Lock()  # between the check of a condition and the write that it guards

    def signed_url(self, container: str, name: str, permissions: str = "r", lifetime: timedelta = READ_LIFETIME) -> str:
        """Address under which a blob can be read, or written with ``permissions="rcw"``.

        The SDK takes the blob's name out of an address for writing without decoding it and encodes it once more, so
        there the name stands as it is.
        """
        path = quote(name) if permissions == "r" else _ODD.sub(lambda odd: quote(odd[0]), name)
        host = f"{self._identity.account_name}.blob.{self._suffix}"
        return f"https://{host}/{container}/{path}?{self._signatures.sign_blob(container, name, permissions, lifetime)}"

    def create_container(self, name: str) -> None:
        """Make a container.

        :raises Conflict: if there is one of that name.
        """
        if not _CONTAINER.fullmatch(name):
            raise BadRequest(f"The container name {name!r} is not valid.", code="InvalidResourceName")
        if self._blobs.has_container(name):
            raise Conflict("The specified container already exists.", code="ContainerAlreadyExists")
        self._blobs.create_container(name)

    def check_container(self, name: str) -> None:
        """Say that there is a container of that name.

        :raises NotFound: if there is none.
        """
        if not self._blobs.has_container(name):
            raise NotFound("The specified container does not exist.", code="ContainerNotFound")

    def containers(self) -> list[str]:
        """Names of all containers."""
        return self._blobs.containers

    def get(self, container: str, name: str, conditions: Conditions) -> tuple[Blob, BlobProperties]:
        """A blob and what is said about it."""
        self.check_container(container)
        blob = self._blobs.get(container, name)
        conditions.check_read(blob)
        return blob, self._blobs.properties(blob)

    def put(
        self,
        upload: Upload,
        container: str,
        name: str,
        conditions: Conditions,
        content_type: str | None,
        content_md5: str | None,
        metadata: dict[str, str],
        *,
        appendable: bool = False,
    ) -> Blob:
        """Make a blob of received content.

        :param content_md5: what the uploader says that the content's MD5 is.
        :param appendable: make a blob that can be appended to, which begins without content.
        :raises BadRequest: if it is another.
        """
        check_md5(upload, content_md5)
        if appendable and upload.size:
            raise BadRequest("An append blob begins without content.", code="InvalidHeaderValue")
        md5 = None if appendable else upload.md5
        with self._guarded(container, name, conditions):
            return self._blobs.place(
                upload,
                container,
                name,
                content_type=content_type,
                content_md5=md5,
                metadata=metadata,
                appendable=appendable,
            )

    def append(
        self,
        upload: Upload,
        container: str,
        name: str,
        conditions: Conditions,
        content_md5: str | None,
        expected: str | None,
    ) -> tuple[Blob, int]:
        """Add received content to the end of an append blob.

        :param expected: the length that the caller believes the blob to have.
        :returns: the blob, and where the content begins.
        :raises Conflict: if the blob is of another kind.
        :raises PreconditionFailed: if the blob has another length.
        """
        check_md5(upload, content_md5)
        with self._guarded(container, name, conditions):
            blob = self._blobs.get(container, name)
            if not self._blobs.properties(blob).appendable:
                raise Conflict("The blob is not an append blob.", code="InvalidBlobType")
            if expected is not None and expected != str(blob.size):
                raise PreconditionFailed(
                    f"The blob has {blob.size} bytes, not {expected}.", code="AppendPositionConditionNotMet"
                )
            return self._blobs.append(upload, blob), blob.size

    def stage_block(self, upload: Upload, container: str, name: str, block_id: str, content_md5: str | None) -> None:
        """Keep a block until the list of blocks comes."""
        check_md5(upload, content_md5)
        self._check_place(container, name)
        self._blobs.stage_block(upload, container, name, block_id)

    def commit_blocks(
        self,
        container: str,
        name: str,
        block_ids: list[str],
        conditions: Conditions,
        content_type: str | None,
        content_md5: str | None,
        metadata: dict[str, str],
    ) -> Blob:
        """Make a blob of the blocks that were kept.

        A list that was committed before, and whose blocks are gone therefore, is answered with the blob: the first
        answer was lost. Azure looks for blocks among those of the blob, too; but for this case, the emulator does not.

        :raises BadRequest: if a block was never staged.
        """
        self._check_place(container, name)
        with self._blobs.receiving() as upload:
            # Before anybody is made to wait, since it may take long.
            is_whole = self._blobs.assemble(upload, container, name, block_ids)
            with self._guarded(container, name, conditions) as there:
                if is_whole:
                    return self._blobs.commit(
                        upload,
                        container,
                        name,
                        block_ids,
                        content_type=content_type,
                        content_md5=content_md5,
                        metadata=metadata,
                    )
                if there is not None and self._blobs.is_committed(there, block_ids):
                    return there
        raise BadRequest("The specified block list is invalid: a block was not uploaded.", code="InvalidBlockList")

    def set_metadata(self, container: str, name: str, conditions: Conditions, metadata: dict[str, str]) -> Blob:
        """Replace a blob's metadata."""
        with self._guarded(container, name, conditions):
            blob = self._blobs.get(container, name)
            said = self._blobs.properties(blob)
            self._blobs.describe(
                blob,
                content_type=said.content_type,
                content_md5=said.content_md5,
                metadata=metadata,
                appendable=said.appendable,
                block_list=said.block_list,
            )
            return blob

    def delete(self, container: str, name: str, conditions: Conditions) -> None:
        """Remove a blob."""
        with self._guarded(container, name, conditions):
            self._blobs.delete(container, name)

    def list_blobs(self, container: str, prefix: str, delimiter: str, marker: str, limit: int) -> Listing:
        """One page of the blobs whose names begin with a prefix.

        :param delimiter: names are cut behind its first occurrence after the prefix, and each cut name is told once.
        :param marker: where the last page ended.
        """
        self.check_container(container)
        if limit < 1:
            raise BadRequest("maxresults must be 1 or more.", code="OutOfRangeQueryParameterValue")
        limit = min(limit, PAGE)
        last = _read_marker(marker)
        page = Listing()
        # A marker that stands for all blobs below a prefix lies behind the last of them.
        behind = last + _LAST if delimiter and last.endswith(delimiter) else last
        for blob in self._blobs.list_blobs(container, prefix, start_after=behind):
            cut = _cut(blob.name, prefix, delimiter)
            if page.prefixes and cut == page.prefixes[-1]:
                continue
            if len(page.blobs) + len(page.prefixes) == limit:
                return Listing(page.blobs, page.prefixes, _write_marker(last))
            if cut:
                page.prefixes.append(cut)
            else:
                page.blobs.append((blob, self._blobs.properties(blob)))
            last = cut or blob.name
        return page

    def _check_place(self, container: str, name: str) -> None:
        self.check_container(container)
        _check_name(name)

    @contextmanager
    def _guarded(self, container: str, name: str, conditions: Conditions) -> Iterator[Blob | None]:
        """Keep other writes out, once the conditions are met; the blob that is there, if there is one."""
        self._check_place(container, name)
        with self._writing:
            try:
                there: Blob | None = self._blobs.get(container, name)
            except NotFound:
                there = None
            conditions.check_write(there)
            yield there


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length of the part that a ``Range`` header asks for; None for the whole blob.

    :raises RangeNotSatisfiable: if the part begins behind the end.
    """
    matched = _RANGE.fullmatch(header or "")
    if matched is None:
        return None
    first = int(matched[1])
    if first >= size:
        raise RangeNotSatisfiable(f"The blob has {size} bytes; the range begins at {first}.")
    last = min(int(matched[2]), size - 1) if matched[2] else size - 1
    if last < first:
        raise RangeNotSatisfiable(f"The range {header!r} ends before it begins.")
    return first, last - first + 1


def http_date(instant: datetime) -> str:
    """An instant as HTTP headers write it."""
    return format_datetime(instant.astimezone(UTC), usegmt=True)


def check_md5(upload: Upload, content_md5: str | None) -> None:
    """Hold received content against the MD5 that came with it.

    :raises BadRequest: if they differ.
    """
    if content_md5 and content_md5 != upload.md5:
        raise BadRequest(
            f"The MD5 value specified in the request, {content_md5}, did not match the one of the content, "
            f"{upload.md5}.",
            code="Md5Mismatch",
        )


#: What would end the path of an address.
_ODD = re.compile("[%?#]")


def _check_name(name: str) -> None:
    if len(name) > 1024:
        raise BadRequest("A blob name has at most 1,024 characters.", code="InvalidResourceName")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise Unsupported(
            f"The emulator keeps blobs as files, so it has no blob {name!r}: no part of a name may be empty, '.' or "
            "'..'."
        )


def _cut(name: str, prefix: str, delimiter: str) -> str:
    at = name.find(delimiter, len(prefix)) if delimiter else -1
    return name[: at + len(delimiter)] if at >= 0 else ""


def _write_marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _read_marker(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise BadRequest(f"The marker {marker!r} is none of ours.", code="OutOfRangeQueryParameterValue") from None


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a date of HTTP.", code="InvalidHeaderValue") from None


def _seconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def _names(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag.strip('"') in {given.strip().strip('"') for given in header.split(",")}
