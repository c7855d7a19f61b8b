"""Graphs as the pipelines service is sent them: modules, datasets, and the edges between them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from airflow_provider_amlbatch.aml.pipelines import ACTIVE, DataPath, DataSetDefinitionValue, GraphInterface
from airflow_provider_amlbatch.aml.wire import Camel, Instant, Pascal
from airflow_provider_amlbatch.emulator.errors import BadRequest

#: The SDK sends enumerations as digits or as names, and numbers where strings are declared.
Text = Annotated[str, BeforeValidator(lambda value: value if value is None or isinstance(value, str) else str(value))]

#: ``ValueType`` of an assignment that stands for a pipeline parameter.
_GRAPH_PARAMETER = ("1", "GraphParameterName")


class Argument(Pascal):
    """One element of a command line. ``value_type`` is Literal, Parameter, Input or Output."""

    value_type: Text = "Literal"
    value: Text | None = None


class InterfaceInput(Pascal):
    """An input that a module declares."""

    name: str
    data_type_ids_list: list[str] = []
    data_store_mode: Text | None = None
    skip_processing: bool | None = None
    is_optional: bool | None = None


class InterfaceOutput(Pascal):
    """An output that a module declares. The SDK's bookkeeping outputs are to be skipped."""

    name: str
    data_type_id: str | None = None
    data_store_name: str | None = None
    data_store_mode: Text | None = None
    skip_processing: bool | None = None


class InterfaceParameter(Pascal):
    """A parameter that a module declares."""

    name: str
    default_value: Text | None = None
    is_optional: bool | None = None
    set_environment_variable: bool | None = None
    environment_variable_override: str | None = None


class StructuredInterface(Pascal):
    """What a module takes and gives."""

    inputs: list[InterfaceInput] = []
    outputs: list[InterfaceOutput] = []
    parameters: list[InterfaceParameter] = []
    metadata_parameters: list[InterfaceParameter] = []
    arguments: list[Argument] | None = None


class ModuleEntity(Pascal):
    """A module: a step's code and interface. ``storage_id`` is the snapshot of its source folder."""

    id: str = ""
    name: str | None = None
    description: str | None = None
    is_deterministic: bool | None = None
    module_execution_type: str | None = None
    module_type: Text | None = None
    step_type: str | None = None
    identifier_hash: str | None = None
    storage_id: str | None = None
    is_interface_only: bool | None = None
    structured_interface: StructuredInterface = StructuredInterface()
    runconfig: str | None = None
    upload_state: str = "Completed"
    entity_status: str = ACTIVE
    created_date: Instant | None = None
    last_modified_date: Instant | None = None


class Assignment(Pascal):
    """The value of a module's parameter at one node: a literal, or the name of a pipeline parameter."""

    name: str
    value: Text | None = None
    value_type: Text | None = None

    @property
    def is_pipeline_parameter(self) -> bool:
        """Whether the value is the name of a pipeline parameter."""
        return self.value_type in _GRAPH_PARAMETER


class OutputOptions(Pascal):
    """Where an output of an OutputFileDatasetConfig goes; a template."""

    path_on_datastore: str | None = None


class OutputRegistration(Pascal):
    """The dataset as which an output is registered when the step has completed."""

    name: str | None = None
    create_new_version: bool | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    additional_transformations: str | None = None


class OutputSetting(Pascal):
    """Where a node's output goes."""

    name: str
    data_store_name: str | None = None
    data_store_mode: Text | None = None
    path_on_compute: str | None = None
    dataset_output_options: OutputOptions | None = None
    dataset_registration: OutputRegistration | None = None


class InputSetting(Pascal):
    """How a node reads an input."""

    name: str
    additional_transformations: str | None = None
    path_on_compute: str | None = None
    data_store_mode: Text | None = None


class PythonSection(Camel):
    """How an environment comes to its Python."""

    user_managed_dependencies: bool | None = None
    interpreter_path: str | None = None
    conda_dependencies: dict[str, Any] | None = None


class DockerSection(Camel):
    """The image that an environment is based on."""

    base_image: str | None = None
    base_dockerfile: str | None = None
    build_context: dict[str, Any] | None = None


