"""The dataset service (``/dataset/v1.0``) and the definition look-up of ``/data/v1.0``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.datasets import Dataset, DatasetDefinition, DatasetPage, SavedDataset

router = APIRouter(dependencies=[DATA_PLANE])

_PREFIX = "/dataset/v1.0" + WORKSPACE
_UNREGISTERED = "unregistered-"


class DataVersion(Camel):
    """A definition in the form in which it was submitted, which is the form that the SDK reads."""

    legacy_dataflow: str


@router.post(_PREFIX + "/datasets")
def register_dataset(
    emulator: TheEmulator,
    dataset: Dataset,
    if_exists_ok: Annotated[bool, Query(alias="ifExistsOk")] = False,
    update_definition: Annotated[bool, Query(alias="updateDefinitionIfExists")] = False,
) -> Dataset:
    """Register a dataset or a new version of it."""
    return emulator.datasets.register(dataset, if_exists_ok=if_exists_ok, update_definition=update_definition)


@router.get(_PREFIX + "/datasets")
def list_datasets(emulator: TheEmulator) -> DatasetPage:
    """List the latest version of every dataset."""
    return DatasetPage(value=emulator.datasets.list_latest())


@router.get(_PREFIX + "/datasets/query/name={name}")
def get_dataset_by_name(
    emulator: TheEmulator, name: str, version: Annotated[str | None, Query(alias="versionId")] = None
) -> Dataset:
    """Get a version of a dataset by its name."""
    return emulator.datasets.by_name(name, version)


@router.get(_PREFIX + "/datasets/query/savedDatasetId={saved_id}")
def list_datasets_by_saved_id(emulator: TheEmulator, saved_id: str) -> DatasetPage:
    """List the versions that stand for a saved dataset."""
    return DatasetPage(value=emulator.datasets.by_saved_id(saved_id))


@router.get(_PREFIX + "/datasets/{dataset_id}")
def get_dataset(emulator: TheEmulator, dataset_id: str) -> Dataset:
    """Get the latest version of a dataset by its id."""
    return emulator.datasets.by_id(dataset_id)


@router.get(_PREFIX + "/datasets/{dataset_id}/definitions/{version}")
def get_definition(emulator: TheEmulator, dataset_id: str, version: str) -> DatasetDefinition | None:
    """Get the definition of one version."""
    return emulator.datasets.by_id(dataset_id, version).latest


@router.put(_PREFIX + "/datasets/{dataset_id}")
def update_dataset(emulator: TheEmulator, dataset_id: str, dataset: Dataset) -> Dataset:
    """Change description and tags."""
    return emulator.datasets.update(dataset_id, dataset)


@router.delete(_PREFIX + "/datasets/{name}")
def unregister_dataset(emulator: TheEmulator, name: str) -> None:
    """Forget all versions of a name."""
    emulator.datasets.unregister(name)


@router.post(_PREFIX + "/saveddatasets")
def save_dataset(emulator: TheEmulator, dataset: SavedDataset) -> SavedDataset:
    """Keep a definition without a name."""
    return emulator.datasets.save(dataset)


@router.get(_PREFIX + "/saveddatasets/{saved_id}")
def get_saved_dataset(emulator: TheEmulator, saved_id: str) -> SavedDataset:
    """Get a definition by its id."""
    return emulator.datasets.saved(saved_id)


@router.get("/data/v1.0" + WORKSPACE + "/dataversion/{name}/versions/{version}")
def get_data_version(emulator: TheEmulator, name: str, version: str) -> DataVersion:
    """Echo the definition of a saved dataset."""
    if not name.startswith(_UNREGISTERED):
        raise NotFound(f"There is no data asset {name!r} in version {version!r}; the emulator has datasets of SDK v1.")
    saved = emulator.datasets.saved(name.removeprefix(_UNREGISTERED))
    return DataVersion(legacy_dataflow=saved.dataflow_json or "")
