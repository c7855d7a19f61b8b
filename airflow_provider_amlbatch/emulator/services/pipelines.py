"""What pipelines are made of (modules, data sources, graphs), and published pipelines."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import (
    ACTIVE,
    DISABLED,
    AzureBlobReference,
    DataLocation,
    DataPath,
    DataReference,
    DataSetDefinitionValue,
    GraphInterface,
    PublishedPipeline,
)
from airflow_provider_amlbatch.aml.wire import Instant, Pascal
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound
from airflow_provider_amlbatch.emulator.services.datasets import DatasetService
from airflow_provider_amlbatch.emulator.services.graph import Graph, GraphDocument, ModuleEntity
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store

#: Every kind of data that the SDK looks for; one that is missing would be made by it at each start.
_DATA_TYPES = (
    "AnyFile",
    "AnyDirectory",
    "AzureBlobReference",
    "AzureDataLakeReference",
    "AzureFilesReference",
    "AzureSqlDatabaseReference",
    "AzurePostgresDatabaseReference",
    "AzureDataLakeGen2Reference",
    "AzureMLDataset",
    "AzureMySqlDatabaseReference",
    "DBFSReference",
)

#: ``EntityStatus`` as digits or names.
_STATUSES = {"0": ACTIVE, "1": "Deprecated", "2": DISABLED}


class DataType(Pascal):
    """A kind of data."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    is_directory: bool = False
    parent_data_type_ids: list[str] = []


class DataSource(Pascal):
    """A path on a datastore as a source of data (``DataSourceEntity``)."""

    id: str = ""
    name: str | None = None
    data_type_id: str | None = None
    identifier_hash: str | None = None
    data_store_name: str | None = None
    path_on_data_store: str | None = None
    upload_state: str = "Completed"
    data_location: DataLocation | None = None
    entity_status: str = ACTIVE
    created_date: Instant | None = None


class PipelineCreationInfo(Pascal):
    """The body of a request to publish."""

    name: str | None = None
    description: str | None = None
    version: str | None = None
    graph: Graph | None = None
    graph_interface: GraphInterface | None = None
    parameter_assignments: dict[str, Any] | None = None
    data_set_definition_value_assignments: dict[str, DataSetDefinitionValue] | None = None
    continue_run_on_step_failure: bool | None = None
    enable_notification: bool | None = None
    properties: dict[str, Any] | None = None
    tags: dict[str, str | None] | None = None


def status_name(status: str) -> str:
    """``EntityStatus`` as a name.

    :raises BadRequest: if it is none.
    """
    name = _STATUSES.get(status, status)
    if name not in _STATUSES.values():
        raise BadRequest(f"The status {status!r} is not one of {', '.join(_STATUSES.values())}.")
    return name