class EnvironmentDefinition(Camel):
    """An environment as a run configuration carries it."""

    name: str | None = None
    version: str | None = None
    python: PythonSection | None = None
    docker: DockerSection | None = None
    environment_variables: dict[str, Any] | None = None


class RunConfiguration(Camel):
    """What a node asks of its compute."""

    target: str | None = None
    framework: str | None = None
    communicator: str | None = None
    node_count: int | None = None
    max_run_duration_seconds: float | None = None
    environment: EnvironmentDefinition | None = None
    environment_variables: dict[str, Any] | None = None


class ModuleNode(Pascal):
    """A step of the graph."""

    id: str
    module_id: str
    module_type: Text | None = None
    comment: str | None = None
    module_parameters: list[Assignment] | None = None
    module_metadata_parameters: list[Assignment] | None = None
    module_output_settings: list[OutputSetting] | None = None
    module_input_settings: list[InputSetting] | None = None
    runconfig: str | None = None
    regenerate_output: bool | None = None

    def run_configuration(self) -> RunConfiguration:
        """The run configuration, read.

        :raises BadRequest: if it cannot be.
        """
        try:
            return RunConfiguration.model_validate_json(self.runconfig or "{}")
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise BadRequest(
                f"The 'Runconfig' of the node {self.id!r} cannot be read: {where} {problem['msg']}."
            ) from None


class DataSetDefinition(Pascal):
    """The dataset of a node: a value, or the name of the pipeline parameter that has it."""

    data_type_short_name: str | None = None
    parameter_name: str | None = None
    value: DataSetDefinitionValue | None = None


class DatasetNode(Pascal):
    """A source of data."""

    id: str
    dataset_id: str | None = None
    data_path_parameter_name: str | None = None
    data_set_definition: DataSetDefinition | None = None


class Port(Pascal):
    """One end of an edge: a port of a node, or a named output of the whole graph."""

    node_id: str | None = None
    port_name: str | None = None
    graph_port_name: str | None = None


class Edge(Pascal):
    """Data that goes from a port to a port."""

    source_output_port: Port
    destination_input_port: Port


class Graph(Pascal):
    """A pipeline's graph (``GraphEntity``)."""

    id: str | None = None
    module_nodes: list[ModuleNode] | None = None
    dataset_nodes: list[DatasetNode] | None = None
    edges: list[Edge] | None = None
    entity_status: str = ACTIVE
    created_date: Instant | None = None
    last_modified_date: Instant | None = None

    def node(self, node_id: str | None) -> ModuleNode | None:
        """The step with that id."""
        return next((node for node in self.module_nodes or () if node.id == node_id), None)

    def source(self, node_id: str | None) -> DatasetNode | None:
        """The source of data with that id."""
        return next((node for node in self.dataset_nodes or () if node.id == node_id), None)

    def steps_before(self, node_id: str) -> list[str]:
        """Ids of the steps that must come before a step."""
        found = [
            str(edge.source_output_port.node_id)
            for edge in self.edges or ()
            if edge.destination_input_port.node_id == node_id and self.node(edge.source_output_port.node_id) is not None
        ]
        return list(dict.fromkeys(found))

    def ordered_steps(self) -> list[ModuleNode]:
        """The steps, in an order in which they may run.

        :raises BadRequest: if there are none, or they wait for each other.
        """
        waiting = list(self.module_nodes or ())
        if not waiting:
            raise BadRequest("The graph has no steps.")
        done: set[str] = set()
        ordered: list[ModuleNode] = []
        while waiting:
            ready = [node for node in waiting if done.issuperset(self.steps_before(node.id))]
            if not ready:
                names = ", ".join(sorted(node.id for node in waiting))
                raise BadRequest(f"The steps {names} wait for each other: the graph has a cycle.")
            ordered += ready
            done.update(node.id for node in ready)
            waiting = [node for node in waiting if node.id not in done]
        return ordered


class GraphDocument(Pascal):
    """A graph as it is kept, with what it can be given."""

    graph: Graph
    interface: GraphInterface


class Assignments(Pascal):
    """What a run is given: parameters, data paths and datasets, by parameter name."""

    parameters: dict[str, str] = {}
    data_paths: dict[str, DataPath] = {}
    datasets: dict[str, DataSetDefinitionValue] = {}
