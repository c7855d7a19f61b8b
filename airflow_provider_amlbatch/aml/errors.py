"""What can go wrong, as one tree.

::

    AzureMLBatchError
    ├── ConnectionSettingsError        the connection lacks a field, or a field is malformed
    ├── ArgumentError                  an argument is wrong, found before anything was sent (also a ValueError)
    ├── ServiceError                   a service answered with an error
    │   ├── AuthenticationError        401, or no token could be had
    │   ├── PermissionDeniedError      403
    │   ├── NotFoundError              404, 410
    │   ├── ConflictError              409, 412
    │   ├── ValidationError            any other 4xx
    │   ├── ThrottledError             429
    │   └── ServiceUnavailableError    408, 5xx
    ├── UnreachableError               no answer came
    │   └── NotSentError               ... and the request certainly never arrived
    ├── UnexpectedReplyError           an answer came that is not what the protocol says
    ├── AmbiguousSubmissionError       nobody can tell whether a submission was carried out
    └── RunError                       a run did not do what was asked of it
        ├── RunFailedError             it ended as Failed
        ├── RunCanceledError           it ended as Canceled
        ├── RunTimeoutError            its deadline passed
        └── RunReusedError             it took over an older run's output instead of computing

No message carries a token, a secret or a signed URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol


class AzureMLBatchError(Exception):
    """Base of everything this package raises on purpose."""


class ConnectionSettingsError(AzureMLBatchError):
    """Raised when a connection lacks a field that is needed, or when a field is malformed."""


class ArgumentError(AzureMLBatchError, ValueError):
    """Raised when an argument is wrong, before anything is sent."""


class ServiceError(AzureMLBatchError):
    """Raised when a service answers with an error.

    :param summary: one sentence: what was asked and what came back.
    :param status: HTTP status; None when the failure happened before HTTP.
    :param code: the service's own error code.
    :param correlation_id: what Microsoft's support asks for.
    :param retry_after: seconds that the service asks to wait, if it does.
    """

    def __init__(
        self,
        summary: str,
        *,
        status: int | None = None,
        code: str | None = None,
        correlation_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(summary)
        self.status = status
        self.code = code
        self.correlation_id = correlation_id
        self.retry_after = retry_after


class AuthenticationError(ServiceError):
    """Raised when no token can be had, or when a service refuses a fresh one."""


class PermissionDeniedError(ServiceError):
    """Raised when the identity is known and lacks a role."""


class NotFoundError(ServiceError):
    """Raised when the thing that was named does not exist."""


class ConflictError(ServiceError):
    """Raised when the thing exists already, or was changed by somebody else in between."""


class ValidationError(ServiceError):
    """Raised when a service refuses a request as wrong."""


class ThrottledError(ServiceError):
    """Raised when a service asks for fewer requests and patience is used up."""


class ServiceUnavailableError(ServiceError):
    """Raised when a service fails by its own fault and patience is used up."""


class UnreachableError(AzureMLBatchError):
    """Raised when no answer comes: refused, reset, timed out, cut short, or not trusted."""


class NotSentError(UnreachableError):
    """Raised when no connection can be made, so that the service certainly did nothing."""


class UnexpectedReplyError(AzureMLBatchError):
    """Raised when an answer is not what the protocol says."""


class AmbiguousSubmissionError(AzureMLBatchError):
    """Raised when a submission got no usable answer and the look-up of its key got none either."""


class RunError(AzureMLBatchError):
    """Raised when a run did not do what was asked of it.

    :param message: the failure digest.
    :param run_id: the run.
    """

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunFailedError(RunError):
    """Raised when a run ends as Failed."""


class RunCanceledError(RunError):
    """Raised when a run ends as Canceled."""


class RunTimeoutError(RunError):
    """Raised when the deadline of a run passes."""


class RunReusedError(RunError):
    """Raised when a run took over the output of an older run although that was not wanted."""


class Response(Protocol):
    """The part of an HTTP response that :func:`from_response` reads."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields, found whatever their case."""

    @property
    def text(self) -> str:
        """The body, decoded."""


_BY_STATUS: dict[int, type[ServiceError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServiceUnavailableError,
    409: ConflictError,
    410: NotFoundError,
    412: ConflictError,
    429: ThrottledError,
}


def from_response(response: Response, *, asked: str) -> ServiceError:
    """Make the error that an HTTP response tells of.

    :param response: an answer with a status of 300 or more.
    :param asked: what was asked, for the message: verb and path, without query.
    """
    status = response.status_code
    body = _envelope(response.text)
    error = _first(body, "error", "Error")
    error = error if isinstance(error, dict) else body
    code = _text(_first(error, "code", "Code"))
    message = _text(_first(error, "message", "Message")) or response.text[:300].strip() or "no explanation"
    correlation = _correlation(body, response.headers)
    summary = f"{asked} was answered with {status}{f' {code}' if code else ''}: {redact(message)}"
    if correlation:
        summary += f" (correlation id {correlation})"
    return kind_of(status)(
        summary,
        status=status,
        code=code,
        correlation_id=correlation,
        retry_after=_retry_after(response.headers),
    )


def kind_of(status: int) -> type[ServiceError]:
    """Tell the error that an HTTP status of 300 or more stands for."""
    return _BY_STATUS.get(status) or (ServiceUnavailableError if status >= 500 else ValidationError)


#: What a secret looks like in a text: bearer tokens, signatures of SAS URLs, account keys, secrets in forms and JSON.
_SECRET = re.compile(
    r"(?i)(bearer\s+|[?&;]sig=|\bsig=|accountkey=|client_secret[\"']?\s*[=:]\s*[\"']?|password[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s&\"';,]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)


def redact(text: str) -> str:
    """Replace what looks like a token, a signature or a key by stars."""
    return _SECRET.sub(lambda match: f"{match.group(1) or ''}***", text)


def _envelope(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _first(mapping: Mapping[str, Any], *names: str) -> Any:
    return next((mapping[name] for name in names if mapping.get(name)), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _correlation(body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    ids = _first(body, "correlation", "Correlation")
    if isinstance(ids, dict):
        known = _first(ids, "operation", "Operation", "request", "RequestId", "Request")
        if known:
            return str(known)
    return headers.get("x-ms-correlation-request-id") or headers.get("x-ms-request-id")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, scale in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    return None
