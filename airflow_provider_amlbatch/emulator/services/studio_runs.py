"""What the pages show of one run: its steps, how far they are, why they failed, what they wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from airflow_provider_amlbatch.aml.digest import first_traceback
from airflow_provider_amlbatch.aml.history import PIPELINE_RUN, STEP_RUN, QueryParams, Run
from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.blobs import Blob, BlobStore
from airflow_provider_amlbatch.emulator.engine.report import Progress
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.services.artifacts import RUN, ArtifactService
from airflow_provider_amlbatch.emulator.services.datastores import DatastoreService
from airflow_provider_amlbatch.emulator.services.experiments import ExperimentService
from airflow_provider_amlbatch.emulator.services.graph import DatasetNode
from airflow_provider_amlbatch.emulator.services.history import HistoryService, container_of
from airflow_provider_amlbatch.emulator.services.pipeline_runs import PipelineRunService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService
from airflow_provider_amlbatch.emulator.services.run_states import RunStates
from airflow_provider_amlbatch.emulator.services.workspace import STUDIO_PREFIX
from airflow_provider_amlbatch.emulator.studio.chart import Chart, throughput
from airflow_provider_amlbatch.emulator.studio.graph import Box, Drawing, lay_out
from airflow_provider_amlbatch.emulator.studio.pages import words

_MINI_BATCHES = "logs/sys/job_report/processed_mini-batches.csv"
_REUSED = "azureml.reusedrunid"

#: Of a longer report of mini-batches, only its end is drawn.
_REPORT_BYTES = 16 << 20

#: Where the traceback of a user's script is looked for, best place first, and how much of each file is read.
_ERROR_LOGS = ("logs/job_error", "logs/user/error/", "logs/user/stderr/", "user_logs/", "azureml-logs/")
_LOG_BYTES = 1 << 20

#: No more files are listed.
_FILES = 200

#: What of a run's definition is worth a line.
_SETTINGS = (
    "entry_script", "mini_batch_size", "partition_keys", "error_threshold", "allowed_failed_count",
    "allowed_failed_percent", "output_action", "append_row_file_name", "node_count", "process_count_per_node",
    "run_invocation_timeout", "run_max_try", "logging_level",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A run with how far it is.

    :param progress: counts of a parallel step.
    :param done: steps of a pipeline that have ended.
    :param total: steps of a pipeline.
    """

    run: Run
    progress: Progress | None = None
    done: int = 0
    total: int = 0

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None if it does not say."""
        if self.progress is None or not self.progress.total_mini_batches:
            return None
        return min(self.progress.processed_mini_batches / self.progress.total_mini_batches, 1.0)


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    :param step: the step that failed first, when the run is a pipeline's.
    :param traceback: the first error of the user's own code.
    """

    code: str
    message: str
    step: Run | None
    traceback: str


