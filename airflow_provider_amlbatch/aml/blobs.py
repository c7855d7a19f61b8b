"""The blob container behind a datastore, opened with the key, the signature or the identity that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml import datastore as datastores
from airflow_provider_amlbatch.aml.auth import OwnErrors
from airflow_provider_amlbatch.aml.datastore import AzureStorage
from airflow_provider_amlbatch.aml.errors import ArgumentError, UnreachableError, kind_of, redact
from airflow_provider_amlbatch.aml.session import Session

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient


def container_client(session: Session, name: str) -> ContainerClient:
    """Open the container of a datastore.

    :param name: the datastore.
    :raises ArgumentError: if it is not a blob container.
    """
    from azure.storage.blob import ContainerClient

    found = session.send(datastores.get_datastore(name))
    section = found.azure_storage_section
    if section is None or not section.account_name or not section.container_name:
        raise ArgumentError(
            f"Datastore {name!r} is of type {found.data_store_type}; only datastores on Azure blob storage can be read."
        )
    # The library's own first pause is 15 s, which is long for one lost answer to a listing.
    options: dict[str, Any] = {"retry_total": 5, "initial_backoff": 2, "random_jitter_range": 1}
    options["raw_response_hook"] = _try_again_when_throttled
    if session.settings.ca_bundle:
        options["connection_verify"] = session.settings.ca_bundle
    return ContainerClient(
        account_url(section), section.container_name, credential=_credential(section, session), **options
    )


@contextmanager
def own_errors(doing: str) -> Iterator[None]:
    """Make errors of this package out of those that the storage library raises when its own tries are used up.

    :param doing: what was done, to begin the message with.
    :raises AzureMLBatchError: instead of ``azure.core.exceptions.AzureError``.
    """
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        status = getattr(error, "status_code", None)
        text = redact(str(getattr(error, "reason", None) or error).splitlines()[0][:300])
        if status is None:
            raise UnreachableError(f"{doing} got no answer: {text}") from None
        raise kind_of(status)(f"{doing} was answered with {status}: {text}", status=status) from None


def account_url(section: AzureStorage) -> str:
    """Write the address of a storage account. The endpoint may carry a port, and a user part in front of its host."""
    return f"{section.protocol or 'https'}://{section.account_name}.blob.{section.endpoint or 'core.windows.net'}"


def _try_again_when_throttled(response: Any) -> None:
    # The library repeats after a 503 and after an error on the wire, and takes a 429 for an answer.
    if response.http_response.status_code == 429:
        from azure.core.exceptions import ServiceResponseError

        throttled = ServiceResponseError("The storage account asks for fewer requests.")
        throttled.status_code = 429
        raise throttled


def _credential(section: AzureStorage, session: Session) -> Any:
    key = section.account_key or (section.credential if section.credential_type == "AccountKey" else None)
    if key:
        return {"account_name": section.account_name, "account_key": key}
    signature = section.sas_token or (section.credential if section.is_sas else None)
    if signature:
        from azure.core.credentials import AzureSasCredential

        return AzureSasCredential(signature.lstrip("?"))
    return OwnErrors(session.credential)