class PipelineService:
    """Keeps graphs and published pipelines."""

    def __init__(self, store: Store, clock: Clock, identity: Identity, base_url: str, datasets: DatasetService) -> None:
        self._clock = clock
        self._datasets = datasets
        self.runs_url = f"{base_url}/pipelines/v1.0{identity.scope}/PipelineRuns"
        self._types = store.collection("datatypes", DataType)
        self._modules = store.collection("modules", ModuleEntity, indexes=("IdentifierHash",))
        self._sources = store.collection("datasources", DataSource, indexes=("IdentifierHash",))
        self._graphs = store.collection("graphs", GraphDocument)
        self._published = store.collection("publishedpipelines", PublishedPipeline)

    def data_types(self) -> list[DataType]:
        """Every kind of data."""
        known = [DataType(id=name, name=name, is_directory=name == "AnyDirectory") for name in _DATA_TYPES]
        return known + self._types.find()

    def create_data_type(self, data_type: DataType) -> DataType:
        """Add a kind of data."""
        key = data_type.id or data_type.name
        if not key:
            raise BadRequest("A data type needs a 'Name'.")
        return self._types.put(key, data_type.model_copy(update={"id": key}))

    def create_module(self, module: ModuleEntity) -> ModuleEntity:
        """Keep a module."""
        now = self._clock.now()
        made = {"id": str(uuid.uuid4()), "upload_state": "Completed", "created_date": now, "last_modified_date": now}
        return self._modules.put(made["id"], module.model_copy(update=made))  # type: ignore[arg-type]  # it is the id

    def module(self, module_id: str) -> ModuleEntity:
        """The module with that id.

        :raises NotFound: if there is none.
        """
        found = self._modules.get(module_id)
        if found is None:
            raise NotFound(f"There is no module with the id {module_id!r}.", code="ModuleNotFound")
        return found

    def module_by_hash(self, identifier: str) -> ModuleEntity:
        """The newest module with the same content.

        :raises NotFound: if there is none.
        """
        found = self._modules.find(IdentifierHash=identifier, newest_first=True, limit=1)
        if not found:
            raise NotFound(f"There is no module with the hash {identifier!r}.", code="ModuleNotFound")
        return found[0]

    def create_data_source(self, source: DataSource) -> DataSource:
        """Keep a data source."""
        key = str(uuid.uuid4())
        blob = AzureBlobReference(aml_data_store_name=source.data_store_name, relative_path=source.path_on_data_store)
        location = DataLocation(data_reference=DataReference(type="AzureBlob", azure_blob_reference=blob))
        made = {"id": key, "data_location": location, "created_date": self._clock.now()}
        return self._sources.put(key, source.model_copy(update=made))

    def data_source(self, source_id: str) -> DataSource:
        """The data source with that id.

        :raises NotFound: if there is none.
        """
        found = self._sources.get(source_id)
        if found is None:
            raise NotFound(f"There is no data source with the id {source_id!r}.", code="GraphDatasetNotFound")
        return found

    def data_source_by_hash(self, identifier: str) -> DataSource:
        """The newest data source over the same path.

        :raises NotFound: if there is none.
        """
        found = self._sources.find(IdentifierHash=identifier, newest_first=True, limit=1)
        if not found:
            raise NotFound(f"There is no data source with the hash {identifier!r}.")
        return found[0]

    def data_path(self, source_id: str) -> DataPath:
        """Where a data source lies."""
        source = self.data_source(source_id)
        return DataPath(data_store_name=source.data_store_name, relative_path=source.path_on_data_store)

    def keep_graph(self, graph: Graph, interface: GraphInterface | None) -> GraphDocument:
        """Keep a graph, under a new id."""
        now = self._clock.now()
        made = {"id": str(uuid.uuid4()), "created_date": now, "last_modified_date": now}
        document = GraphDocument(graph=graph.model_copy(update=made), interface=interface or GraphInterface())
        return self._graphs.put(made["id"], document)  # type: ignore[arg-type]  # it is the id

    def graph(self, graph_id: str) -> GraphDocument:
        """The graph with that id.

        :raises NotFound: if there is none.
        """
        document = self._graphs.get(graph_id)
        if document is None:
            raise NotFound(f"There is no graph with the id {graph_id!r}.", code="GraphNotFound")
        return document

    def named_graph(self, graph_id: str) -> Graph:
        """A graph whose references to registered datasets carry the names, without which the SDK cannot read them."""
        graph = self.graph(graph_id).graph
        for node in graph.dataset_nodes or ():
            value = node.data_set_definition.value if node.data_set_definition is not None else None
            reference = value.data_set_reference if value is not None else None
            if reference is not None and reference.id and not reference.name:
                reference.name = self._datasets.name_of(reference.id)
        return graph

    def publish(self, info: PipelineCreationInfo) -> PublishedPipeline:
        """Publish a graph."""
        if info.graph is None or not info.graph.module_nodes:
            raise BadRequest("A pipeline needs a 'Graph' with at least one module node.")
        if not info.name:
            raise BadRequest("A published pipeline needs a 'Name'.")
        for node in info.graph.module_nodes:
            self.module(node.module_id)
        document = self.keep_graph(info.graph, info.graph_interface)
        key, now = str(uuid.uuid4()), self._clock.now()
        defaults = {p.name: p.default_value for p in document.interface.parameters if p.default_value is not None}
        assigned = {name: str(value) for name, value in (info.parameter_assignments or {}).items()}
        return self._published.put(
            key,
            PublishedPipeline(
                id=key,
                name=info.name,
                description=info.description,
                version=info.version,
                graph_id=document.graph.id,
                total_run_steps=len(info.graph.module_nodes),
                parameter_assignments=defaults | assigned,
                data_set_definition_value_assignments=info.data_set_definition_value_assignments or {},
                url=f"{self.runs_url}/PipelineSubmit/{key}",
                continue_run_on_step_failure=bool(info.continue_run_on_step_failure),
                enable_notification=info.enable_notification,
                properties=info.properties or {},
                tags=info.tags or {},
                created_date=now,
                last_modified_date=now,
            ),
        )

    def published(self, pipeline_id: str) -> PublishedPipeline:
        """The published pipeline with that id.

        :raises NotFound: if there is none.
        """
        found = self._published.get(pipeline_id)
        if found is None:
            raise NotFound(f"There is no published pipeline with the id {pipeline_id!r}.", code="PipelineNotFound")
        return found

    def list_published(self, *, active_only: bool) -> list[PublishedPipeline]:
        """The published pipelines, newest first."""
        found = self._published.find(newest_first=True)
        return [pipeline for pipeline in found if not active_only or pipeline.entity_status == ACTIVE]

    def set_status(self, pipeline_id: str, status: str) -> PublishedPipeline:
        """Enable or disable a published pipeline."""
        name = status_name(status)

        def change(pipeline: PublishedPipeline) -> None:
            pipeline.entity_status, pipeline.last_modified_date = name, self._clock.now()

        self.published(pipeline_id)
        self._published.update(pipeline_id, change)
        return self.published(pipeline_id)
