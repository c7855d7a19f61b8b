"""What a run reads and writes, under the names by which lineage tools know data.

Blobs are named as OpenLineage's naming rules say for Azure Blob Storage; registered datasets, for which they have no
rule, by Azure ML's own URIs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_amlbatch.aml import datastore, pipelines
from airflow_provider_amlbatch.aml.outputs import list_outputs
from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue
from airflow_provider_amlbatch.aml.session import Session


@dataclass(frozen=True)
class DataName:
    """The name of a piece of data, unique within its namespace."""

    namespace: str
    name: str


def inputs_of(session: Session, run_id: str) -> list[DataName]:
    """Name the data that a run was given, the defaults of its published pipeline included."""
    run = session.send(pipelines.get_pipeline_run(run_id))
    datasets = dict(run.data_set_definition_value_assignments)
    if run.pipeline_id is not None:
        usual = session.send(pipelines.get_pipeline(run.pipeline_id)).data_set_definition_value_assignments
        left = {name: value for name, value in usual.items() if name not in run.data_path_assignments}
        datasets = {**left, **datasets}
    named = [_of_path(session, path) for path in run.data_path_assignments.values()]
    named += [_of_dataset(session, value) for value in datasets.values()]
    return sorted({name for name in named if name is not None}, key=lambda one: (one.namespace, one.name))


def outputs_of(session: Session, run_id: str) -> list[DataName]:
    """Name the folders that the steps of a run write to."""
    return [of_blob(session, place.datastore, place.path) for place in list_outputs(session, run_id)]


def of_blob(session: Session, store: str, path: str) -> DataName:
    """Name a blob, or a folder of blobs, on a datastore."""
    section = session.send(datastore.get_datastore(store)).azure_storage_section
    if section is None or not section.account_name:
        return DataName(f"{_workspace(session)}/datastores/{store}", path)
    host = f"{section.account_name}.dfs.{section.endpoint or 'core.windows.net'}"
    return DataName(f"wasbs://{section.container_name}@{host}", path)


def of_file(place: str) -> DataName:
    """Name a file by its local path or URL."""
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        return DataName("file", str(Path(parts.path).absolute()))
    return DataName(f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/"))


def _of_path(session: Session, path: DataPath) -> DataName | None:
    if path.data_store_name is None:
        return None
    return of_blob(session, path.data_store_name, (path.relative_path or "").strip("/"))


def _of_dataset(session: Session, value: DataSetDefinitionValue) -> DataName | None:
    if value.literal_value is not None:
        return _of_path(session, value.literal_value)
    registered = value.data_set_reference
    if registered is not None:
        version = f"/versions/{registered.version}" if registered.version else ""
        return DataName(_workspace(session), f"data/{registered.name or registered.id}{version}")
    saved = value.saved_data_set_reference
    return None if saved is None else DataName(_workspace(session), f"data/{saved.id}")


def _workspace(session: Session) -> str:
    settings = session.settings
    return (
        f"azureml://subscriptions/{settings.subscription_id}/resourcegroups/{settings.resource_group}"
        f"/workspaces/{settings.workspace_name}"
    )
