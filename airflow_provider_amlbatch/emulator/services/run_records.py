"""What is written down about a run: its history, what could be reused of it, and the datasets that it made."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from airflow_provider_amlbatch.aml.history import PIPELINE_RUN, STEP_RUN
from airflow_provider_amlbatch.aml.pipelines import PipelineRun
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.report import PipelineReport
from airflow_provider_amlbatch.emulator.errors import ServiceError
from airflow_provider_amlbatch.emulator.services.compiler import CompiledStep
from airflow_provider_amlbatch.emulator.services.datasets import (
    Dataset,
    DatasetDefinition,
    DatasetService,
    SavedDataset,
)
from airflow_provider_amlbatch.emulator.services.environments import EnvironmentService
from airflow_provider_amlbatch.emulator.services.graph import Graph, OutputRegistration
from airflow_provider_amlbatch.emulator.services.history import HistoryService, RunDocument, container_of
from airflow_provider_amlbatch.emulator.services.metrics import METRICS_NAME_PREFIX, METRICS_OF
from airflow_provider_amlbatch.emulator.services.reuse import (
    OutputPlace,
    ReusableStep,
    ReuseService,
    digest,
    explain,
)


class PipelineRunDocument(PipelineRun):
    """A run as it is kept.

    :param node_runs: step run id by node id.
    :param reused: the earlier run of each node that is not run again, by node id.
    :param pipeline_endpoint_id: the endpoint through which it was submitted.
    """

    node_runs: dict[str, str] = {}
    outputs: list[OutputPlace] = []
    reused: dict[str, ReusableStep] = {}
    pipeline_endpoint_id: str | None = None
    step_tags: dict[str, str] = {}
    clock_offset: float = 0.0


class RunRecords:
    """Writes them."""

    def __init__(
        self, history: HistoryService, reuse: ReuseService, datasets: DatasetService, environments: EnvironmentService
    ) -> None:
        self._environments = environments
        self._history = history
        self._reuse = reuse
        self._datasets = datasets

    def write(
        self,
        document: PipelineRunDocument,
        experiment_id: str,
        steps: tuple[CompiledStep, ...],
        parent_run_id: str | None,
    ) -> None:
        """Enter a submitted run and its steps into run history."""
        self._record(document, experiment_id, steps, parent_run_id)
        self._remember(document, steps)

    def register_outputs(self, document: PipelineRunDocument, graph: Graph, report: PipelineReport) -> None:
        """Register the outputs that are to be registered and are not yet, of the steps that have completed."""
        for node in graph.module_nodes or ():
            step = report.steps.get(document.node_runs[node.id])
            if step is None or step.status is not RunStatus.COMPLETED or self._history.is_registered(step.run_id):
                continue
            for setting in node.module_output_settings or ():
                registration = setting.dataset_registration
                for place in document.outputs:
                    if registration is not None and (place.node_id, place.name) == (node.id, setting.name):
                        try:
                            self._register(step.run_id, place, registration)
                        except ServiceError as refusal:
                            self._history.warn(step.run_id, f"{place.name!r} was not registered: {refusal.message}")

    def _register(self, step_run_id: str, place: OutputPlace, registration: OutputRegistration) -> None:
        flow, kind = self._datasets.output_definition(
            place.data_store_name, place.path, registration.additional_transformations
        )
        if registration.name:
            made = self._datasets.register(
                Dataset(
                    name=registration.name,
                    description=registration.description,
                    tags=dict(registration.tags or {}),
                    dataset_type=kind,
                    latest=DatasetDefinition(dataflow=flow, properties={}),
                ),
                if_exists_ok=True,
                update_definition=True,
            )
            saved_id = made.latest.saved_dataset_id if made.latest is not None else None
        else:
            saved_id = self._datasets.save(SavedDataset(dataset_type=kind, dataflow_json=flow, properties={})).id
        self._history.add_output_dataset(step_run_id, place.name, str(saved_id))

    def _record(
        self,
        document: PipelineRunDocument,
        experiment_id: str,
        steps: tuple[CompiledStep, ...],
        parent_run_id: str | None,
    ) -> None:
        self._history.add(
            RunDocument(
                run_id=document.id,
                parent_run_id=parent_run_id,
                root_run_id=parent_run_id or document.id,
                experiment_id=experiment_id,
                run_type=PIPELINE_RUN,
                description=document.description,
                display_name=None,
                tags=dict(document.tags),
                properties=_pipeline_properties(document, steps) | document.properties,
                clock_offset=document.clock_offset,
            )
        )
        for step in steps:
            self._history.define(step.job.run_id, self._definition(step, document.created_date))
            self._history.add(
                RunDocument(
                    run_id=step.job.run_id,
                    parent_run_id=document.id,
                    root_run_id=parent_run_id or document.id,
                    experiment_id=experiment_id,
                    run_type=STEP_RUN,
                    name=step.job.name,
                    display_name=step.job.name,
                    target=step.compute,
                    script_name=step.job.script,
                    data_container_id=container_of(step.job.run_id),
                    tags={
                        **document.step_tags,
                        "azureml.nodeid": step.node.id,
                        "azureml.pipeline": document.id,
                        "azureml.pipelineComponent": "masterescloud",
                    },
                    properties=_step_properties(document, step),
                    input_datasets=[
                        {
                            "identifier": {"savedId": saved_id},
                            "consumptionType": "RunInput",
                            "inputDetails": {"inputName": name, "mechanism": "Mount"},
                        }
                        for name, saved_id in step.dataset_ids.items()
                    ],
                    clock_offset=document.clock_offset,
                )
            )

    def _definition(self, step: CompiledStep, at: datetime | None) -> dict[str, Any]:
        """What the SDK's ``Run.get_environment`` and ``get_details`` tell of how a step is run."""
        definition: dict[str, Any] = json.loads(step.node.runconfig or "{}")
        arguments = [argument if isinstance(argument, str) else dict(argument) for argument in step.job.arguments]
        definition |= {"script": step.job.script, "arguments": arguments, "target": step.compute}
        definition["nodeCount"] = step.node_count
        environment = definition.get("environment")
        if environment and at is not None:
            version = self._environments.keep(environment, at)
            definition["environment"] = environment | {"version": version}
        return definition

    def _remember(self, document: PipelineRunDocument, steps: tuple[CompiledStep, ...]) -> None:
        for step in steps:
            notes = [step.interpreter.note or "", explain(step.decision, step.compared)]
            self._history.write_artifact(step.job.run_id, "azureml-logs/20_preparation.txt", "\n".join(notes).lstrip())
            if step.decision.earlier is None:
                self._reuse.remember(
                    ReusableStep(
                        run_id=step.job.run_id,
                        node_id=step.node.id,
                        pipeline_run_id=document.id,
                        step_name=step.job.name,
                        digest=digest(step.compared),
                        inputs=step.compared,
                        outputs=output_places(step),
                    )
                )


