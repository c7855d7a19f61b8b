"""From a graph and its assignments to a job that the engine executes: local paths, literal arguments, variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue
from airflow_provider_amlbatch.emulator.delivery import Delivery
from airflow_provider_amlbatch.emulator.engine import job as engine
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.services import dataflow as dataflows
from airflow_provider_amlbatch.emulator.services import dataflow_blocks, paths_on_compute, step_arguments
from airflow_provider_amlbatch.emulator.services import graph as graphs
from airflow_provider_amlbatch.emulator.services.dataflow import Dataflow, Locate
from airflow_provider_amlbatch.emulator.services.datasets import SavedDataset
from airflow_provider_amlbatch.emulator.services.graph import (
    Assignments,
    DatasetNode,
    EnvironmentDefinition,
    Graph,
    ModuleEntity,
    ModuleNode,
    OutputSetting,
    RunConfiguration,
)
from airflow_provider_amlbatch.emulator.services.parallel_arguments import CommandLine, MetricsSettings, read_value
from airflow_provider_amlbatch.emulator.services.reuse import Decision, Place
from airflow_provider_amlbatch.emulator.services.step_environment import Interpreter, interpreter

PARALLEL_STEP = "ParallelRunStep"
SCRIPT_STEP = "PythonScriptStep"

#: Name of the output that the SDK adds to say "run after".
_BOOKKEEPING = "_run_after_output"

#: Where PipelineData and OutputFileDatasetConfig go by default.
_PIPELINE_DATA = "azureml/{run-id}/{output-name}"
_DATASET_OUTPUT = "dataset/{run-id}/{output-name}"


@dataclass(frozen=True)
class Surroundings:
    """What the compiler asks of the services."""

    module: Callable[[str], ModuleEntity]
    dataset: Callable[[DataSetDefinitionValue], SavedDataset]
    data_source: Callable[[str], DataPath]
    locate: Locate
    default_datastore: str
    snapshot: Callable[[str], Path]
    artifacts: Callable[[str], Path]
    variables: Callable[[str], dict[str, str]]
    content: Callable[[str], str]
    reuse: Callable[[str, dict[str, Any], bool], Decision]
    delivery: Callable[[], Delivery]


@dataclass(frozen=True)
class CompiledStep:
    """A step's job and what the services keep about it. ``compared`` is what reuse compares."""

    job: engine.StepJob
    node: ModuleNode
    module: ModuleEntity
    compute: str
    node_count: int
    places: dict[str, Place]
    interpreter: Interpreter
    dataset_ids: dict[str, str]
    compared: dict[str, Any]
    decision: Decision
    metrics: MetricsSettings


