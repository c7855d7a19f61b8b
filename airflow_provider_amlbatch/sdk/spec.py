"""What a batch inference pipeline is, as values: frozen, validated when built, JSON both ways.

No azureml here, and nothing else that is slow to import: a DAG file builds these, and Azure's own rules are applied
while the file is parsed. :mod:`airflow_provider_amlbatch.sdk.pipelines` turns them into the SDK's objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from airflow_provider_amlbatch.sdk import checks
from airflow_provider_amlbatch.sdk.checks import refuse
from airflow_provider_amlbatch.sdk.errors import SpecError

#: What a pipeline parameter can carry besides a dataset.
Value = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """A value that may be given anew at each invocation (PipelineParameter).

    :param name: name under which the endpoint takes it.
    :param default: value when the invocation names none. One line: Azure refuses more.
    """

    name: str
    default: Value

    def __post_init__(self) -> None:
        checks.text("Parameter.name", self.name)
        if not isinstance(self.default, Value):
            raise refuse("Parameter.default", self.default, "give a str, int, float or bool")
        if isinstance(self.default, str) and "\n" in self.default:
            raise refuse("Parameter.default", self.default, "give a single line")


@dataclass(frozen=True)
class Input:
    """Data that a step reads: a registered dataset, or files of a datastore.

    :param name: name of the input in the step; letters, digits and underscores.
    :param dataset: name of a registered dataset. Exclusive with ``path``.
    :param version: version of that dataset; None is the latest at each run.
    :param path: a path or glob on the datastore, or several.
    :param datastore: name of the datastore of ``path``; None is the workspace's default.
    :param kind: ``file`` (``run()`` gets paths) or ``tabular`` (``run()`` gets a DataFrame). For ``path``, tabular
        means files of delimited text with a header, or Parquet where every path ends in ``.parquet``; the types of
        delimited columns are inferred from what is there when the pipeline is published.
    :param parameter: name of a pipeline parameter that can replace the data at each invocation.
    :param partition_format: template of the paths, such as ``/{store}/{brand}/*.csv``, for ``partition_keys``.
    """

    name: str
    dataset: str | None = None
    version: int | None = None
    path: str | Sequence[str] | None = None
    datastore: str | None = None
    kind: Literal["file", "tabular"] = "file"
    parameter: str | None = None
    partition_format: str | None = None

    def __post_init__(self) -> None:
        checks.named(
            "Input.name", self.name, checks.PORT_NAME, "give letters, digits and underscores, beginning with no digit"
        )
        checks.one_of("Input.kind", self.kind, ("file", "tabular"))
        if (self.dataset is None) == (self.path is None):
            raise SpecError(
                f"Input {self.name!r} needs exactly one of dataset= and path=: "
                f"dataset={self.dataset!r} and path={self.path!r} were given."
            )
        if self.dataset is not None:
            checks.text("Input.dataset", self.dataset)
        else:
            _set(self, "path", (self.path,) if isinstance(self.path, str) else tuple(self.path or ()))
            checks.string_list("Input.path", self.path)
        if self.version is not None:
            checks.positive("Input.version", self.version)
        self._refuse_misplaced()
        if self.parameter is not None:
            checks.text("Input.parameter", self.parameter)

    def _refuse_misplaced(self) -> None:
        other = {"version": self.version} if self.dataset is None else _path_options(self)
        for argument, value in other.items():
            if value is not None:
                owner = "dataset=" if self.dataset is None else "path="
                raise refuse(f"Input.{argument}", value, f"it belongs to {owner}, which is not given")


def _path_options(data: Input) -> dict[str, Any]:
    return {"datastore": data.datastore, "partition_format": data.partition_format}


@dataclass(frozen=True)
class Output:
    """A folder that a step writes.

    :param name: name of the output; letters, digits and underscores. Collecting asks for it.
    :param destination: path on the datastore, with ``{run-id}`` and ``{output-name}`` where these belong
        (OutputFileDatasetConfig). None leaves the place to Azure: ``azureml/<run>/<name>`` (PipelineData).
    :param datastore: name of the datastore; None is the workspace's default.
    """

    name: str
    destination: str | None = None
    datastore: str | None = None

    def __post_init__(self) -> None:
        checks.named(
            "Output.name", self.name, checks.PORT_NAME, "give letters, digits and underscores, beginning with no digit"
        )
        if self.destination is not None:
            checks.text("Output.destination", self.destination)


@dataclass(frozen=True)
class Environment:
    """The Python environment in which the entry script runs, in exactly one of these ways.

    * ``name`` alone, perhaps with ``version``: one that the workspace has, curated or registered;
    * ``pip_packages`` and ``conda_packages``: built from this list;
    * ``conda_file``: built from this file;
    * ``interpreter``: a Python that stands ready on the compute, nothing is built.

    :param name: name of the environment.
    :param version: version of an environment that the workspace has; None is the latest when the pipeline is published.
    :param pip_packages: requirements for pip, such as ``scikit-learn==1.5.2``.
    :param conda_packages: packages for conda.
    :param conda_file: path of a conda environment file on this machine.
    :param python_version: version of Python to build with, such as ``3.10``; goes with package lists.
    :param interpreter: path of a Python executable on the compute.
    :param base_image: Docker image to build on, for an environment that is built or brings its interpreter.
    """

    name: str
    version: str | None = None
    pip_packages: Sequence[str] = ()
    conda_packages: Sequence[str] = ()
    conda_file: str | Path | None = None
    python_version: str | None = None
    interpreter: str | None = None
    base_image: str | None = None

    def __post_init__(self) -> None:
        checks.text("Environment.name", self.name)
        for argument in ("pip_packages", "conda_packages"):
            value = getattr(self, argument)
            if value:
                checks.string_list(f"Environment.{argument}", value)
            _set(self, argument, tuple(value))
        if self.conda_file is not None:
            _set(self, "conda_file", os.fspath(self.conda_file))
            if not Path(self.conda_file).is_file():
                raise refuse("Environment.conda_file", self.conda_file, "give the path of a file that exists")
        self._refuse_mixture()

    @property
    def is_built(self) -> bool:
        """Whether this defines an environment, and does not name one that the workspace has."""
        return bool(self._ways())

    def _ways(self) -> list[str]:
        packages = bool(self.pip_packages or self.conda_packages)
        given = {"packages": packages, "conda_file": self.conda_file, "interpreter": self.interpreter}
        return [way for way, value in given.items() if value]

    def _refuse_mixture(self) -> None:
        ways = self._ways()
        if len(ways) > 1:
            raise SpecError(
                f"Environment {self.name!r} is defined in {len(ways)} ways, {' and '.join(ways)}: keep one of them."
            )
        if ways and self.version is not None:
            raise refuse("Environment.version", self.version, "only an environment that the workspace has takes one")
        if not ways and self.base_image is not None:
            raise refuse("Environment.base_image", self.base_image, "give packages, conda_file or interpreter with it")
        if self.python_version is not None and ways != ["packages"]:
            raise refuse(
                "Environment.python_version", self.python_version, "it goes with pip_packages or conda_packages"
            )
        if ways and self.name.lower().startswith(("azureml", "microsoft")):
            raise refuse(
                "Environment.name",
                self.name,
                "names that begin with AzureML or Microsoft are reserved for "
                "curated environments; choose another, or leave the definition out to take the curated one",
            )


@dataclass(frozen=True)
class Compute:
    """An AmlCompute cluster that is created if the workspace has none of this name. An existing one is left as it is.

    :param name: name of the cluster.
    :param vm_size: size of its machines, such as ``STANDARD_D2_V2``.
    :param max_nodes: largest number of nodes.
    :param min_nodes: nodes that stay allocated while idle.
    :param idle_seconds: idle time before a node is given back, in seconds.
    :param vm_priority: ``dedicated`` or ``lowpriority``.
    """

    name: str
    vm_size: str
    max_nodes: int
    min_nodes: int = 0
    idle_seconds: int = 1800
    vm_priority: Literal["dedicated", "lowpriority"] = "dedicated"

    def __post_init__(self) -> None:
        checks.text("Compute.name", self.name)
        checks.text("Compute.vm_size", self.vm_size)
        checks.integer("Compute.max_nodes", self.max_nodes, 1)
        checks.integer("Compute.min_nodes", self.min_nodes, 0)
        checks.integer("Compute.idle_seconds", self.idle_seconds, 1)
        checks.one_of("Compute.vm_priority", self.vm_priority, ("dedicated", "lowpriority"))
        if self.min_nodes > self.max_nodes:
            raise refuse("Compute.min_nodes", self.min_nodes, f"give at most max_nodes, which is {self.max_nodes}")


#: One word of the entry script's command line.
Argument = Value | Parameter | Input


@dataclass(frozen=True)
class ParallelRun:
    """A ParallelRunStep with its ParallelRunConfig.

    :param name: step name: 3 to 32 lowercase letters, digits or dashes, a letter first.
    :param source_directory: folder with the entry script and everything that it needs; it becomes the snapshot.
    :param entry_script: file in that folder with ``run(mini_batch)`` and perhaps ``init()``.
    :param inputs: data that is cut into mini-batches, all of one kind.
    :param environment: where the entry script runs.
    :param compute_target: name of a cluster of the workspace, or a :class:`Compute` to create it if it is missing.
    :param error_threshold: failed items (files or rows) to put up with in the whole job; -1 puts up with all. No
        Parameter: Azure freezes it when the pipeline is published.
    :param node_count: nodes to use.
    :param output: folder for the results; ``append_row`` needs it.
    :param output_action: ``append_row`` collects what ``run()`` returns in one file; ``summary_only`` only counts it.
    :param arguments: words for the entry script's command line; options, which must not be the step's own. A
        :class:`Parameter` stands for its value, a side input for the path at which it is mounted.
    :param mini_batch_size: files per ``run()`` for file inputs (Azure's default 10), about so many bytes for tabular
        ones (1 MB); ``"500KB"`` style allowed.
    :param partition_keys: one mini-batch per distinct value of these columns, instead of ``mini_batch_size``.
    :param process_count_per_node: worker processes on each node; None leaves it to Azure.
    :param run_invocation_timeout: longest time of one ``run()`` call, in seconds.
    :param run_max_try: how often a mini-batch is tried in all.
    :param append_row_file_name: name of the result file; None is ``parallel_run_step.txt``.
    :param allowed_failed_count: failed mini-batches to put up with; -1 puts up with all.
    :param allowed_failed_percent: percentage of failed mini-batches to put up with.
    :param logging_level: ``DEBUG``, ``INFO`` or ``WARNING``.
    :param side_inputs: data that every worker sees whole.
    :param environment_variables: set for the entry script.
    :param description: free text.
    :param allow_reuse: let Azure skip the step and hand out the results of an earlier run when script, arguments
        and input *reference* are unchanged. Off, unlike Azure's own default: new files in the same folder or dataset
        version do not change the reference, so a daily job would "succeed" with yesterday's predictions.
    """

    name: str
    source_directory: str | Path
    entry_script: str
    inputs: Sequence[Input]
    environment: Environment
    compute_target: str | Compute
    error_threshold: int
    node_count: int | Parameter = 1
    output: Output | None = None
    output_action: Literal["append_row", "summary_only"] = "append_row"
    arguments: Sequence[Argument] = ()
    mini_batch_size: int | str | Parameter | None = None
    partition_keys: Sequence[str] | Parameter | None = None
    process_count_per_node: int | Parameter | None = None
    run_invocation_timeout: int | Parameter = 60
    run_max_try: int | Parameter = 3
    append_row_file_name: str | None = None
    allowed_failed_count: int | None = None
    allowed_failed_percent: float | None = None
    logging_level: str | Parameter = "INFO"
    side_inputs: Sequence[Input] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    allow_reuse: bool = False

    def __post_init__(self) -> None:
        _set(self, "source_directory", os.fspath(self.source_directory))
        for argument in ("inputs", "side_inputs", "arguments"):
            value = getattr(self, argument)
            if isinstance(value, str | bytes | Input) or not isinstance(value, Sequence):
                raise refuse(f"ParallelRun.{argument}", value, "give a list")
            _set(self, argument, tuple(value))
        if isinstance(self.output_action, str):
            _set(self, "output_action", self.output_action.lower())
        if isinstance(self.partition_keys, list):
            _set(self, "partition_keys", tuple(self.partition_keys))
        from airflow_provider_amlbatch.sdk import rules

        rules.check_parallel_run(self)

    @property
    def mini_batch_items(self) -> int | None:
        """The default mini-batch size as a number: files, or bytes of tabular input. None with ``partition_keys``."""
        if self.partition_keys is not None:
            return None
        size = self.mini_batch_size.default if isinstance(self.mini_batch_size, Parameter) else self.mini_batch_size
        if size is None:
            return 1024**2 if self.inputs and self.inputs[0].kind == "tabular" else 10
        return checks.mini_batch_size("ParallelRun.mini_batch_size", size)


@dataclass(frozen=True)
class BatchPipeline:
    """A pipeline of one parallel step, the shape of nearly every batch scoring job.

    Anything else is built by a function of the user's own, ``build(workspace) -> azureml.pipeline.core.Pipeline``.

    :param name: name of the published pipeline.
    :param step: the step.
    :param description: free text; shown in the studio.
    :param version: free text; the version that the published pipeline shows.
    :param continue_on_step_failure: whether a run goes on when a step fails.
    """

    name: str
    step: ParallelRun
    description: str | None = None
    version: str | None = None
    continue_on_step_failure: bool = False

    def __post_init__(self) -> None:
        checks.text("BatchPipeline.name", self.name)
        if not isinstance(self.step, ParallelRun):
            raise refuse("BatchPipeline.step", self.step, "give a ParallelRun")
        known: dict[str, Value | None] = {}
        for name, default in _parameters(self.step):
            if name in known and known[name] != default:
                raise SpecError(f"Parameter {name!r} has two defaults, {known[name]!r} and {default!r}: keep one.")
            known[name] = default

    @property
    def parameters(self) -> dict[str, Value | None]:
        """The parameters that the endpoint takes, with their defaults; None stands for a dataset."""
        return dict(_parameters(self.step))

    @property
    def digest(self) -> str:
        """SHA-256 over the definition and the content of the source folder. Where the folder lies does not count."""
        from airflow_provider_amlbatch.sdk import encode

        return encode.digest(self)

    def to_json(self) -> dict[str, Any]:
        """The definition as JSON-safe values."""
        from airflow_provider_amlbatch.sdk import encode

        return encode.to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchPipeline:
        """Read what :meth:`to_json` wrote, and validate it again.

        :param data: the JSON object.
        :raises SpecError: if a value breaks a rule or a key is not known.
        """
        from airflow_provider_amlbatch.sdk import encode

        return encode.from_json(data)


def _parameters(step: ParallelRun) -> Iterator[tuple[str, Value | None]]:
    for attribute in fields(step):
        value = getattr(step, attribute.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Parameter):
                yield item.name, item.default
            elif isinstance(item, Input) and item.parameter is not None and attribute.name != "arguments":
                yield item.parameter, None


def _set(target: object, name: str, value: object) -> None:
    object.__setattr__(target, name, value)
