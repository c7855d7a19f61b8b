"""Datastores: names for containers of the emulator's one storage account."""

from __future__ import annotations

import re

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.datastore import AzureStorage, Datastore
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.environment import storage_suffix
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store

#: The datastore of a new workspace, and the default until another is set.
BLOB_STORE = "workspaceblobstore"

#: The datastore over the files that runs and models own.
ARTIFACT_STORE = "workspaceartifactstore"

#: The container behind :data:`ARTIFACT_STORE`.
ARTIFACT_CONTAINER = "azureml"

_NAME = re.compile(r"[a-z0-9_]{1,255}")
_DEFAULT = "default"


class _Registered(Camel):
    """What is kept of a datastore; the rest is the account's."""

    name: str
    container: str
    sas_token: str | None = None


class _Default(Camel):
    name: str


class DatastoreService:
    """The workspace's datastores."""

    def __init__(self, identity: Identity, base_url: str, store: Store, blobs: BlobStore) -> None:
        self._identity = identity
        self._suffix = storage_suffix(base_url)
        self._blobs = blobs
        self._documents = store.collection("datastores", _Registered)
        self._defaults = store.collection("default-datastore", _Default)
        own = {BLOB_STORE: f"azureml-blobstore-{identity.workspace_id}", ARTIFACT_STORE: ARTIFACT_CONTAINER}
        for name, container in own.items():
            blobs.create_container(container)
            if self._documents.get(name) is None:
                self._documents.put(name, _Registered(name=name, container=container))

    def get(self, name: str) -> Datastore:
        """The datastore of that name, secrets included.

        :raises NotFound: if there is none.
        """
        return self._describe(self._registered(name))

    def container(self, name: str) -> str:
        """The container behind a datastore.

        :raises NotFound: if there is no datastore of that name.
        """
        return self._registered(name).container

    def list_datastores(self, count: int, token: str | None, *, with_secrets: bool) -> Page[Datastore]:
        """One page of all datastores, in the order in which they were registered."""
        found = self._documents.find()
        names = [document.name for document in found]
        start = names.index(token) + 1 if token in names else 0
        page = found[start : start + count]
        more = start + count < len(found)
        return Page[Datastore](
            value=[self._describe(document, with_secrets=with_secrets) for document in page],
            continuation_token=page[-1].name if more and page else None,
        )

    def register(self, given: Datastore, *, create_container: bool, skip_validation: bool) -> Datastore:
        """Name a container of the account.

        :raises BadRequest: if the name is taken. The SDK knows that case by these very words.
        """
        name = given.name.lower()
        if self._documents.get(name) is not None:
            raise BadRequest(f"Another datastore with the same name already exists: {name!r}.", code="UserError")
        return self._write(name, given, create_container=create_container, skip_validation=skip_validation)

    def update(self, name: str, given: Datastore, *, create_container: bool, skip_validation: bool) -> Datastore:
        """Change what a datastore names."""
        self._registered(name)
        return self._write(name.lower(), given, create_container=create_container, skip_validation=skip_validation)

    def delete(self, name: str) -> None:
        """Forget a datastore; its container and its blobs stay."""
        document = self._registered(name)
        if document.name in (BLOB_STORE, ARTIFACT_STORE):
            raise BadRequest(f"The workspace cannot be without its datastore {document.name!r}.", code="UserError")
        self._documents.delete(document.name)
        default = self._defaults.get(_DEFAULT)
        if default is not None and default.name == document.name:
            self._defaults.delete(_DEFAULT)

    def default(self) -> Datastore:
        """The workspace's default datastore."""
        default = self._defaults.get(_DEFAULT)
        return self.get(default.name if default is not None else BLOB_STORE)

    def set_default(self, name: str) -> None:
        """Make a datastore the default."""
        self._defaults.put(_DEFAULT, _Default(name=self._registered(name).name))

    def _registered(self, name: str) -> _Registered:
        document = self._documents.get(name.lower())
        if document is None:
            raise NotFound(f"Could not find datastore: {name}", code="UserError")
        return document

    def _write(self, name: str, given: Datastore, *, create_container: bool, skip_validation: bool) -> Datastore:
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"The datastore name {name!r} is not valid: use lower case letters, digits and underscores.",
                code="UserError",
            )
        storage = self._checked(given)
        container = storage.container_name or ""
        if create_container:
            self._blobs.create_container(container)
        if not skip_validation:
            self._validate(storage, container)
        sas = storage.credential if storage.credential_type == "Sas" else storage.sas_token
        document = _Registered(name=name, container=container, sas_token=sas or None)
        return self._describe(self._documents.put(name, document))

    def _checked(self, given: Datastore) -> AzureStorage:
        storage = given.azure_storage_section
        if given.data_store_type != "AzureBlob" or storage is None:
            raise Unsupported(f"The emulator has datastores of type AzureBlob only, not {given.data_store_type!r}.")
        if storage.account_name != self._identity.account_name:
            raise Unsupported(
                f"The emulator has one storage account, {self._identity.account_name!r}; "
                f"it cannot reach {storage.account_name!r}."
            )
        return storage

    def _validate(self, storage: AzureStorage, container: str) -> None:
        if not self._blobs.has_container(container):
            raise BadRequest(f"The container {container!r} does not exist.", code="UserError")
        key = storage.account_key or (storage.credential if storage.credential_type == "AccountKey" else None)
        if key is not None and key != self._identity.account_key:
            raise BadRequest(f"The key is not that of the account {storage.account_name!r}.", code="UserError")

    def _describe(self, document: _Registered, *, with_secrets: bool = True) -> Datastore:
        sas = document.sas_token
        section = {
            "accountName": self._identity.account_name,
            "containerName": document.container,
            "endpoint": self._suffix,
            "protocol": "https",
            "credentialType": "Sas" if sas else "AccountKey",
            "isSas": sas is not None,
            "clientCredentials": None,
            "areWorkspaceManagedIdentitiesAllowed": False,
            "serviceDataAccessAuthIdentity": "None",
            "subscriptionId": self._identity.subscription_id,
            "resourceGroup": self._identity.resource_group,
        }
        if with_secrets:
            section["credential"] = sas or self._identity.account_key
            section["accountKey" if sas is None else "sasToken"] = section["credential"]
        return Datastore(
            name=document.name,
            data_store_type="AzureBlob",
            tags={},
            azure_storage_section=AzureStorage.model_validate(section),
        )
