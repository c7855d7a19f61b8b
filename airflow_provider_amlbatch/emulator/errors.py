"""What a service answers instead of a result.

::

    ServiceError            4xx with a code and a message
    ├── BadRequest          400
    │   └── Unsupported     400 EmulatorUnsupported: real Azure may do this, the emulator does not
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── NotFound            404
    ├── Conflict            409
    └── PreconditionFailed  412

There is no 5xx in the tree: the SDK retries those for minutes.
"""

from __future__ import annotations

from typing import Any


class ServiceError(Exception):
    """Raised when a service refuses a request."""

    status = 400
    code = "UserError"

    def __init__(self, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.headers = headers or {}

    def body(self, correlation: dict[str, str]) -> dict[str, Any]:
        """All envelopes in one body: ``error`` for history and its neighbours, ``Error`` for /pipelines, and the
        bare fields for model management, whose clients look for ``statusCode`` in the body.
        """
        return {
            "statusCode": self.status,
            "code": self.code,
            "message": self.message,
            "error": {"code": self.code, "message": self.message, "details": [], "innerError": None},
            "correlation": correlation,
            "environment": "emulator",
            "location": "local",
            "Error": {"Code": self.code, "Message": self.message, "Target": None, "Details": [], "InnerError": None},
            "Correlation": correlation,
        }


class BadRequest(ServiceError):
    """Raised when the request itself is wrong."""

    code = "BadRequest"


class Unsupported(BadRequest):
    """Raised when Azure may know how to do it but the emulator does not, naming what was asked for."""

    code = "EmulatorUnsupported"


class Unauthorized(ServiceError):
    """Raised when there is no valid token."""

    status = 401
    code = "AuthenticationFailed"


class Forbidden(ServiceError):
    """Raised when the token is valid and the caller may not do this."""

    status = 403
    code = "AuthorizationFailed"


class NotFound(ServiceError):
    """Raised when the thing named does not exist."""

    status = 404
    code = "NotFound"


class Conflict(ServiceError):
    """Raised when the thing exists already, or is in a state that forbids this."""

    status = 409
    code = "Conflict"


class PreconditionFailed(ServiceError):
    """Raised when an If-Match or If-None-Match does not hold."""

    status = 412
    code = "ConditionNotMet"
