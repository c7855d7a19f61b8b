"""The command line of a ParallelRunStep: its settings first, the user's arguments, and the names of its inputs.

The command line is what counts; the metadata that the SDK sends beside it holds the defaults of pipeline parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_amlbatch.emulator.engine.job import Argument, ParallelSettings
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported

T = TypeVar("T")

#: What the SDK writes before the user's arguments, always as flag and value.
_SETTINGS = frozenset(
    {
        "client_sdk_version",
        "scoring_module_name",
        "mini_batch_size",
        "error_threshold",
        "output_action",
        "logging_level",
        "run_invocation_timeout",
        "run_max_try",
        "create_snapshot_at_runtime",
        "allowed_failed_count",
        "allowed_failed_percent",
        "append_row_file_name",
        "output",
        "process_count_per_node",
        "partition_keys",
    }
)

#: Settings of the driver that authors pass among their own arguments.
_ADVANCED = frozenset(
    {
        "append_row_dataframe_header",
        "task_overhead_timeout",
        "progress_update_timeout",
        "first_task_creation_timeout",
        "resource_monitor_interval",
        "rank_mini_batch_count",
        "metrics_name_prefix",
        "push_metrics_to_parent",
    }
)

#: Settings of Azure's driver that the emulator does not have.
_NOT_DONE = frozenset({"copy_logs_to_parent"})

_LOGGING_LEVELS = ("WARNING", "INFO", "DEBUG")
#: What the SDK refuses in a file name, too.
_NOT_IN_A_NAME = frozenset('~"#%&*:<>?/\\{|}')

_INPUT_FLAG = re.compile(r"^--(input_ds_|input_fds_|input_pipeline_param_|input)\d+$")
_SIZE = re.compile(r"^(\d+)([kmg]b)?$", re.IGNORECASE)
_UNITS = {None: 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


@dataclass(frozen=True)
class MetricsSettings:
    """What becomes of a parallel step's own metrics.

    :param name_prefix: stands before their names.
    :param push_to_parent: the pipeline run shows them, too.
    """

    name_prefix: str = ""
    push_to_parent: bool = False


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    :param settings: the SDK's flags, without dashes, and their values.
    :param user: the user's arguments.
    :param input_names: the inputs that are cut into mini-batches.
    """

    settings: dict[str, Argument]
    user: tuple[Argument, ...]
    input_names: tuple[str, ...]

    @classmethod
    def parse(cls, arguments: tuple[Argument, ...]) -> CommandLine:
        """Split a command line into its three parts."""
        settings: dict[str, Argument] = {}
        first = 0
        while first + 1 < len(arguments) and _name(arguments[first]) in _SETTINGS:
            settings[_name(arguments[first])] = arguments[first + 1]
            first += 2
        last = len(arguments)
        names: list[str] = []
        while last - 2 >= first and _is_input_flag(arguments[last - 2]):
            if _name(arguments[last - 2]).startswith("input_pipeline_param_"):
                pass  # the same input stands under --input_ds_N or --input_fds_N too
            else:
                names.insert(0, _input_name(arguments[last - 1]))
            last -= 2
        return cls(settings, arguments[first:last], tuple(names))

    def advanced(self) -> dict[str, str]:
        """The driver's settings among the user's arguments.

        :raises Unsupported: for one that the emulator does not have.
        """
        found: dict[str, str] = {}
        for index, argument in enumerate(self.user):
            name, _, value = _name(argument).partition("=")
            if name in _NOT_DONE:
                raise Unsupported(f"The emulator does not do '--{name}'.")
            if name in _ADVANCED:
                following = self.user[index + 1] if index + 1 < len(self.user) else ""
                found[name] = value or (following if isinstance(following, str) else "")
        return found

    def metrics(self) -> MetricsSettings:
        """What the author wants of the metrics."""
        advanced = self.advanced()
        return MetricsSettings(
            name_prefix=advanced.get("metrics_name_prefix", ""),
            push_to_parent=advanced.get("push_metrics_to_parent", "").lower() == "true",
        )

    def to_settings(self, node_count: int) -> ParallelSettings:
        """The settings of the step.

        :raises BadRequest: if a value is not what its flag takes.
        """
        advanced = self.advanced()
        entry_script = self._text("scoring_module_name")
        if not entry_script:
            raise BadRequest("The ParallelRunStep names no entry script ('--scoring_module_name').")
        output = self.settings.get("output")
        action = (self._text("output_action") or "append_row").lower()
        if action not in ("append_row", "summary_only"):
            raise BadRequest(f"'output_action' is {action!r}; it must be append_row or summary_only.")
        keys = self._read("partition_keys", _keys)
        defaults = ParallelSettings(entry_script, self.input_names)
        return ParallelSettings(
            entry_script=entry_script,
            input_names=self.input_names,
            mini_batch_size=defaults.mini_batch_size if keys else self._read("mini_batch_size", _size) or 10,
            partition_keys=keys,
            error_threshold=_or(self._read("error_threshold", _threshold), -1),
            allowed_failed_count=self._read("allowed_failed_count", _threshold),
            allowed_failed_percent=self._read("allowed_failed_percent", _percent),
            output_action="append_row" if action == "append_row" else "summary_only",
            output_name=output["output"] if isinstance(output, dict) and "output" in output else None,
            append_row_file_name=self._read("append_row_file_name", _file_name) or defaults.append_row_file_name,
            append_row_dataframe_header=advanced.get("append_row_dataframe_header", "").lower() == "true",
            node_count=node_count,
            process_count_per_node=self._read("process_count_per_node", _positive),
            run_invocation_timeout=self._read("run_invocation_timeout", _positive) or defaults.run_invocation_timeout,
            run_max_try=self._read("run_max_try", _positive) or defaults.run_max_try,
            logging_level=self._read("logging_level", _logging_level) or defaults.logging_level,
            task_overhead_timeout=_or(_seconds(advanced, "task_overhead_timeout"), defaults.task_overhead_timeout),
            progress_update_timeout=_seconds(advanced, "progress_update_timeout"),
            first_task_creation_timeout=_or(
                _seconds(advanced, "first_task_creation_timeout"), defaults.first_task_creation_timeout
            ),
            resource_monitor_interval=_or(
                _seconds(advanced, "resource_monitor_interval"), defaults.resource_monitor_interval
            ),
            rank_mini_batch_count=_count(advanced, "rank_mini_batch_count"),
        )

    def _text(self, name: str) -> str | None:
        value = self.settings.get(name)
        return None if value in (None, "", "None") or not isinstance(value, str) else value

    def _read(self, name: str, read: Callable[[str], T]) -> T | None:
        text = self._text(name)
        return None if text is None else read_value(name, text, read)


