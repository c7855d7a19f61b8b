"""Datasets: registered ones with versions, and saved ones that have an id only."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.pipelines import DataSetDefinitionValue
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound
from airflow_provider_amlbatch.emulator.services import dataflow as dataflows
from airflow_provider_amlbatch.emulator.services import dataflow_blocks
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store


class SavedDataset(Camel):
    """A dataset without a name."""

    id: str | None = None
    dataset_type: str | None = None
    dataflow_json: str | None = None
    properties: dict[str, Any] | None = None


class DatasetDefinition(Camel):
    """One version of a registered dataset."""

    dataset_id: str | None = None
    version_id: str | None = None
    dataflow: str | None = None
    properties: dict[str, Any] | None = None
    saved_dataset_id: str | None = None
    dataset_definition_state: dict[str, Any] | None = None
    created_time: Instant | None = None
    modified_time: Instant | None = None


class Dataset(Camel):
    """A registered dataset with one of its versions, by default the latest."""

    dataset_id: str | None = None
    name: str | None = None
    description: str | None = None
    tags: dict[str, str | None] | None = None
    dataset_type: str | None = None
    is_visible: bool = True
    dataset_state: dict[str, Any] | None = None
    latest: DatasetDefinition | None = None
    created_time: Instant | None = None
    modified_time: Instant | None = None


class DatasetDocument(Camel):
    """A registered dataset as it is kept: what each version was called, oldest first."""

    dataset_id: str
    name: str
    versions: list[Dataset]


DatasetPage = Page[Dataset]
_ACTIVE = {"state": "active"}


class DatasetService:
    """Registers and finds datasets."""

    def __init__(self, store: Store, clock: Clock, identity: Identity) -> None:
        self._scope = identity.scope
        self._store = store
        self._clock = clock
        self._registered = store.collection("datasets", DatasetDocument, indexes=("name",))
        self._saved = store.collection("saveddatasets", SavedDataset)

    def save(self, dataset: SavedDataset) -> SavedDataset:
        """Keep a definition; the same definition has the same id."""
        if dataset.dataflow_json is None:
            raise BadRequest("A saved dataset needs 'dataflowJson'.", code="InvalidDataset")
        dataflows.parse(dataset.dataflow_json)
        content = json.dumps([dataset.dataset_type, dataset.dataflow_json, dataset.properties], sort_keys=True)
        key = str(uuid.UUID(hashlib.sha256(content.encode()).hexdigest()[:32]))
        return self._saved.put(key, dataset.model_copy(update={"id": key}))

    def saved(self, saved_id: str) -> SavedDataset:
        """The saved dataset with that id.

        :raises NotFound: if there is none.
        """
        dataset = self._saved.get(saved_id)
        if dataset is None:
            raise NotFound(f"There is no saved dataset with the id {saved_id!r}.", code="DatasetNotFound")
        return dataset

    def register(self, dataset: Dataset, *, if_exists_ok: bool, update_definition: bool) -> Dataset:
        """Register a dataset under a name, or a new version of it.

        Inferred: a new version is made even if the definition is that of the last one.

        :raises Conflict: if the name is taken and the caller did not ask for a new version.
        """
        definition = dataset.latest
        if not dataset.name or definition is None or definition.dataflow is None:
            raise BadRequest("A dataset needs 'name' and 'latest.dataflow'.", code="InvalidDataset")
        dataflows.parse(definition.dataflow)
        with self._store.transaction():
            document = next(iter(self._registered.find(name=dataset.name)), None)
            if document is None:
                document = DatasetDocument(dataset_id=str(uuid.uuid4()), name=dataset.name, versions=[])
            elif not if_exists_ok:
                raise Conflict(f"There is already a dataset registered under the name {dataset.name!r}.")
            elif not update_definition:
                return document.versions[-1]
            version = self._version(document, dataset, definition)
            document.versions.append(version)
            self._registered.put(document.dataset_id, document)
        return version

    def _version(self, document: DatasetDocument, dataset: Dataset, definition: DatasetDefinition) -> Dataset:
        now = self._clock.now()
        saved_id = definition.saved_dataset_id or str(uuid.uuid4())
        self._saved.put(
            saved_id,
            SavedDataset(
                id=saved_id,
                dataset_type=dataset.dataset_type,
                dataflow_json=definition.dataflow,
                properties=definition.properties,
            ),
        )
        latest = DatasetDefinition(
            dataset_id=document.dataset_id,
            version_id=str(len(document.versions) + 1),
            dataflow=definition.dataflow,
            properties=definition.properties or {},
            saved_dataset_id=saved_id,
            dataset_definition_state=_ACTIVE,
            created_time=now,
            modified_time=now,
        )
        return Dataset(
            dataset_id=document.dataset_id,
            name=document.name,
            description=dataset.description,
            tags=dataset.tags or {},
            dataset_type=dataset.dataset_type,
            dataset_state=_ACTIVE,
            latest=latest,
            created_time=document.versions[0].created_time if document.versions else now,
            modified_time=now,
        )

    def by_id(self, dataset_id: str, version: str | None = None) -> Dataset:
        """A registered dataset.

        :raises NotFound: if there is none, or not in that version.
        """
        document = self._registered.get(dataset_id)
        if document is None:
            raise NotFound(f"There is no dataset with the id {dataset_id!r}.", code="DatasetNotFound")
        return _pick(document, version)

    def by_name(self, name: str, version: str | None = None) -> Dataset:
        """A registered dataset.

        :raises NotFound: if there is none, or not in that version.
        """
        document = next(iter(self._registered.find(name=name)), None)
        if document is None:
            raise NotFound(f"There is no dataset registered under the name {name!r}.", code="DatasetNotFound")
        return _pick(document, version)

    def list_latest(self) -> list[Dataset]:
        """The latest version of every registered dataset."""
        return [document.versions[-1] for document in self._registered.find()]

    def by_saved_id(self, saved_id: str) -> list[Dataset]:
        """The registered versions that stand for a saved dataset."""
        return [
            version
            for document in self._registered.find()
            for version in document.versions
            if version.latest is not None and version.latest.saved_dataset_id == saved_id
        ]

    def update(self, dataset_id: str, change: Dataset) -> Dataset:
        """Change description and tags of a version, the latest unless ``change`` names one."""
        wanted = change.latest.version_id if change.latest is not None else None
        self.by_id(dataset_id, wanted)

        def edit(document: DatasetDocument) -> None:
            version = _pick(document, wanted)
            version.description, version.tags = change.description, change.tags or {}
            version.modified_time = self._clock.now()

        self._registered.update(dataset_id, edit)
        return self.by_id(dataset_id, wanted)

    def unregister(self, name: str) -> None:
        """Forget a name with all its versions; what was saved can still be read by its id.

        :raises NotFound: if there is no such name.
        """
        dataset = self.by_name(name)
        self._registered.delete(str(dataset.dataset_id))

    def resolve(self, value: DataSetDefinitionValue) -> SavedDataset:
        """The saved dataset that a reference stands for now; without a version it is the latest.

        :raises BadRequest: if there is none: Azure says ``GraphDatasetNotFound``.
        """
        try:
            if value.saved_data_set_reference is not None:
                return self.saved(str(value.saved_data_set_reference.id))
            reference = value.data_set_reference
            if reference is None:
                raise BadRequest("The dataset reference names no dataset.", code="GraphDatasetNotFound")
            version = None if reference.version in (None, "latest") else reference.version
            found = self.by_id(reference.id, version) if reference.id else self.by_name(str(reference.name), version)
        except NotFound as error:
            raise BadRequest(error.message, code="GraphDatasetNotFound") from None
        assert found.latest is not None
        return self.saved(str(found.latest.saved_dataset_id))

    def name_of(self, dataset_id: str) -> str | None:
        """The name of a registered dataset, or None."""
        document = self._registered.get(dataset_id)
        return None if document is None else document.name

    def output_definition(self, datastore: str, path: str, transformations: str | None) -> tuple[str, str]:
        """Definition and type of the dataset that a step's output is.

        :param transformations: what is done to the files, as the SDK writes it.
        """
        uri = (
            f"azureml:/{self._scope.replace('/providers/Microsoft.MachineLearningServices', '')}/datastores/{datastore}"
        )
        steps = dataflow_blocks.translate(transformations) if transformations else []
        return dataflows.folder_definition(uri, path, steps), "tabular" if dataflows.is_tabular(steps) else "file"


def _pick(document: DatasetDocument, version: str | None) -> Dataset:
    if version in (None, "latest"):
        return document.versions[-1]
    for candidate in document.versions:
        if candidate.latest is not None and candidate.latest.version_id == version:
            return candidate
    raise NotFound(
        f"The dataset {document.name!r} has no version {version!r}; the latest is {len(document.versions)}.",
        code="DatasetNotFound",
    )
