"""Access tokens as the directory service would issue them: signed, for one audience, and not for ever."""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta

import jwt

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import Unauthorized
from airflow_provider_amlbatch.emulator.state import Identity

#: Audiences of the resource manager. Azure takes both spellings, with and without the last slash.
ARM_AUDIENCES = ("https://management.core.windows.net/", "https://management.azure.com/")

#: Audience of the data plane; run tokens carry it.
AML_AUDIENCE = "https://ml.azure.com"

#: Audiences that every data plane service takes.
DATA_PLANE_AUDIENCES = (*ARM_AUDIENCES, AML_AUDIENCE)

#: How long a token of the directory service is good.
LIFETIME = timedelta(hours=1)

#: A run may queue and score for days, and nobody refreshes its token here.
RUN_LIFETIME = timedelta(days=30)


@dataclass(frozen=True)
class Caller:
    """Who a valid token speaks for."""

    object_id: str
    tenant_id: str
    name: str
    run_id: str | None = None


class DirectoryError(Exception):
    """Raised when the directory refuses a token request, in the directory's own words (RFC 6749 names)."""

    def __init__(self, error: str, description: str, status: int) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


class Tokens:
    """Issues and checks tokens against the emulator's clock."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock

    def sign_in(self, client_id: str, client_secret: str, scope: str) -> str:
        """Issue a token to a service principal.

        :param scope: the audience followed by ``/.default``; an audience alone is taken too.
        :raises DirectoryError: if the client is unknown or its secret is wrong, or if the scope is not a known service.
        """
        if client_id != self._identity.client_id:
            raise DirectoryError(
                "unauthorized_client", f"AADSTS700016: There is no application {client_id!r} in this directory.", 400
            )
        if not hmac.compare_digest(client_secret.encode(), self._identity.client_secret.encode()):
            raise DirectoryError("invalid_client", "AADSTS7000215: The client secret is not valid.", 401)
        audience = scope.split()[0].removesuffix("/.default") if scope.strip() else ""
        if not _among(audience, DATA_PLANE_AUDIENCES):
            raise DirectoryError("invalid_scope", f"AADSTS500011: There is no resource {audience!r} here.", 400)
        return self.issue(audience)

    def issue(self, audience: str, *, lifetime: timedelta = LIFETIME, run_id: str | None = None) -> str:
        """Sign a token for the emulator's one user.

        :param run_id: makes it the token of a run.
        """
        now = int(self._clock.now().timestamp())
        claims = {
            "aud": audience,
            "iss": f"https://sts.emulator/{self._identity.tenant_id}/",
            "tid": self._identity.tenant_id,
            "oid": self._identity.object_id,
            "appid": self._identity.client_id,
            "name": "emulator",
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime.total_seconds()),
            "jti": uuid.uuid4().hex,
        }
        if run_id is not None:
            claims["run_id"] = run_id
        return jwt.encode(claims, self._identity.signing_key, algorithm="HS256")

    def for_run(self, run_id: str) -> str:
        """Sign the token that a run's own processes use."""
        return self.issue(AML_AUDIENCE, lifetime=RUN_LIFETIME, run_id=run_id)

    def check(self, authorization: str | None, audiences: tuple[str, ...] = DATA_PLANE_AUDIENCES) -> Caller:
        """Say who sent an ``Authorization`` header.

        :raises Unauthorized: if there is no token, or it is not ours, too old, or for another service.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refusal("The request has no bearer token in its 'Authorization' header.")
        try:
            # Times are checked below: the library would ask the wall clock, not ours.
            claims = jwt.decode(
                token.strip(),
                self._identity.signing_key,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            raise _refusal("The access token is invalid: its signature is not this directory's.") from None
        if int(claims.get("exp", 0)) <= self._clock.now().timestamp():
            raise _refusal("The access token has expired. Ask for a new one.", "ExpiredAuthenticationToken")
        if not _among(str(claims.get("aud", "")), audiences):
            raise _refusal(
                f"The access token is for the audience {claims.get('aud')!r}; this service takes {audiences[0]!r}.",
                "InvalidAuthenticationTokenAudience",
            )
        return Caller(
            object_id=str(claims.get("oid", "")),
            tenant_id=str(claims.get("tid", "")),
            name=str(claims.get("name", "")),
            run_id=claims.get("run_id"),
        )


def _among(audience: str, audiences: tuple[str, ...]) -> bool:
    return bool(audience) and audience.rstrip("/") in {known.rstrip("/") for known in audiences}


def _refusal(message: str, code: str = "AuthenticationFailed") -> Unauthorized:
    return Unauthorized(message, code, headers={"WWW-Authenticate": f'Bearer error="invalid_token", scope="{code}"'})
