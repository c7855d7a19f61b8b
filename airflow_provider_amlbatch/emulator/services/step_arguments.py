"""How parameters and data reach a step: on its command line, and in its environment variables."""

from __future__ import annotations

import re

from airflow_provider_amlbatch.emulator.engine import job as engine
from airflow_provider_amlbatch.emulator.errors import Unsupported
from airflow_provider_amlbatch.emulator.services.graph import Argument, ModuleEntity, ModuleNode

#: How the SDK writes datasets into a command line.
_INPUT_ARGUMENT = "DatasetConsumptionConfig:"
_OUTPUT_ARGUMENT = "DatasetOutputConfig:"

#: How it writes the place of an input or output within a text.
_REFERENCE = re.compile(r"\$AZUREML_DATAREFERENCE_(\w+)")


def arguments(
    node: ModuleNode,
    module: ModuleEntity,
    values: dict[str, str | None],
    dataset_ids: dict[str, str],
    references: dict[str, str],
    *,
    is_script: bool,
) -> tuple[engine.Argument, ...]:
    """The command line of a step.

    :param values: parameters by name.
    :param dataset_ids: ids of the inputs that are datasets, by name.
    :param references: local paths of inputs and outputs, for those that stand within a text.
    :raises Unsupported: for a kind of argument that is not known.
    """
    direct = _direct_inputs(node, module) if is_script else frozenset()

    def resolve_input(name: str) -> engine.Argument:
        # A dataset that is not mounted reaches a script as its id.
        if name in direct and name in dataset_ids:
            return dataset_ids[name]
        return {"input": name}

    def resolve(argument: Argument) -> engine.Argument | None:
        name = argument.value or ""
        if argument.value_type in ("Literal", "0"):
            # Datasets stand in the command line as texts.
            if name.startswith(_INPUT_ARGUMENT):
                return resolve_input(name.removeprefix(_INPUT_ARGUMENT))
            if name.startswith(_OUTPUT_ARGUMENT):
                return {"output": name.removeprefix(_OUTPUT_ARGUMENT)}
            return _REFERENCE.sub(lambda match: references.get(match[1], match[0]), name)
        if argument.value_type in ("Parameter", "1"):
            return values.get(name)
        if argument.value_type in ("Input", "2"):
            return resolve_input(name)
        if argument.value_type in ("Output", "3"):
            return {"output": name}
        raise Unsupported(f"The emulator does not know arguments of the type {argument.value_type!r}.")

    resolved = (resolve(argument) for argument in module.structured_interface.arguments or ())
    return tuple("" if argument is None else argument for argument in resolved)


def data_variables(
    node: ModuleNode,
    module: ModuleEntity,
    inputs: tuple[engine.Input, ...],
    outputs: tuple[engine.Output, ...],
    dataset_ids: dict[str, str],
) -> dict[str, str]:
    """What ``Run.input_datasets`` and ``Run.output_datasets`` are read from."""
    direct = _direct_inputs(node, module)
    variables: dict[str, str] = {}
    modes = []
    for item in inputs:
        if item.name in dataset_ids:
            is_direct = item.name in direct or item.kind == "tabular"
            modes.append(f"{item.name}:{'direct' if is_direct else 'mount'}")
            variables[item.name] = dataset_ids[item.name] if is_direct else item.root or item.patterns[0]
    if modes:
        variables["AZUREML_DATASET_ENVIRONMENT_VARS"] = ",".join(modes)
    configured = {s.name for s in node.module_output_settings or () if s.dataset_output_options is not None}
    files = {output.name: output.path for output in outputs if output.name in configured}
    if files:
        variables |= files | {"AZUREML_DATASET_FILE_OUTPUTS": ";".join(files)}
    return variables


def _direct_inputs(node: ModuleNode, module: ModuleEntity) -> frozenset[str]:
    modes = {declared.name: declared.data_store_mode for declared in module.structured_interface.inputs}
    modes |= {s.name: s.data_store_mode for s in node.module_input_settings or () if s.data_store_mode}
    return frozenset(name for name, mode in modes.items() if (mode or "").lower() == "direct")


def parameter_variables(module: ModuleEntity, values: dict[str, str | None]) -> dict[str, str]:
    """The parameters that a script finds in its environment."""
    variables = {}
    for parameter in module.structured_interface.parameters:
        value = values.get(parameter.name)
        if parameter.set_environment_variable and value is not None:
            variables[parameter.environment_variable_override or f"AML_PARAMETER_{parameter.name}"] = value
    return variables
