"""One REST operation as a value.

A function such as ``history.get_run(run_id)`` returns a :class:`Call`; ``Session.send`` is the only thing that carries
it out. So an operation can be read, compared and tested without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_amlbatch.aml.wire import Camel

T = TypeVar("T")

#: Placeholder in a path for ``/subscriptions/../workspaces/{name}``; the session fills it in.
WORKSPACE = "{workspace}"


@dataclass(frozen=True)
class Call(Generic[T]):
    """An HTTP request and how to read its reply.

    :param method: HTTP verb.
    :param service: entry of the workspace's discovery document whose host is asked, such as ``history`` or ``api``;
        ``arm`` for the resource manager; empty when ``path`` is a whole URL.
    :param path: absolute path on that host, with ``{workspace}`` where the workspace scope belongs, or a URL.
    :param read: makes the value out of the decoded JSON body (``None`` for an empty one).
    :param params: query parameters; ``None`` values are left out.
    :param body: JSON body, or ``None``.
    :param next_page: query parameter in which the next page of a list is asked for; services differ.
    :param retriable: whether the call may be sent again when nobody knows if it was carried out. A submission is not.
    """

    method: str
    service: str
    path: str
    read: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    retriable: bool = True
    next_page: str = "continuationToken"


class Page(Camel, Generic[T]):
    """One page of a list. ``continuation_token`` is None on the last page."""

    value: list[T] = []
    continuation_token: str | None = None
    next_link: str | None = None