class Compiler:
    """Compiles one run."""

    def __init__(self, graph: Graph, values: Assignments, run_ids: dict[str, str], around: Surroundings) -> None:
        """Take what is to be compiled.

        :param values: assignments, with the defaults of what was not assigned.
        :param run_ids: step run id by node id.
        """
        self._graph = graph
        self._values = values
        self._run_ids = run_ids
        self._around = around
        self._modules = {node.id: around.module(node.module_id) for node in graph.module_nodes or ()}
        self._nodes = {node.id: node for node in graph.module_nodes or ()}
        self._places: dict[str, dict[str, Place]] = {}
        #: Step run id by node id; for a reused step the one that wrote the data.
        self._producers = dict(run_ids)

    def compile(self) -> tuple[CompiledStep, ...]:
        """Compile the steps, in an order in which they may run.

        :raises BadRequest: if the graph or a value is wrong.
        :raises Unsupported: if it needs what the emulator does not do.
        """
        ordered = self._graph.ordered_steps()
        for node in ordered:
            self._places[node.id] = self._output_places(node)
        return tuple(self._step(node) for node in ordered)

    def parameters(self, node: ModuleNode) -> dict[str, str | None]:
        """Every parameter of a node with its value."""
        values: dict[str, str | None] = {
            parameter.name: parameter.default_value
            for parameter in self._modules[node.id].structured_interface.parameters
        }
        for assignment in node.module_parameters or ():
            if assignment.is_pipeline_parameter:
                values[assignment.name] = self._pipeline_parameter(str(assignment.value))
            elif assignment.value is not None:
                values[assignment.name] = assignment.value
        return values

    def _pipeline_parameter(self, name: str) -> str | None:
        if name in self._values.parameters:
            return self._values.parameters[name]
        raise BadRequest(f"The graph uses the pipeline parameter {name!r}, which has no value and no default.")

    def _step(self, node: ModuleNode) -> CompiledStep:
        module = self._modules[node.id]
        kind = module.step_type or (PARALLEL_STEP if module.module_type == "BatchInferencing" else SCRIPT_STEP)
        values = self.parameters(node)
        if kind not in (PARALLEL_STEP, SCRIPT_STEP) or values.get("Command"):
            raise Unsupported(
                f"The step {module.name!r} is a {'CommandStep' if values.get('Command') else kind}; the emulator runs "
                f"{PARALLEL_STEP} and {SCRIPT_STEP}."
            )
        run_id = self._run_ids[node.id]
        configuration = node.run_configuration()
        environment = configuration.environment or EnvironmentDefinition()
        python = interpreter(environment)
        inputs, dataset_ids, keys = self._inputs(node, is_script=kind == SCRIPT_STEP)
        # Inferred: a pipeline that declares the parameter of this name from the preview sets its nodes with it.
        preview = self._values.parameters.get("aml_node_count") if kind == PARALLEL_STEP else None
        node_count = _node_count(values.get("NodeCount") or preview, configuration.node_count)
        if kind == SCRIPT_STEP:
            _refuse_distributed(module, configuration, node_count)
        places = self._places[node.id]
        outputs = tuple(
            engine.Output(name, str(self._around.locate(place.datastore, place.path))) for name, place in places.items()
        )
        references = {item.name: item.root or item.patterns[0] for item in inputs}
        references |= {output.name: output.path for output in outputs}
        arguments = step_arguments.arguments(
            node, module, values, dataset_ids, references, is_script=kind == SCRIPT_STEP
        )
        variables = self._around.variables(run_id) | step_arguments.data_variables(
            node, module, inputs, outputs, dataset_ids
        )
        for given in (environment.environment_variables, configuration.environment_variables):
            variables |= {str(name): str(value) for name, value in (given or {}).items()}
        variables |= step_arguments.parameter_variables(module, values)
        line = CommandLine.parse(arguments) if kind == PARALLEL_STEP else None
        parallel = line.to_settings(node_count) if line is not None else None
        metrics = line.metrics() if line is not None else MetricsSettings()
        dataflows.refuse_parts(inputs, () if parallel is None else parallel.input_names)
        delivery = self._around.delivery().model_dump() if parallel is not None else {}
        if parallel is not None:
            parallel = replace(parallel, **delivery)
        if parallel is not None and parallel.output_name is not None and parallel.output_name not in places:
            raise BadRequest(f"The step {module.name!r} writes to {parallel.output_name!r}, which is no output of it.")
        step = engine.StepJob(
            run_id=run_id,
            node_id=node.id,
            name=module.name or node.id,
            source=str(self._source(module)),
            artifacts=str(self._around.artifacts(run_id)),
            interpreter=python.path,
            environment=variables,
            arguments=arguments,
            inputs=inputs,
            outputs=outputs,
            depends_on=tuple(self._run_ids[source] for source in self._graph.steps_before(node.id)),
            script=values.get("Script") if kind == SCRIPT_STEP else None,
            parallel=parallel,
            timeout=configuration.max_run_duration_seconds or None,
            links=paths_on_compute.links(node, references, is_script=kind == SCRIPT_STEP),
        )
        if kind == SCRIPT_STEP and not step.script:
            raise BadRequest(f"The step {module.name!r} names no script.")
        compute = values.get("Target") or configuration.target
        if not compute or compute == "local":
            raise Unsupported(f"The step {module.name!r} names no compute target; the emulator runs on AmlCompute.")
        compared = {
            "source": self._around.content(str(module.storage_id)),
            "arguments": arguments,
            "parameters": {name: value for name, value in values.items() if value is not None},
            "environment": environment.to_wire(exclude_none=True),
            "environment variables": configuration.environment_variables or {},
            "inputs": keys,
            "node count": node_count,
            # Rows that came twice are not to be taken for those of a run that should not have them, nor the other way.
            "delivery": delivery,
        }
        allowed = bool(module.is_deterministic) and not node.regenerate_output
        decision = self._around.reuse(step.name, compared, allowed)
        if decision.earlier is not None:
            places = {place.name: Place(place.data_store_name, place.path) for place in decision.earlier.outputs}
            self._places[node.id] = places
            self._producers[node.id] = decision.earlier.run_id
            step = replace(step, reused_from=decision.earlier.run_id)
        return CompiledStep(
            step, node, module, str(compute), node_count, places, python, dataset_ids, compared, decision, metrics
        )

    def _source(self, module: ModuleEntity) -> Path:
        if not module.storage_id:
            raise BadRequest(f"The module {module.name!r} has no snapshot of its source folder.")
        return self._around.snapshot(module.storage_id)

    def _inputs(
        self, node: ModuleNode, *, is_script: bool
    ) -> tuple[tuple[engine.Input, ...], dict[str, str], dict[str, object]]:
        inputs: list[engine.Input] = []
        dataset_ids: dict[str, str] = {}
        keys: dict[str, object] = {}
        transformed = {
            setting.name: setting.additional_transformations
            for setting in node.module_input_settings or ()
            if setting.additional_transformations
        }
        for edge in self._graph.edges or ():
            name = edge.destination_input_port.port_name
            if edge.destination_input_port.node_id != node.id or name is None or _is_bookkeeping(name):
                continue
            source = self._graph.source(edge.source_output_port.node_id)
            if source is not None:
                flow, saved_id = self._data(source)
                keys[name] = saved_id or [list(location) for location in flow.locations]
                if saved_id is not None:
                    dataset_ids[name] = saved_id
            elif _is_bookkeeping(edge.source_output_port.port_name or ""):
                continue
            else:
                flow = self._upstream(str(edge.source_output_port.node_id), str(edge.source_output_port.port_name))
                keys[name] = [self._producers[str(edge.source_output_port.node_id)], edge.source_output_port.port_name]
            if name in transformed:
                flow = dataflows.transform(flow, dataflow_blocks.translate(str(transformed[name])))
            inputs.append(flow.to_input(name, self._around.locate, is_read_by_sdk=is_script))
        return tuple(inputs), dataset_ids, keys

    def _upstream(self, node_id: str, port: str) -> Dataflow:
        place = self._places.get(node_id, {}).get(port)
        if place is None:
            raise BadRequest(
                f"An edge of the graph begins at the output {port!r} of {node_id!r}, which does not exist."
            )
        flow = Dataflow(((place.datastore, place.path),))
        for setting in self._nodes[node_id].module_output_settings or ():
            registration = setting.dataset_registration
            if setting.name == port and registration is not None and registration.additional_transformations:
                flow = dataflows.transform(flow, dataflow_blocks.translate(registration.additional_transformations))
        return flow

    def _data(self, source: DatasetNode) -> tuple[Dataflow, str | None]:
        if source.data_path_parameter_name:
            path = self._values.data_paths.get(source.data_path_parameter_name)
            if path is None:
                raise BadRequest(f"The data path parameter {source.data_path_parameter_name!r} has no value.")
            return self._path(path), None
        if source.dataset_id:
            return self._path(self._around.data_source(source.dataset_id)), None
        definition = source.data_set_definition or graphs.DataSetDefinition()
        value = definition.value
        if definition.parameter_name:
            value = self._values.datasets.get(definition.parameter_name)
            if value is None:
                raise BadRequest(f"The dataset parameter {definition.parameter_name!r} has no value.")
        if value is None:
            raise BadRequest(f"The dataset node {source.id!r} names no dataset.", code="GraphDatasetNotFound")
        if value.literal_value is not None:
            return self._path(value.literal_value), None
        saved = self._around.dataset(value)
        return dataflows.parse(saved.dataflow_json or ""), saved.id

    def _path(self, path: DataPath) -> Dataflow:
        datastore = path.data_store_name or self._around.default_datastore
        return Dataflow(((datastore, (path.relative_path or "").strip("/")),))

    def _output_places(self, node: ModuleNode) -> dict[str, Place]:
        settings = {setting.name: setting for setting in node.module_output_settings or ()}
        places = {}
        for output in self._modules[node.id].structured_interface.outputs:
            if output.skip_processing or _is_bookkeeping(output.name):
                continue
            setting = settings.get(output.name) or OutputSetting(
                name=output.name, data_store_name=output.data_store_name
            )
            template = _PIPELINE_DATA
            if setting.dataset_output_options is not None:
                template = setting.dataset_output_options.path_on_datastore or _DATASET_OUTPUT
            path = template.replace("{run-id}", self._run_ids[node.id]).replace("{output-name}", output.name)
            places[output.name] = Place(setting.data_store_name or self._around.default_datastore, path.strip("/"))
        return places


def _node_count(assigned: str | None, configured: object) -> int:
    text = str(assigned or configured or 1)
    count = read_value("node_count", text, int)
    if count < 1:
        raise BadRequest(f"'node_count' is {count}; it must be at least 1.", code="InvalidParameterValue")
    return count


def _refuse_distributed(module: ModuleEntity, configuration: RunConfiguration, node_count: int) -> None:
    settings = {
        "framework": configuration.framework if configuration.framework != "Python" else None,
        "communicator": configuration.communicator if configuration.communicator != "None" else None,
        "node_count": node_count if node_count > 1 else None,
    }
    for name, value in settings.items():
        if value:
            raise Unsupported(
                f"The step {module.name!r} asks for {name}={value!r}; the emulator runs a script in one Python process."
            )


def _is_bookkeeping(port: str) -> bool:
    return port.startswith(_BOOKKEEPING)
