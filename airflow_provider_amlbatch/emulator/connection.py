"""The transport of a request, handed to the application so that a fault can break it."""

from __future__ import annotations

import asyncio
import socket
import struct

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "amlbatch"

#: SO_LINGER on, for zero seconds: closing sends a reset, not a farewell.
_NO_LINGER = struct.pack("ii", 1, 0)


class BreakableProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with the transport in the scope of each request."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"transport": self.transport}}

    def shutdown(self) -> None:
        """Let go of the connection when the server ends.

        An idle one is cut: TLS would wait for the farewell of clients that only keep connections in reserve.
        """
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().shutdown()


def transport_of(scope: Scope) -> asyncio.Transport:
    """The transport over which a request came."""
    transport: asyncio.Transport = scope["extensions"][_EXTENSION]["transport"]
    return transport


def reset(transport: asyncio.Transport) -> None:
    """Break the connection: the peer sees a reset, and what was not sent yet never is."""
    # The loop lends its socket for looking only; a second handle of the same socket may set options.
    lent = transport.get_extra_info("socket")
    with socket.fromfd(lent.fileno(), lent.family, lent.type) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
