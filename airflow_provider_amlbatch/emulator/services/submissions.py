"""What a run is given: the caller's assignments checked against what the graph declares, and its defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue, GraphInterface
from airflow_provider_amlbatch.aml.wire import Pascal
from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.services.graph import Assignments, Graph

P = TypeVar("P", bound=Pascal)


class RunCreationInfo(Pascal):
    """What a run that is submitted with its graph is called and given (``PipelineRunCreationInfo``)."""

    description: str | None = None
    continue_experiment_on_node_failure: bool | None = None
    continue_run_on_step_failure: bool | None = None
    parameter_assignments: dict[str, Any] | None = None
    data_path_assignments: dict[str, DataPath] | None = None
    data_set_definition_value_assignments: dict[str, DataSetDefinitionValue] | None = None
    run_source: str | None = None
    run_type: str | None = None
    run_history_experiment_name: str | None = None
    properties: dict[str, Any] | None = None


class RunCreationInfoWithGraph(Pascal):
    """The body of a request to make a run of a graph."""

    creation_info: RunCreationInfo = RunCreationInfo()
    graph: Graph
    graph_interface: GraphInterface | None = None


@dataclass(frozen=True)
class Submission:
    """A request for a run, however it came in."""

    experiment_name: str
    graph_id: str
    given: Assignments = field(default_factory=Assignments)
    description: str | None = None
    pipeline_id: str | None = None
    endpoint_id: str | None = None
    schedule_id: str | None = None
    run_source: str | None = None
    run_type: str | None = None
    continue_on_step_failure: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    step_tags: Mapping[str, str] = field(default_factory=dict)


def assignments(
    parameters: Mapping[str, Any] | None,
    data_paths: Mapping[str, DataPath] | None,
    datasets: Mapping[str, DataSetDefinitionValue] | None,
) -> Assignments:
    """Collect assignments. Values may come as numbers; they are texts from here on."""
    return Assignments(
        parameters={name: as_text(value) for name, value in (parameters or {}).items() if value is not None},
        data_paths=dict(data_paths or {}),
        datasets=dict(datasets or {}),
    )


def as_text(value: Any) -> str:
    """A parameter's value as the driver gets it.

    :raises BadRequest: for a list or an object.
    """
    if isinstance(value, list | dict):
        raise BadRequest(f"The parameter value {value!r} must be a string, a number or a boolean.")
    return value if isinstance(value, str) else str(value)


def resolve(interface: GraphInterface, given: Assignments) -> Assignments:
    """Lay the assignments over the defaults.

    Inferred: a parameter that the pipeline does not declare is left out, and the default stays in force. Two of
    Microsoft's own notebooks (versioned pipeline endpoints, style transfer) send such names and go on with the run.
    For data paths and datasets nothing tells what happens; there it is refused.

    :raises BadRequest: if a data path or a dataset is not declared, naming those that are.
    """
    data_paths = _declared(interface.data_path_parameters, DataPath)
    datasets = _declared(interface.data_path_parameter_list, DataSetDefinitionValue)
    _known("DataPathAssignments", given.data_paths, [*data_paths, *datasets])
    _known("DataSetDefinitionValueAssignments", given.datasets, [*datasets, *data_paths])
    declared = {parameter.name for parameter in interface.parameters}
    defaults = {p.name: as_text(p.default_value) for p in interface.parameters if p.default_value is not None}
    # A data path may come as the literal value of a dataset parameter, and a dataset parameter as a data path.
    literal = {name: value.literal_value for name, value in given.datasets.items() if value.literal_value is not None}
    wrapped = {name: DataSetDefinitionValue(literal_value=path) for name, path in given.data_paths.items()}
    return Assignments(
        parameters=defaults | {name: value for name, value in given.parameters.items() if name in declared},
        data_paths={name: path for name, path in data_paths.items() if path is not None}
        | {name: path for name, path in literal.items() if name in data_paths}
        | given.data_paths,
        datasets={name: value for name, value in datasets.items() if value is not None}
        | {name: value for name, value in wrapped.items() if name in datasets}
        | given.datasets,
    )


def left_out(interface: GraphInterface, given: Assignments) -> list[str]:
    """The parameters that are given and not declared."""
    return sorted(set(given.parameters) - {parameter.name for parameter in interface.parameters})


def _declared(parameters: list[dict[str, Any]], kind: type[P]) -> dict[str, P | None]:
    """Name and default of each parameter."""

    def default(value: Any) -> P | None:
        return None if value is None else kind.model_validate(value)

    try:
        return {str(parameter["Name"]): default(parameter.get("DefaultValue")) for parameter in parameters}
    except (KeyError, ValidationError):
        raise BadRequest(f"The graph's interface declares a {kind.__name__} parameter that cannot be read.") from None


def _known(where: str, given: Iterable[str], declared: list[str]) -> None:
    unknown = [name for name in given if name not in declared]
    if unknown:
        names = ", ".join(sorted(declared)) or "none"
        raise BadRequest(
            f"The pipeline declares no parameter {unknown[0]!r} for {where}; it declares: {names}.",
            code="ParameterNotFound",
        )
