"""The pipelines service: what pipelines are made of, and published pipelines (``/pipelines/v1.0``)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from airflow_provider_amlbatch.aml.pipelines import GraphInterface, PublishedPipeline
from airflow_provider_amlbatch.aml.wire import Pascal
from airflow_provider_amlbatch.emulator.errors import Unsupported
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.graph import Graph, ModuleEntity
from airflow_provider_amlbatch.emulator.services.pipelines import DataSource, DataType, PipelineCreationInfo

router = APIRouter(prefix="/pipelines/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])

#: Whether a list leaves out what is disabled.
ActiveOnly = Annotated[bool, Query(alias="activeOnly")]


class Module(Pascal):
    """A module and its interface, as look-ups give it."""

    data: ModuleEntity
    interface: dict[str, Any]


def _module(entity: ModuleEntity) -> Module:
    declared = entity.structured_interface
    interface = {
        "Parameters": [_parameter(parameter.to_wire()) for parameter in declared.parameters],
        "MetadataParameters": [_parameter(parameter.to_wire()) for parameter in declared.metadata_parameters],
        "Ports": {
            "Inputs": [
                {"Name": port.name, "DataTypesIds": port.data_type_ids_list, "IsOptional": bool(port.is_optional)}
                for port in declared.inputs
            ],
            "Outputs": [{"Name": port.name, "DataTypeId": port.data_type_id} for port in declared.outputs],
        },
        "DataPathParameters": [],
        "DataPathParameterList": [],
    }
    return Module(data=entity, interface=interface)


def _parameter(declared: dict[str, Any]) -> dict[str, Any]:
    return {name: declared.get(name) for name in ("Name", "DefaultValue", "IsOptional")} | {"Type": "String"}


@router.get("/DataTypes")
def list_data_types(emulator: TheEmulator) -> list[DataType]:
    """List the kinds of data."""
    return emulator.pipelines.data_types()


@router.post("/DataTypes")
def create_data_type(emulator: TheEmulator, data_type: DataType) -> DataType:
    """Add a kind of data."""
    return emulator.pipelines.create_data_type(data_type)


@router.get("/Modules/Hash/{identifier}")
def get_module_by_hash(emulator: TheEmulator, identifier: str) -> Module:
    """Find a module with the same content."""
    return _module(emulator.pipelines.module_by_hash(identifier))


@router.post("/Modules")
def create_module(emulator: TheEmulator, module: ModuleEntity) -> ModuleEntity:
    """Keep a module."""
    return emulator.pipelines.create_module(module)


@router.get("/Modules/{module_id}")
def get_module(emulator: TheEmulator, module_id: str) -> Module:
    """Get a module."""
    return _module(emulator.pipelines.module(module_id))


@router.get("/DataSources/Hash/{identifier}")
def get_data_source_by_hash(emulator: TheEmulator, identifier: str) -> DataSource:
    """Find a data source over the same path."""
    return emulator.pipelines.data_source_by_hash(identifier)


@router.post("/DataSources")
def create_data_source(emulator: TheEmulator, source: DataSource) -> DataSource:
    """Keep a data source."""
    return emulator.pipelines.create_data_source(source)


@router.get("/DataSources/{source_id}")
def get_data_source(emulator: TheEmulator, source_id: str) -> DataSource:
    """Get a data source."""
    return emulator.pipelines.data_source(source_id)


@router.get("/Graphs/{graph_id}")
def get_graph(emulator: TheEmulator, graph_id: str) -> Graph:
    """Get a graph, as it was submitted."""
    return emulator.pipelines.named_graph(graph_id)


@router.get("/Graphs/{graph_id}/Interface")
def get_graph_interface(emulator: TheEmulator, graph_id: str) -> GraphInterface:
    """Get what a graph can be given."""
    return emulator.pipelines.graph(graph_id).interface


@router.post("/Pipelines/Create")
def create_pipeline(emulator: TheEmulator, info: PipelineCreationInfo) -> PublishedPipeline:
    """Publish a pipeline."""
    return emulator.pipelines.publish(info)


@router.get("/Pipelines")
def list_pipelines(emulator: TheEmulator, active_only: ActiveOnly = True) -> list[PublishedPipeline]:
    """List the published pipelines."""
    return emulator.pipelines.list_published(active_only=active_only)


@router.get("/Pipelines/{pipeline_id}")
def get_pipeline(emulator: TheEmulator, pipeline_id: str) -> PublishedPipeline:
    """Get a published pipeline."""
    return emulator.pipelines.published(pipeline_id)


@router.put("/Pipelines/{pipeline_id}/status")
def set_pipeline_status(emulator: TheEmulator, pipeline_id: str, status: Annotated[str, Body()]) -> PublishedPipeline:
    """Enable or disable a published pipeline."""
    return emulator.schedules.set_pipeline_status(pipeline_id, status)


@router.api_route("/PipelineDrafts/{rest:path}", methods=["GET", "POST", "PUT", "DELETE"])
@router.api_route("/PipelineDrafts", methods=["GET", "POST"])
@router.api_route("/GraphDrafts/{rest:path}", methods=["GET", "PUT", "DELETE"])
@router.post("/GraphDrafts")
@router.post("/Pipelines/PipelineDraftCreate")
def refuse_drafts(rest: str = "") -> None:
    """Say that there are no drafts here."""
    raise Unsupported(f"The emulator has no pipeline drafts ({rest or 'list'}): publish the pipeline instead.")
