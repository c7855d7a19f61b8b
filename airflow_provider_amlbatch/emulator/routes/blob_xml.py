"""The XML of the blob service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from airflow_provider_amlbatch.emulator.blobs import Blob, BlobProperties
from airflow_provider_amlbatch.emulator.errors import ServiceError
from airflow_provider_amlbatch.emulator.services.blob import Listing, http_date

_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
#: Letters that XML cannot carry, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def error_xml(error: ServiceError) -> str:
    """Write a refusal."""
    message = escape(_NOT_XML.sub("?", error.message))
    return f"{_HEAD}<Error><Code>{error.code}</Code><Message>{message}</Message></Error>"


def list_containers_xml(names: list[str]) -> str:
    """Write a list of containers."""
    entries = "".join(f"<Container><Name>{escape(name)}</Name><Properties/></Container>" for name in names)
    return f"{_HEAD}<EnumerationResults><Containers>{entries}</Containers><NextMarker/></EnumerationResults>"


def list_blobs_xml(container: str, asked: Mapping[str, str], page: Listing) -> str:
    """Write a page of blobs.

    :param asked: the query of the request. Clients take page size and delimiter for the next page from the reply.
    """
    parts = [_HEAD, f"<EnumerationResults ContainerName={quoteattr(container)}>"]
    for parameter, element in (("prefix", "Prefix"), ("maxresults", "MaxResults"), ("delimiter", "Delimiter")):
        if asked.get(parameter):
            parts.append(f"<{element}>{escape(asked[parameter])}</{element}>")
    with_metadata = "metadata" in asked.get("include", "").split(",")
    parts.append("<Blobs>")
    parts += [_blob(blob, said, with_metadata) for blob, said in page.blobs]
    parts += [f"<BlobPrefix>{_name(name)}</BlobPrefix>" for name in page.prefixes]
    parts.append(f"</Blobs><NextMarker>{page.next_marker}</NextMarker></EnumerationResults>")
    return "".join(parts)


def _blob(blob: Blob, said: BlobProperties, with_metadata: bool) -> str:
    when = http_date(blob.last_modified)
    metadata = ""
    if with_metadata:
        pairs = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in said.metadata.items())
        metadata = f"<Metadata>{pairs}</Metadata>" if pairs else "<Metadata/>"
    return (
        f"<Blob>{_name(blob.name)}<Properties>"
        f"<Creation-Time>{when}</Creation-Time><Last-Modified>{when}</Last-Modified>"
        f"<Etag>{blob.etag.strip(chr(34))}</Etag><Content-Length>{blob.size}</Content-Length>"
        f"<Content-Type>{escape(said.content_type or 'application/octet-stream')}</Content-Type>"
        f"<Content-MD5>{said.content_md5 or ''}</Content-MD5>"
        f"<BlobType>{said.kind}</BlobType><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        f"<ServerEncrypted>true</ServerEncrypted></Properties>{metadata}</Blob>"
    )


def _name(name: str) -> str:
    if _NOT_XML.search(name):
        return f'<Name Encoded="true">{quote(name)}</Name>'
    return f"<Name>{escape(name)}</Name>"