def output_places(step: CompiledStep) -> list[OutputPlace]:
    """Where the outputs of a step lie."""
    return [
        OutputPlace(node_id=step.node.id, name=name, data_store_name=place.datastore, path=place.path)
        for name, place in step.places.items()
    ]


def _pipeline_properties(document: PipelineRunDocument, steps: tuple[CompiledStep, ...]) -> dict[str, str | None]:
    properties: dict[str, str | None] = {
        "azureml.runsource": PIPELINE_RUN,
        "runSource": document.run_source,
        "runType": document.run_type,
        "azureml.parameters": json.dumps(document.parameter_assignments),
        "azureml.continue_on_step_failure": str(bool(document.continue_run_on_step_failure)),
    }
    if document.pipeline_id:
        properties["azureml.pipelineid"] = document.pipeline_id
    if document.schedule_id:
        properties["azureml.scheduleid"] = document.schedule_id
    if pushing := [step.job.run_id for step in steps if step.metrics.push_to_parent]:
        properties[METRICS_OF] = " ".join(pushing)
    return properties


def _step_properties(document: PipelineRunDocument, step: CompiledStep) -> dict[str, str | None]:
    properties: dict[str, str | None] = {
        "azureml.runsource": STEP_RUN,
        "ContentSnapshotId": step.module.storage_id,
        "StepType": step.module.step_type,
        "azureml.moduleid": step.node.module_id,
        "azureml.moduleName": step.module.name,
        "azureml.nodeid": step.node.id,
        "azureml.pipelinerunid": document.id,
        "ComputeTargetType": "AmlCompute",
        "emulator.nodeCount": str(step.node_count),
        "emulator.interpreter": step.job.interpreter,
    }
    if step.interpreter.note:
        properties["emulator.environment"] = step.interpreter.note
    if step.metrics.name_prefix:
        properties[METRICS_NAME_PREFIX] = step.metrics.name_prefix
    earlier = step.decision.earlier
    if earlier is not None:
        properties["azureml.reusedrunid"] = earlier.run_id
        properties["azureml.reusednodeid"] = earlier.node_id
        properties["azureml.reusedpipeline"] = earlier.pipeline_run_id
    return properties