@dataclass(frozen=True)
class File:
    """A file and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Output:
    """A named output of a step and the files in it; ``more`` when not all are listed."""

    name: str
    place: str
    files: list[File]
    more: bool


@dataclass(frozen=True)
class RunPage:
    """Everything on the page of a run."""

    run: Run
    experiment: str
    parent: Run | None
    progress: Progress | None
    share: float | None
    steps: list[Step]
    drawing: Drawing | None
    charts: list[tuple[Run, Chart]]
    failure: Failure | None
    parameters: dict[str, str]
    settings: dict[str, str]
    files: list[File]
    outputs: list[Output]

    @property
    def is_pipeline(self) -> bool:
        """Whether it is the run of a whole pipeline."""
        return self.run.run_type == PIPELINE_RUN

    @property
    def pipeline_id(self) -> str | None:
        """The published pipeline that it is a run of."""
        return self.run.properties.get("azureml.pipelineid")

    @property
    def schedule_id(self) -> str | None:
        """The schedule that started it."""
        return self.run.properties.get("azureml.scheduleid")

    @property
    def reused_from(self) -> str | None:
        """The earlier run whose output was taken over."""
        return self.run.properties.get(_REUSED)


class RunPages:
    """Collects what the pages of runs show."""

    def __init__(
        self,
        history: HistoryService,
        experiments: ExperimentService,
        states: RunStates,
        pipelines: PipelineService,
        pipeline_runs: PipelineRunService,
        artifacts: ArtifactService,
        datastores: DatastoreService,
        blobs: BlobStore,
    ) -> None:
        self._history = history
        self._experiments = experiments
        self._states = states
        self._pipelines = pipelines
        self._pipeline_runs = pipeline_runs
        self._artifacts = artifacts
        self._datastores = datastores
        self._blobs = blobs

    def page(self, run_id: str) -> RunPage:
        """Everything about a run.

        :raises NotFound: if there is none.
        """
        run = self._history.get(run_id)
        steps = [self.step(child) for child in self.children(run_id)]
        with_charts = [step.run for step in steps] if steps else [run]
        charts = ((each, self._chart(each)) for each in with_charts)
        progress = self._history.progress(run_id)
        return RunPage(
            run=run,
            experiment=self._experiments.by_id(str(run.experiment_id)).name,
            parent=self._history.get(run.parent_run_id) if run.parent_run_id else None,
            progress=progress,
            share=Step(run, progress).share,
            steps=steps,
            drawing=self._drawing(run, steps),
            charts=[(each, chart) for each, chart in charts if chart is not None],
            failure=self._failure(run, [step.run for step in steps]),
            parameters=self._parameters(run),
            settings=self._settings(run),
            files=[self._file(run_id, path) for path in islice(self._paths(run_id), _FILES)],
            outputs=list(self._outputs(run)),
        )

    def step(self, run: Run) -> Step:
        """A run with how far it is."""
        report = self._states.report(run.run_id) if run.run_type == PIPELINE_RUN else None
        if report is None:
            return Step(run, self._history.progress(run.run_id))
        return Step(run, done=sum(step.status.is_terminal for step in report.steps.values()), total=len(report.steps))

    def children(self, run_id: str) -> list[Run]:
        """The runs below a run, in the order in which they were made."""
        return self._history.children(run_id, QueryParams(order_by="CreatedUtc asc", top=_FILES)).value

    def file(self, run_id: str, path: str) -> Path:
        """The file of a run.

        :raises NotFound: if there is none.
        """
        self._history.get(run_id)
        return self._existing(self._artifacts.file(RUN, container_of(run_id), path), path)

    def output_file(self, run_id: str, output: str, path: str) -> Path:
        """A file in an output of a step.

        :raises NotFound: if there is none.
        """
        for name, container, prefix in self._places(self._history.get(run_id)):
            if name == output:
                return self._existing(self._blobs.path(container, f"{prefix}/{path}"), path)
        raise NotFound(f"The run {run_id!r} has no output {output!r}.")

    def drawing(self, graph_id: str, steps: dict[str, Step]) -> Drawing:
        """A graph, with the steps that run it by node id."""
        graph = self._pipelines.named_graph(graph_id)
        boxes = [Box(node.id, self._data_title(node), kind="data") for node in graph.dataset_nodes or ()]
        for node in graph.module_nodes or ():
            title = self._pipelines.module(node.module_id).name or node.id
            step = steps.get(node.id)
            boxes.append(Box(node.id, title) if step is None else _step_box(node.id, title, step))
        ends = ((edge.source_output_port.node_id, edge.destination_input_port.node_id) for edge in graph.edges or ())
        return lay_out(boxes, [(a, b) for a, b in ends if a is not None and b is not None])

    def _drawing(self, run: Run, steps: list[Step]) -> Drawing | None:
        if run.run_type != PIPELINE_RUN:
            return None
        by_node = {str(step.run.properties.get("azureml.nodeid")): step for step in steps}
        graph_id = self._pipeline_runs.get(run.run_id).graph_id
        return self.drawing(str(graph_id), by_node)

    def _data_title(self, node: DatasetNode) -> str:
        definition = node.data_set_definition
        if definition is not None:
            if definition.parameter_name:
                return f"parameter {definition.parameter_name}"
            if definition.value is not None:
                return as_text(definition.value)
        if node.data_path_parameter_name:
            return f"parameter {node.data_path_parameter_name}"
        return as_text(self._pipelines.data_path(node.dataset_id)) if node.dataset_id else "data"

    def _parameters(self, run: Run) -> dict[str, str]:
        if run.run_type != PIPELINE_RUN:
            return {}
        document = self._pipeline_runs.get(run.run_id)
        datasets = {name: as_text(value) for name, value in document.data_set_definition_value_assignments.items()}
        paths = {name: as_text(value) for name, value in document.data_path_assignments.items()}
        return {name: str(value) for name, value in document.parameter_assignments.items()} | datasets | paths

    def _settings(self, run: Run) -> dict[str, str]:
        """What the step was told. Its environment variables hold a token and are not shown."""
        if run.run_type != STEP_RUN:
            return {}
        job = self._states.folder(str(run.parent_run_id)).read_job()
        step = next((step for step in job.steps if step.run_id == run.run_id), None)
        if step is None:
            return {}
        shown = {} if step.script is None else {"script": step.script}
        if step.parallel is not None:
            given = ((name, getattr(step.parallel, name)) for name in _SETTINGS)
            shown |= {name: str(value) for name, value in given if value is not None}
        words = [
            word if isinstance(word, str) else "".join(f"<{kind} {name}>" for kind, name in word.items())
            for word in step.arguments
        ]
        return (
            shown
            | ({"arguments": " ".join(words)} if words else {})
            | {"interpreter": "the emulator's own" if step.interpreter == sys.executable else step.interpreter}
        )

    def _chart(self, run: Run) -> Chart | None:
        try:
            with open(self._artifacts.file(RUN, container_of(run.run_id), _MINI_BATCHES), newline="") as report:
                header = report.readline()
                size = report.seek(0, 2)
                report.seek(max(size - _REPORT_BYTES, 0))
                report.readline()
                return throughput(_after(header, report))
        except FileNotFoundError:
            return None

    def _failure(self, run: Run, steps: list[Run]) -> Failure | None:
        failed = next((step for step in steps if step.run_status is RunStatus.FAILED), None)
        if run.run_status is not RunStatus.FAILED:
            return None
        error = run.error.error if run.error is not None else None
        return Failure(
            code=(error.code if error else None) or "UserError",
            message=(error.message if error else None) or "The run failed without saying why.",
            step=failed,
            traceback=self._traceback((failed or run).run_id),
        )

    def _traceback(self, run_id: str) -> str:
        paths = (
            sorted(self._paths(run_id, "logs/"))
            + sorted(self._paths(run_id, "user_logs/"))
            + sorted(self._paths(run_id, "azureml-logs/"))
        )
        for place in _ERROR_LOGS:
            for path in (path for path in paths if path.startswith(place)):
                with open(self._artifacts.file(RUN, container_of(run_id), path), errors="replace") as log:
                    found = first_traceback(log.read(_LOG_BYTES))
                if found:
                    return "\n".join(found)
        return ""

    def _paths(self, run_id: str, prefix: str = "") -> Iterator[str]:
        return self._artifacts.paths(RUN, container_of(run_id), prefix)

    def _file(self, run_id: str, path: str) -> File:
        try:
            return File(path, self._artifacts.file(RUN, container_of(run_id), path).stat().st_size)
        except FileNotFoundError:
            return File(path, 0)  # deleted while we looked

    def _places(self, run: Run) -> Iterator[tuple[str, str, str]]:
        if run.run_type != STEP_RUN or run.parent_run_id is None:
            return
        node_id = str(run.properties.get("azureml.nodeid"))
        for name, output in self._pipeline_runs.node_outputs(run.parent_run_id, node_id).items():
            reference = output.data_location.data_reference if output.data_location else None
            blob = reference.azure_blob_reference if reference else None
            if blob is not None and blob.aml_data_store_name and blob.relative_path:
                yield name, self._datastores.container(blob.aml_data_store_name), blob.relative_path.strip("/")

    def _outputs(self, run: Run) -> Iterator[Output]:
        for name, container, prefix in self._places(run):
            found: list[Blob] = list(islice(self._blobs.list_blobs(container, prefix + "/"), _FILES + 1))
            files = [File(blob.name.removeprefix(prefix + "/"), blob.size) for blob in found[:_FILES]]
            yield Output(name, f"{container}/{prefix}", files, more=len(found) > _FILES)

    def _existing(self, file: Path, path: str) -> Path:
        if not file.is_file():
            raise NotFound(f"There is no file {path!r} here.")
        return file


def as_text(value: DataSetDefinitionValue | DataPath) -> str:
    """Data in a few words."""
    if isinstance(value, DataPath):
        return f"{value.data_store_name}/{value.relative_path}"
    if value.literal_value is not None:
        return as_text(value.literal_value)
    reference = value.data_set_reference
    if reference is not None:
        return f"{reference.name or reference.id}" + (f", version {reference.version}" if reference.version else "")
    saved = value.saved_data_set_reference
    return f"dataset {str(saved.id)[:8]}" if saved is not None else "data"


def _step_box(node_id: str, title: str, step: Step) -> Box:
    progress, status = step.progress, step.run.run_status
    detail = words(status.value)
    if step.run.properties.get(_REUSED):
        detail += ", reused"
    elif progress is not None and progress.total_mini_batches:
        detail += f", {progress.processed_mini_batches:,} of {progress.total_mini_batches:,}"
    share = step.share if status.is_active else None
    return Box(node_id, title, detail, status=status.value, href=f"{STUDIO_PREFIX}/runs/{step.run.run_id}", share=share)


def _after(header: str, report: Iterator[str]) -> Iterator[str]:
    yield header
    yield from report
