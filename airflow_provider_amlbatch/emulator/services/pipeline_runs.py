"""Runs of pipelines: from a submission to a job folder, and back from its report to statuses and outputs."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from airflow_provider_amlbatch.aml.pipelines import (
    DISABLED,
    AzureBlobReference,
    DataLocation,
    DataReference,
    NodeOutput,
    PipelineRun,
    PipelineRunStatus,
    PipelineSubmissionInfo,
    TaskStatus,
)
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound
from airflow_provider_amlbatch.emulator.services.compiler import CompiledStep, Compiler, Surroundings
from airflow_provider_amlbatch.emulator.services.compute import ComputeService
from airflow_provider_amlbatch.emulator.services.dispatcher import Dispatcher
from airflow_provider_amlbatch.emulator.services.experiments import ExperimentService
from airflow_provider_amlbatch.emulator.services.graph import Assignments
from airflow_provider_amlbatch.emulator.services.history import HistoryService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService
from airflow_provider_amlbatch.emulator.services.reuse import OutputPlace
from airflow_provider_amlbatch.emulator.services.run_records import PipelineRunDocument, RunRecords, output_places
from airflow_provider_amlbatch.emulator.services.run_states import RunStates, State
from airflow_provider_amlbatch.emulator.services.step_environment import RunContext
from airflow_provider_amlbatch.emulator.services.submissions import (
    RunCreationInfoWithGraph,
    Submission,
    assignments,
    left_out,
    resolve,
)
from airflow_provider_amlbatch.emulator.store import Store

#: Makes what the compiler asks of the services, for the steps of one run.
Around = Callable[[Callable[[str], RunContext]], Surroundings]

#: Property of a run that tells which parameters it was given and does not declare.
_IGNORED = "emulator.ignoredParameters"


class PipelineRunService:
    """Submits, watches and cancels runs of pipelines."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        pipelines: PipelineService,
        experiments: ExperimentService,
        history: HistoryService,
        states: RunStates,
        compute: ComputeService,
        dispatcher: Dispatcher,
        records: RunRecords,
        around: Around,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pipelines = pipelines
        self._experiments = experiments
        self._history = history
        self._states = states
        self._compute = compute
        self._dispatcher = dispatcher
        self._records = records
        self._around = around
        self._submitting = threading.Lock()
        self._runs = store.collection(
            "pipelineruns", PipelineRunDocument, indexes=("PipelineId", "PipelineEndpointId", "ScheduleId")
        )

    def create(self, info: RunCreationInfoWithGraph, experiment_name: str | None) -> PipelineRun:
        """Make a run of a graph that is not submitted yet."""
        given = info.creation_info
        document = self._pipelines.keep_graph(info.graph, info.graph_interface)
        submission = Submission(
            experiment_name=experiment_name or given.run_history_experiment_name or "",
            graph_id=str(document.graph.id),
            given=assignments(
                given.parameter_assignments,
                given.data_path_assignments,
                given.data_set_definition_value_assignments,
            ),
            description=given.description,
            run_source=given.run_source,
            run_type=given.run_type,
            continue_on_step_failure=bool(
                given.continue_run_on_step_failure or given.continue_experiment_on_node_failure
            ),
            properties={name: str(value) for name, value in (given.properties or {}).items()},
            tags=getattr(given, "tags", None) or {},
        )
        return self._view(self._make(submission))

    def submit_saved(self, run_id: str, parent_run_id: str | None = None) -> None:
        """Submit a run that was made before.

        :raises BadRequest: if it was submitted already, or cannot run.
        """
        with self._submitting:  # of two requests at once, the second finds the run submitted
            document = self._document(run_id)
            if document.is_submitted:
                raise BadRequest(f"The run {run_id!r} was submitted already.")
            self._submit(document, parent_run_id)

    def submit_pipeline(
        self,
        pipeline_id: str,
        info: PipelineSubmissionInfo,
        *,
        parent_run_id: str | None = None,
        endpoint_id: str | None = None,
        schedule_id: str | None = None,
        properties: dict[str, str] | None = None,
    ) -> PipelineRun:
        """Run a published pipeline.

        :param properties: of the run, beside those that the caller sent.

        :raises BadRequest: if it is disabled, or the body names what it does not have.
        """
        pipeline = self._pipelines.published(pipeline_id)
        if pipeline.entity_status == DISABLED:
            raise BadRequest("Pipeline is disabled", code="PipelineDisabled")
        given = assignments(
            info.parameter_assignments, info.data_path_assignments, info.data_set_definition_value_assignments
        )
        published = Assignments(
            parameters={name: str(value) for name, value in pipeline.parameter_assignments.items()},
            datasets={
                name: value
                for name, value in pipeline.data_set_definition_value_assignments.items()
                if name not in given.data_paths
            },
        )
        resolve(self._pipelines.graph(str(pipeline.graph_id)).interface, given)
        continues = info.continue_run_on_step_failure
        submission = Submission(
            experiment_name=info.experiment_name or "",
            graph_id=str(pipeline.graph_id),
            given=Assignments(
                parameters=published.parameters | given.parameters,
                data_paths=given.data_paths,
                datasets=published.datasets | given.datasets,
            ),
            description=info.description,
            pipeline_id=pipeline_id,
            endpoint_id=endpoint_id,
            schedule_id=schedule_id,
            run_source=info.run_source,
            run_type=info.run_type or "HTTP",
            continue_on_step_failure=bool(pipeline.continue_run_on_step_failure if continues is None else continues),
            tags=info.tags or {},
            properties={**(info.properties or {}), **(properties or {})},
            step_tags=info.step_tags or {},
        )
        document = self._make(submission)
        self._submit(document, parent_run_id)
        return self.get(document.id)

    def get(self, run_id: str) -> PipelineRun:
        """A run with its status of now.

        :raises NotFound: if there is none.
        """
        return self._view(self._document(run_id))

    def list_runs(self, *, pipeline_id: str | None = None, schedule_id: str | None = None) -> list[PipelineRun]:
        """The submitted runs of a published pipeline or of a schedule, newest first."""
        if pipeline_id is not None:
            found = self._runs.find(newest_first=True, PipelineId=pipeline_id)
        else:
            found = self._runs.find(newest_first=True, ScheduleId=schedule_id)
        return [self._view(document) for document in found if document.is_submitted]

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run; one that has ended stays as it is."""
        document = self._document(run_id)
        if not document.is_submitted:
            raise BadRequest(f"The run {run_id!r} was never submitted.")
        self._dispatcher.cancel(run_id)

    def node_status(self, run_id: str, node_id: str) -> TaskStatus:
        """Status of a node.

        :raises NotFound: if the run has no such node.
        """
        document = self._document(run_id)
        step_run_id = self._step_run_id(document, node_id)
        state = self._states.step(run_id, step_run_id)
        shift = timedelta(seconds=document.clock_offset)
        earlier = document.reused.get(node_id)
        return TaskStatus(
            reuse_info=None if earlier is None else {"RunId": earlier.run_id, "NodeId": earlier.node_id},
            status_code=state.status.node_code,
            status_detail=state.error_message,
            run_id=step_run_id,
            creation_time=document.created_date,
            schedule_time=document.created_date,
            start_time=None if state.started is None else state.started + shift,
            end_time=None if state.ended is None else state.ended + shift,
        )

    def node_statuses(self, run_id: str) -> dict[str, TaskStatus]:
        """Status of every node."""
        document = self._document(run_id)
        return {node_id: self.node_status(run_id, node_id) for node_id in document.node_runs}

    def node_outputs(self, run_id: str, node_id: str) -> dict[str, NodeOutput]:
        """Where the outputs of a node lie, by name."""
        document = self._document(run_id)
        self._step_run_id(document, node_id)
        return {place.name: _output(place) for place in document.outputs if place.node_id == node_id}

    def pipeline_output(self, run_id: str, name: str) -> NodeOutput:
        """Where a named output of the whole pipeline lies.

        :raises NotFound: if the pipeline has no such output.
        """
        document = self._document(run_id)
        graph = self._pipelines.graph(str(document.graph_id)).graph
        for edge in graph.edges or ():
            if edge.destination_input_port.graph_port_name == name:
                source = edge.source_output_port
                for place in document.outputs:
                    if (place.node_id, place.name) == (source.node_id, source.port_name):
                        return _output(place)
        raise NotFound(f"The pipeline run {run_id!r} has no output {name!r}.", code="OutputNotFound")

    def finish(self, run_id: str, report: PipelineReport) -> None:
        """Do what follows the steps that have ended; once for each, however often it is called."""
        with self._store.transaction():
            document = self._document(run_id)
            self._records.register_outputs(document, self._pipelines.graph(str(document.graph_id)).graph, report)

    def node_log(self, run_id: str, node_id: str, path: str) -> str:
        """Content of a log of a node; empty until there is one."""
        return self._history.read_artifact(self._step_run_id(self._document(run_id), node_id), path)

    def _document(self, run_id: str) -> PipelineRunDocument:
        document = self._runs.get(run_id)
        if document is None:
            raise NotFound(f"There is no pipeline run with the id {run_id!r}.", code="PipelineRunNotFound")
        return document

    def _step_run_id(self, document: PipelineRunDocument, node_id: str) -> str:
        step_run_id = document.node_runs.get(node_id)
        if step_run_id is None:
            raise NotFound(f"The pipeline run {document.id!r} has no node {node_id!r}.", code="NodeNotFound")
        return step_run_id

    def _make(self, submission: Submission) -> PipelineRunDocument:
        if not submission.experiment_name:
            raise BadRequest("The submission needs an 'ExperimentName'.")
        self._experiments.create(submission.experiment_name)
        document = self._pipelines.graph(submission.graph_id)
        values = resolve(document.interface, submission.given)
        ignored = left_out(document.interface, submission.given)
        nodes = document.graph.module_nodes or []
        now = self._clock.now()
        made = PipelineRunDocument(
            id=str(uuid.uuid4()),
            description=submission.description,
            graph_id=submission.graph_id,
            is_submitted=False,
            upload_state="Completed",
            # With the defaults: the SDK looks every parameter of the graph up here.
            parameter_assignments=values.parameters,
            data_path_assignments=values.data_paths,
            data_set_definition_value_assignments=values.datasets,
            run_history_experiment_name=submission.experiment_name,
            pipeline_id=submission.pipeline_id,
            pipeline_endpoint_id=submission.endpoint_id,
            schedule_id=submission.schedule_id,
            run_source=submission.run_source,
            run_type=submission.run_type,
            total_run_steps=len(nodes),
            continue_run_on_step_failure=submission.continue_on_step_failure,
            tags=dict(submission.tags),
            properties={**submission.properties, **({_IGNORED: ", ".join(ignored)} if ignored else {})},
            step_tags=dict(submission.step_tags),
            node_runs={node.id: str(uuid.uuid4()) for node in nodes},
            created_date=now,
            last_modified_date=now,
        )
        return self._runs.put(made.id, made)

    def _submit(self, document: PipelineRunDocument, parent_run_id: str | None) -> None:
        experiment = self._experiments.by_name(str(document.run_history_experiment_name))

        def context(step_run_id: str) -> RunContext:
            return RunContext(step_run_id, document.id, experiment.name, experiment.experiment_id)

        values = Assignments(
            parameters=document.parameter_assignments,
            data_paths=document.data_path_assignments,
            datasets=document.data_set_definition_value_assignments,
        )
        graph = self._pipelines.graph(str(document.graph_id)).graph
        steps = Compiler(graph, values, document.node_runs, self._around(context)).compile()
        nodes = self._demand(steps)
        job = PipelineJob(document.id, tuple(step.job for step in steps), bool(document.continue_run_on_step_failure))
        self._states.folder(document.id).create(job)
        document.is_submitted = True
        document.clock_offset = (self._clock.now() - datetime.now(UTC)).total_seconds()
        document.outputs = [place for step in steps for place in output_places(step)]
        document.reused = {step.node.id: step.decision.earlier for step in steps if step.decision.earlier is not None}
        with self._store.transaction():
            self._runs.put(document.id, document)
            self._records.write(document, experiment.experiment_id, steps, parent_run_id)
            self._dispatcher.enqueue(document.id, nodes)
        self._dispatcher.wake()

    def _demand(self, steps: tuple[CompiledStep, ...]) -> dict[str, int]:
        """Nodes that the run takes of each cluster: those of its largest step there.

        Inferred: a cluster that does not exist, or is too small for ever, refuses the submission.
        """
        demand: dict[str, int] = {}
        for step in steps:
            demand[step.compute] = max(step.node_count, demand.get(step.compute, 0))
        for name, nodes in demand.items():
            try:
                capacity = self._compute.capacity(name)
            except NotFound:
                raise BadRequest(f"There is no compute target {name!r}.", code="ComputeTargetNotFound") from None
            if nodes > capacity.max_nodes:
                raise BadRequest(
                    f"The run needs {nodes} nodes of {name!r}, which has at most {capacity.max_nodes}: lower "
                    "node_count or raise the cluster's max_nodes.",
                    code="ComputeTargetTooSmall",
                )
        return demand

    def _view(self, document: PipelineRunDocument) -> PipelineRun:
        state = self._states.pipeline(document.id) if document.is_submitted else State(RunStatus.NOT_STARTED)
        ended = None if state.ended is None else state.ended + timedelta(seconds=document.clock_offset)
        status = PipelineRunStatus(
            status_code=state.status.pipeline_run_code,
            status_detail=state.error_message,
            creation_time=document.created_date,
            end_time=ended,
        )
        has_errors = state.status is RunStatus.FAILED
        return document.model_copy(update={"status": status, "has_errors": has_errors})


def _output(place: OutputPlace) -> NodeOutput:
    blob = AzureBlobReference(aml_data_store_name=place.data_store_name, relative_path=place.path)
    location = DataLocation(data_reference=DataReference(type="AzureBlob", azure_blob_reference=blob))
    return NodeOutput(data_type_id="AnyFile", data_location=location)
