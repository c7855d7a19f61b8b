"""The directory service: where clients learn how to sign in, and sign in."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_amlbatch.emulator.routes.access import TheEmulator
from airflow_provider_amlbatch.emulator.state import TENANT
from airflow_provider_amlbatch.emulator.tokens import LIFETIME, DirectoryError

router = APIRouter(prefix=f"/{TENANT}")


@router.get("/.well-known/openid-configuration")
def get_configuration(emulator: TheEmulator) -> dict[str, Any]:
    """Say where tokens are issued."""
    authority = f"{emulator.base_url}/{TENANT}"
    return {
        "issuer": authority,
        "authorization_endpoint": f"{authority}/oauth2/authorize",
        "token_endpoint": f"{authority}/oauth2/token",
        "response_types_supported": ["token"],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["HS256"],
    }


@router.post("/oauth2/token")
async def post_token(emulator: TheEmulator, request: Request) -> JSONResponse:
    """Issue a token to a service principal; ``resource`` is how clients of the first version name the audience."""
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    grant = form.get("grant_type", "")
    if grant != "client_credentials":
        return _refused(
            DirectoryError(
                "unsupported_grant_type", f"The emulator has no grant {grant!r}, only client_credentials.", 400
            )
        )
    try:
        token = emulator.tokens.sign_in(
            form.get("client_id", ""), form.get("client_secret", ""), form.get("scope") or form.get("resource", "")
        )
    except DirectoryError as error:
        return _refused(error)
    return JSONResponse({"token_type": "Bearer", "expires_in": int(LIFETIME.total_seconds()), "access_token": token})


def _refused(error: DirectoryError) -> JSONResponse:
    return JSONResponse({"error": error.error, "error_description": error.description}, status_code=error.status)
