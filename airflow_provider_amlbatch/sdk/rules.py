"""The rules that Azure ML applies to a parallel step as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from airflow_provider_amlbatch.sdk import checks
from airflow_provider_amlbatch.sdk.checks import refuse
from airflow_provider_amlbatch.sdk.errors import SpecError
from airflow_provider_amlbatch.sdk.spec import Compute, Environment, Input, Output, ParallelRun, Parameter

#: The option that makes workers run without data; see ``arguments`` of :class:`ParallelRun`.
_RANK_OPTION = "--rank_mini_batch_count"


def check_parallel_run(step: ParallelRun) -> None:
    """Apply all rules.

    :param step: the step, as its author gave it.
    :raises SpecError: naming the first argument that breaks a rule.
    """
    checks.named(
        "ParallelRun.name",
        step.name,
        checks.STEP_NAME,
        "give 3 to 32 lowercase letters, digits or dashes, beginning with a letter",
    )
    _check_source(step)
    _check_numbers(step)
    _check_partitioning(step)
    _check_data(step)
    _check_output(step)
    _check_place(step)
    checks.arguments("ParallelRun.arguments", tuple(step.arguments))
    for name, value in step.environment_variables.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise refuse("ParallelRun.environment_variables", {name: value}, "give a dict of str to str")
    if not isinstance(step.allow_reuse, bool):
        raise refuse("ParallelRun.allow_reuse", step.allow_reuse, "give True or False")


def _check_source(step: ParallelRun) -> None:
    folder = Path(step.source_directory)
    if not folder.is_dir():
        raise refuse("ParallelRun.source_directory", step.source_directory, "give the path of a folder that exists")
    checks.text("ParallelRun.entry_script", step.entry_script)
    script = folder / step.entry_script
    if not script.is_file() or folder.resolve() not in script.resolve().parents:
        raise refuse("ParallelRun.entry_script", step.entry_script, f"give a file inside {str(folder)!r}")


def _check_numbers(step: ParallelRun) -> None:
    checks.integer("ParallelRun.error_threshold", step.error_threshold, -1)
    if step.allowed_failed_count is not None:
        checks.integer("ParallelRun.allowed_failed_count", step.allowed_failed_count, -1)
    if step.allowed_failed_percent is not None:
        checks.percent("ParallelRun.allowed_failed_percent", step.allowed_failed_percent)
    for argument in ("node_count", "run_invocation_timeout", "run_max_try"):
        _check_default(f"ParallelRun.{argument}", getattr(step, argument), checks.positive)
    if step.process_count_per_node is not None:
        _check_default("ParallelRun.process_count_per_node", step.process_count_per_node, checks.positive)
    _check_default("ParallelRun.logging_level", step.logging_level, _check_level)


def _check_default(argument: str, value: object, check: Callable[[str, object], object]) -> None:
    """Check a value, or the default of the parameter that stands for it; over REST that default may be text."""
    if isinstance(value, Parameter):
        default = value.default
        if check is checks.positive and isinstance(default, str) and default.isdigit():
            default = int(default)
        check(f"{argument} (default of parameter {value.name!r})", default)
    else:
        check(argument, value)


def _check_level(argument: str, value: object) -> None:
    checks.one_of(argument, value, ("DEBUG", "INFO", "WARNING"))


def _check_partitioning(step: ParallelRun) -> None:
    if step.mini_batch_size is not None and step.partition_keys is not None:
        raise SpecError(
            f"ParallelRun.mini_batch_size={step.mini_batch_size!r} and partition_keys={step.partition_keys!r} exclude "
            "each other: both say how the data is cut into mini-batches. Keep one."
        )
    if step.mini_batch_size is not None:
        _check_default("ParallelRun.mini_batch_size", step.mini_batch_size, checks.mini_batch_size)
    if isinstance(step.partition_keys, Parameter):
        _check_default("ParallelRun.partition_keys", step.partition_keys, checks.partition_keys_default)
    elif step.partition_keys is not None:
        checks.string_list("ParallelRun.partition_keys", step.partition_keys)


def _check_data(step: ParallelRun) -> None:
    for argument in ("inputs", "side_inputs"):
        for data in getattr(step, argument):
            if not isinstance(data, Input):
                raise refuse(f"ParallelRun.{argument}", data, "give Input(...) objects")
    if not step.inputs and not any(str(word).startswith(_RANK_OPTION) for word in step.arguments):
        raise refuse(
            "ParallelRun.inputs", list(step.inputs), f"give at least one Input, or {_RANK_OPTION} in arguments"
        )
    kinds = sorted({data.kind for data in step.inputs})
    if len(kinds) > 1:
        raise SpecError(
            f"ParallelRun.inputs mixes kinds {' and '.join(kinds)}: all inputs of a step must be of one kind."
        )
    for word in step.arguments:
        if isinstance(word, Input) and word not in step.side_inputs:
            raise refuse("ParallelRun.arguments", word, "an Input in arguments must be one of side_inputs")
        if not isinstance(word, str | int | float | Parameter | Input):
            raise refuse("ParallelRun.arguments", word, "give str, int, float, bool, Parameter or a side input")
    names = [data.name for data in (*step.inputs, *step.side_inputs)]
    checks.unique("ParallelRun.inputs", names + ([step.output.name] if isinstance(step.output, Output) else []))


def _check_output(step: ParallelRun) -> None:
    checks.one_of("ParallelRun.output_action", step.output_action, ("append_row", "summary_only"))
    if step.output is not None and not isinstance(step.output, Output):
        raise refuse("ParallelRun.output", step.output, "give an Output")
    if step.output is None and step.output_action == "append_row":
        raise refuse("ParallelRun.output", None, "output_action='append_row' needs an Output to write to")
    if step.append_row_file_name is not None:
        checks.file_name("ParallelRun.append_row_file_name", step.append_row_file_name)


def _check_place(step: ParallelRun) -> None:
    if not isinstance(step.environment, Environment):
        raise refuse("ParallelRun.environment", step.environment, "give an Environment")
    target = step.compute_target
    if not isinstance(target, Compute):
        checks.text("ParallelRun.compute_target", target)
    elif isinstance(step.node_count, int) and step.node_count > target.max_nodes:
        raise refuse(
            "ParallelRun.node_count", step.node_count, f"give at most max_nodes of {target.name!r}, {target.max_nodes}"
        )