def read_value(name: str, text: str, read: Callable[[str], T]) -> T:
    """Read a value that came as text.

    Inferred: Azure starts the run and lets its driver fail; here the submission is refused.

    :raises BadRequest: if it cannot be read, naming the setting and the value.
    """
    try:
        return read(text)
    except ValueError as error:
        raise BadRequest(f"{name!r} cannot be {text!r}: {error}", code="InvalidParameterValue") from None


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("it must be at least 1")
    return value


def _threshold(text: str) -> int:
    value = int(text)
    if value < -1:
        raise ValueError("it must be at least -1")
    return value


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError("it must be between 0 and 100")
    return value


def _duration(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("it must be a number of seconds")
    return value


def _logging_level(text: str) -> str:
    if text not in _LOGGING_LEVELS:
        raise ValueError(f"it must be one of {', '.join(_LOGGING_LEVELS)}")
    return text


def _file_name(text: str) -> str:
    if not _NOT_IN_A_NAME.isdisjoint(text):
        raise ValueError(f"it must not hold any of {' '.join(sorted(_NOT_IN_A_NAME))}")
    return text


def _size(text: str) -> int:
    match = _SIZE.match(text.strip())
    if match is None or int(match[1]) < 1:
        raise ValueError("it must be a positive number, or a number followed by KB, MB or GB")
    return int(match[1]) * _UNITS[match[2].lower() if match[2] else None]


def _keys(text: str) -> tuple[str, ...] | None:
    value: Any = json.loads(text)
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise ValueError("it must be a JSON list of column names")
    return tuple(value) or None


def _seconds(settings: dict[str, str], name: str) -> float | None:
    return read_value(name, settings[name], _duration) if name in settings else None


def _count(settings: dict[str, str], name: str) -> int | None:
    return read_value(name, settings[name], _positive) if name in settings else None


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _name(argument: Argument) -> str:
    return argument.removeprefix("--") if isinstance(argument, str) and argument.startswith("--") else ""


def _is_input_flag(argument: Argument) -> bool:
    return isinstance(argument, str) and _INPUT_FLAG.match(argument) is not None


def _input_name(argument: Argument) -> str:
    return argument if isinstance(argument, str) else next(iter(argument.values()))
