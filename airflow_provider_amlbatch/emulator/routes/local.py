"""Who may look at and steer the emulator itself: people and programs of this machine, without a token."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from fastapi import Depends, Request

from airflow_provider_amlbatch.emulator.errors import Forbidden


async def local_only(request: Request) -> None:
    """Let in who calls from this machine under its own name.

    A web page of somebody else that is open in a browser of this machine calls from here as well. It gives itself away:
    by the page's own host name, when that was made to resolve to this machine, or by the page's origin.

    :raises Forbidden: for everybody else.
    """
    if request.client is None or not _is_loopback(request.client.host):
        raise Forbidden("Only callers on the emulator's own machine may use this address.")
    host = request.url.hostname or ""
    if not _is_loopback(host):
        raise Forbidden(f"This address answers under 'localhost' or a loopback address, not under {host!r}.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.url.netloc:
        raise Forbidden(f"Pages of {origin!r} may not use this address.")


#: For routers: ``APIRouter(dependencies=[LOCAL_ONLY])``.
LOCAL_ONLY = Depends(local_only)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
