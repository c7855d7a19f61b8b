"""The pipelines service: runs (``/pipelines/v1.0/../PipelineRuns``)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import PlainTextResponse

from airflow_provider_amlbatch.aml.pipelines import NodeOutput, PipelineRun, PipelineSubmissionInfo, TaskStatus
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.submissions import RunCreationInfoWithGraph

router = APIRouter(prefix="/pipelines/v1.0" + WORKSPACE + "/PipelineRuns", dependencies=[DATA_PLANE])

ParentRun = Annotated[str | None, Query(alias="parentRunId")]

#: Node ids from the outermost graph to the node; graphs are not nested here.
NodePath = Annotated[list[str], Body()]


def _node(path: list[str]) -> str:
    if len(path) != 1:
        raise BadRequest(f"The path to a node has one element here, not {len(path)}.")
    return path[0]


@router.post("/Unsubmitted/CreationInfoWithGraph")
def create_run(
    emulator: TheEmulator,
    info: RunCreationInfoWithGraph,
    experiment: Annotated[str | None, Query(alias="experimentName")] = None,
) -> PipelineRun:
    """Make a run of a graph, to be submitted later."""
    return emulator.pipeline_runs.create(info, experiment)


@router.post("/Submit/{run_id}")
def submit_run(emulator: TheEmulator, run_id: str, parent: ParentRun = None) -> Response:
    """Submit a run."""
    emulator.pipeline_runs.submit_saved(run_id, parent)
    return Response()


@router.post("/PipelineSubmit/{pipeline_id}")
def submit_pipeline(
    emulator: TheEmulator, pipeline_id: str, info: PipelineSubmissionInfo, parent: ParentRun = None
) -> PipelineRun:
    """Run a published pipeline."""
    return emulator.pipeline_runs.submit_pipeline(pipeline_id, info, parent_run_id=parent)


@router.post("/PipelineDraftSubmit")
def refuse_drafts() -> None:
    """Say that there are no drafts here."""
    raise Unsupported("The emulator has no pipeline drafts: publish the pipeline instead.")


@router.get("/Pipeline/{pipeline_id}")
def list_runs_of_pipeline(emulator: TheEmulator, pipeline_id: str) -> list[PipelineRun]:
    """List the runs of a published pipeline, newest first."""
    emulator.pipelines.published(pipeline_id)
    return emulator.pipeline_runs.list_runs(pipeline_id=pipeline_id)


@router.get("/{run_id}")
def get_run(emulator: TheEmulator, run_id: str) -> PipelineRun:
    """Get a run."""
    return emulator.pipeline_runs.get(run_id)


@router.delete("/{run_id}/Execution")
def cancel_run(emulator: TheEmulator, run_id: str) -> Response:
    """Ask for the end of a run."""
    emulator.pipeline_runs.cancel(run_id)
    return Response()


@router.post("/{run_id}/Graph/Node/StatusCode")
def get_node_status_code(emulator: TheEmulator, run_id: str, path: NodePath) -> str | None:
    """Tell the status of a node in one word."""
    return emulator.pipeline_runs.node_status(run_id, _node(path)).status_code


@router.post("/{run_id}/Graph/Node/Status")
def get_node_status(emulator: TheEmulator, run_id: str, path: NodePath) -> TaskStatus:
    """Tell the status of a node."""
    return emulator.pipeline_runs.node_status(run_id, _node(path))


@router.post("/{run_id}/Graph/AllNodes/Status")
def get_node_statuses(emulator: TheEmulator, run_id: str) -> dict[str, TaskStatus]:
    """Tell the status of every node."""
    return emulator.pipeline_runs.node_statuses(run_id)


@router.post("/{run_id}/Outputs")
def get_node_outputs(emulator: TheEmulator, run_id: str, path: NodePath) -> dict[str, NodeOutput]:
    """Tell where the outputs of a node lie."""
    return emulator.pipeline_runs.node_outputs(run_id, _node(path))


@router.get("/{run_id}/PipelineRunOutputs/{name}")
def get_pipeline_output(emulator: TheEmulator, run_id: str, name: str) -> NodeOutput:
    """Tell where an output of the pipeline lies."""
    return emulator.pipeline_runs.pipeline_output(run_id, name)


@router.post("/{run_id}/Graph/Shareable/STDOUT", response_class=PlainTextResponse)
def get_node_stdout(emulator: TheEmulator, run_id: str, path: NodePath) -> str:
    """Read what a node's driver wrote."""
    return emulator.pipeline_runs.node_log(run_id, _node(path), "azureml-logs/70_driver_log.txt")


@router.post("/{run_id}/Graph/Shareable/STDERR", response_class=PlainTextResponse)
def get_node_stderr(emulator: TheEmulator, run_id: str, path: NodePath) -> str:
    """Read the summary of a node's errors."""
    return emulator.pipeline_runs.node_log(run_id, _node(path), "logs/user/error.txt")


@router.post("/{run_id}/Graph/Shareable/JobLog", response_class=PlainTextResponse)
def get_node_job_log(emulator: TheEmulator, run_id: str, path: NodePath) -> str:
    """Read what a node's scheduler noted."""
    return emulator.pipeline_runs.node_log(run_id, _node(path), "logs/job_result.txt")
