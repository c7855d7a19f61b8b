"""What is to be executed: the content of ``job.json``.

Everything is local and resolved: paths of this machine, literal arguments, complete environment variables. The engine
knows nothing of services, datasets or blobs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class FileInput:
    """Files of a FileDataset, or a folder that an earlier step writes.

    :param name: the name the step gives this input.
    :param patterns: absolute paths or globs (``*``, ``**``, ``?``) of files; a folder stands for all files below it.
        They are expanded when the step starts, sorted by path within each pattern.
    :param partition_format: Azure's template of the end of a path, such as ``/{store}/{brand}/*.csv``; with
        ``partition_keys`` it makes one mini-batch per distinct key.
    :param root: the path that stands for the input on a command line.
    :param window: of the files in their order, the first and the one behind the last (or None) that count.
    """

    name: str
    patterns: tuple[str, ...]
    root: str | None = None
    partition_format: str | None = None
    window: tuple[int, int | None] | None = None
    kind: Literal["file"] = "file"


@dataclass(frozen=True)
class TabularInput:
    """Rows of a TabularDataset.

    :param format: ``delimited``, ``parquet`` or ``json_lines``.
    :param options: how to read it, all optional. For every format ``columns``, the list of those to keep, and
        ``dropped_columns``, of those to leave out; ``path_column``, the name of a column that tells the file of a row,
        and ``path_prefixes``, by what to call a folder in it. For delimited text
        ``delimiter`` (","), ``encoding`` ("utf8", spelled as Azure or Python spells it), ``header`` ("every_file",
        "first_file" or "none"), ``infer_column_types`` (True), ``column_types`` (column to "string", "integer",
        "decimal", "boolean" or "datetime"), ``datetime_formats`` (column to the formats to try, as of ``strptime``),
        ``empty_as_string`` (False), ``support_multi_line`` (False). Types and formats count for every format.
    :param window: of the rows in their order, the first and the one behind the last (or None) that count.
    """

    name: str
    patterns: tuple[str, ...]
    format: Literal["delimited", "parquet", "json_lines"] = "delimited"
    options: dict[str, Any] = field(default_factory=dict)
    root: str | None = None
    partition_format: str | None = None
    window: tuple[int, int | None] | None = None
    kind: Literal["tabular"] = "tabular"


Input = FileInput | TabularInput


@dataclass(frozen=True)
class Output:
    """A folder that the step writes. ``path`` is created before the step starts and may exist already."""

    name: str
    path: str


@dataclass(frozen=True)
class ParallelSettings:
    """The settings of a ParallelRunStep, all resolved. Times are in seconds.

    :param mini_batch_size: files for file inputs, bytes for tabular inputs.
    :param output_name: the output that ``append_row`` writes to; None for ``summary_only`` without output.
    :param resource_monitor_interval: between two lines on the machine in the logs; 0 for none.
    :param rank_mini_batch_count: so many empty mini-batches take the place of the inputs.
    :param at_least_once: deliver some mini-batches twice and all of them in a random order.
    :param input_names: the inputs that are cut into mini-batches; the others are side inputs.
    :param lose_every: lose one line of so many when the output is collated, on purpose; 0 for none.
    """

    entry_script: str
    input_names: tuple[str, ...]
    mini_batch_size: int = 10
    partition_keys: tuple[str, ...] | None = None
    error_threshold: int = -1
    allowed_failed_count: int | None = None
    allowed_failed_percent: float | None = None
    output_action: Literal["append_row", "summary_only"] = "append_row"
    output_name: str | None = None
    append_row_file_name: str = "parallel_run_step.txt"
    append_row_dataframe_header: bool = False
    node_count: int = 1
    process_count_per_node: int | None = None
    run_invocation_timeout: float = 60
    run_max_try: int = 3
    logging_level: str = "INFO"
    task_overhead_timeout: float = 30
    progress_update_timeout: float | None = None
    first_task_creation_timeout: float = 600
    resource_monitor_interval: float = 600
    rank_mini_batch_count: int | None = None
    at_least_once: bool = False
    lose_every: int = 0


#: One element of a step's command line: a literal, or the local path of a named input or output.
Argument = str | dict[Literal["input", "output"], str]


@dataclass(frozen=True)
class StepJob:
    """One step of a pipeline.

    :param depends_on: run ids of the steps that must have completed first.
    :param source: folder of the unpacked snapshot; scripts are relative to it.
    :param script: a script step's file; None for a parallel step.
    :param artifacts: folder that the step's artifacts (``logs/``, ``user_logs/``, ``azureml-logs/``, ``outputs/``)
        are written to while it runs.
    :param interpreter: Python that scores.
    :param links: of a script step, what it wants to find in its working folder: target by relative path.
    :param reused_from: run id of the step whose outputs were taken over; then nothing is executed.
    """

    run_id: str
    node_id: str
    name: str
    source: str
    artifacts: str
    interpreter: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[Argument, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    depends_on: tuple[str, ...] = ()
    script: str | None = None
    parallel: ParallelSettings | None = None
    timeout: float | None = None
    reused_from: str | None = None
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineJob:
    """A pipeline run: its steps, in an order in which they may run."""

    run_id: str
    steps: tuple[StepJob, ...]
    continue_on_step_failure: bool = False

    def to_json(self) -> dict[str, Any]:
        """The job as JSON-safe values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PipelineJob:
        """Read what :meth:`to_json` wrote."""
        return cls(
            run_id=data["run_id"],
            steps=tuple(_step(step) for step in data["steps"]),
            continue_on_step_failure=data["continue_on_step_failure"],
        )


def _step(data: dict[str, Any]) -> StepJob:
    parallel = data["parallel"]
    if parallel is not None:
        keys = parallel["partition_keys"]
        parallel = ParallelSettings(
            **parallel
            | {
                "input_names": tuple(parallel["input_names"]),
                "partition_keys": None if keys is None else tuple(keys),
            }
        )
    return StepJob(
        **data
        | {
            "arguments": tuple(data["arguments"]),
            "inputs": tuple(_input(item) for item in data["inputs"]),
            "outputs": tuple(Output(**item) for item in data["outputs"]),
            "depends_on": tuple(data["depends_on"]),
            "parallel": parallel,
        }
    )


def _input(data: dict[str, Any]) -> Input:
    values = data | {"patterns": tuple(data["patterns"])}
    return TabularInput(**values) if data["kind"] == "tabular" else FileInput(**values)
