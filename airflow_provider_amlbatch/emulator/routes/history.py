"""Run history (``/history/v1.0``): experiments, runs, and what is asked about many runs at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query

from airflow_provider_amlbatch.aml.artifact import Artifact, ArtifactPage
from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.history import (
    BatchRunDataRequest,
    BatchRunDataResult,
    ErrorResponse,
    Experiment,
    GetRunDataRequest,
    GetRunDataResult,
    QueryParams,
    RootError,
    Run,
    RunDetails,
    RunPage,
)
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.artifacts import RUN
from airflow_provider_amlbatch.emulator.services.history import container_of

router = APIRouter(prefix="/history/v1.0" + WORKSPACE, dependencies=[DATA_PLANE])

ExperimentPage = Page[Experiment]
Json = Annotated[dict[str, Any], Body()]
Names = Annotated[list[str], Body()]

_RUNS = ("/experiments/{experiment_name}/runs/{run_id}", "/experimentids/{experiment_id}/runs/{run_id}")


class Event(Camel):
    """What a run says of itself."""

    timestamp: Instant | None = None
    name: str
    data: dict[str, Any] | None = None


class BatchEvents(Camel):
    """Events of several runs."""

    events: list[Event] = []


class ModifyExperiment(Camel):
    """What to change of an experiment."""

    description: str | None = None
    archive: bool | None = None
    tags: dict[str, str | None] | None = None


class RunToken(Camel):
    """A token for the processes of a run."""

    token: str
    expiry_time_utc: Instant


class BatchRuns(Camel):
    """Runs to be made or changed."""

    runs: list[dict[str, Any]] = []


def _by_name(emulator: TheEmulator, experiment_name: str) -> Experiment:
    return emulator.experiments.by_name(experiment_name)


def _by_id(emulator: TheEmulator, experiment_id: str) -> Experiment:
    return emulator.experiments.by_id(experiment_id)


Named = Annotated[Experiment, Depends(_by_name)]
Identified = Annotated[Experiment, Depends(_by_id)]


def _order(params: QueryParams, extra: dict[str, Any] | None = None) -> QueryParams:
    # The v1 SDK writes ``orderby``, the service's own description ``orderBy``.
    return params.model_copy(update={"order_by": params.order_by or (extra or params.model_extra or {}).get("orderby")})


@router.post("/experiments:query")
def query_experiments(
    emulator: TheEmulator, params: QueryParams, view: Annotated[str | None, Query(alias="viewType")] = None
) -> ExperimentPage:
    """List the experiments."""
    kind = (view or (params.model_extra or {}).get("viewType") or "ActiveOnly").lower()
    archived = {"activeonly": False, "archivedonly": True}.get(kind)
    return ExperimentPage(value=emulator.experiments.list_all(archived=archived))


@router.get("/experiments/{experiment_name}")
def get_experiment(experiment: Named) -> Experiment:
    """Get an experiment by its name."""
    return experiment


@router.post("/experiments/{experiment_name}")
def create_experiment(emulator: TheEmulator, experiment_name: str) -> Experiment:
    """Make an experiment, or get it."""
    return emulator.experiments.create(experiment_name)


@router.get("/experimentids/{experiment_id}")
def get_experiment_by_id(experiment: Identified) -> Experiment:
    """Get an experiment by its id."""
    return experiment


@router.patch("/experimentids/{experiment_id}")
def update_experiment(emulator: TheEmulator, experiment: Identified, change: ModifyExperiment) -> Experiment:
    """Change an experiment."""
    return emulator.experiments.update(
        experiment.experiment_id, description=change.description, archive=change.archive, tags=change.tags
    )


@router.post("/experimentids/{experiment_id}/tags:delete")
def delete_experiment_tags(
    emulator: TheEmulator, experiment: Identified, command: dict[str, list[str]]
) -> dict[str, Any]:
    """Remove tags of an experiment."""
    emulator.experiments.delete_tags(experiment.experiment_id, command.get("tags", []))
    return {"errors": {}}


@router.post("/experiments/{experiment_name}/runs:query")
def query_runs(emulator: TheEmulator, experiment: Named, params: QueryParams) -> RunPage:
    """List the runs of an experiment that a filter lets pass."""
    return emulator.history.query(_order(params), experiment)


@router.post("/runs:query")
def query_all_runs(emulator: TheEmulator, params: QueryParams) -> RunPage:
    """List the runs of the workspace that a filter lets pass."""
    return emulator.history.query(_order(params))


@router.post("/rundata")
def get_run_data(emulator: TheEmulator, request: GetRunDataRequest) -> GetRunDataResult:
    """Get a run, whatever its experiment."""
    return _run_data(emulator, request, emulator.history.get(request.run_id))


@router.post("/batchrundata")
def get_batch_run_data(emulator: TheEmulator, batch: BatchRunDataRequest) -> BatchRunDataResult:
    """Get many runs, whatever their experiments."""
    found = emulator.history.find(request.run_id for request in batch.requests.values())
    answer = BatchRunDataResult()
    for key, request in batch.requests.items():
        run = found.get(request.run_id)
        if run is not None:
            answer.successful_results[key] = _run_data(emulator, request, run)
        else:
            missing = RootError(code="UserError", message=f"Run {request.run_id} was not found.")
            answer.failed_results[key] = ErrorResponse(error=missing)
    return answer


def _run_data(emulator: Emulator, request: GetRunDataRequest, run: Run) -> GetRunDataResult:
    definition = emulator.history.definition(run) if request.select_run_definition else None
    return GetRunDataResult(run_metadata=run if request.select_run_metadata else None, run_definition=definition)


@router.get("/runs/{run_id}")
def get_workspace_run(emulator: TheEmulator, run_id: str) -> Run:
    """Get a run by its id alone."""
    return emulator.history.get(run_id)


@router.patch("/runs/{run_id}")
def modify_workspace_run(emulator: TheEmulator, run_id: str, change: Json) -> Run:
    """Change a run by its id alone."""
    experiment = _by_id(emulator, str(emulator.history.get(run_id).experiment_id))
    return emulator.history.modify(run_id, experiment, change)


@router.get("/runs/{run_id}/details")
def get_workspace_run_details(emulator: TheEmulator, run_id: str) -> RunDetails:
    """Get a run with its logs and its error, by its id alone."""
    return emulator.history.details(run_id)


@router.patch("/experiments/{experiment_name}/batch/runs")
def modify_runs(emulator: TheEmulator, experiment: Named, batch: BatchRuns) -> dict[str, Any]:
    """Make or change several runs."""
    runs = {
        str(change["runId"]): emulator.history.modify(str(change["runId"]), experiment, change)
        for change in batch.runs
        if change.get("runId")
    }
    return {"runs": {run_id: run.to_wire() for run_id, run in runs.items()}, "errors": {}}


@router.post("/experiments/{experiment_name}/batch/events")
def post_events(emulator: TheEmulator, experiment: Named, batch: BatchEvents) -> dict[str, Any]:
    """Note events of several runs."""
    for event in batch.events:
        run_id = str((event.data or {}).get("RunId") or "")
        emulator.history.record_event(run_id, experiment, event.name, event.data or {})
    return {"errors": []}


@router.get(_RUNS[0])
def get_run(emulator: TheEmulator, experiment: Named, run_id: str) -> Run:
    """Get a run of an experiment."""
    return emulator.history.get(run_id, experiment)


@router.get(_RUNS[1])
def get_run_by_experiment_id(emulator: TheEmulator, experiment: Identified, run_id: str) -> Run:
    """Get a run of an experiment."""
    return emulator.history.get(run_id, experiment)


@router.patch(_RUNS[0])
def modify_run(emulator: TheEmulator, experiment: Named, run_id: str, change: Json) -> Run:
    """Change a run, or make an interactive one."""
    return emulator.history.modify(run_id, experiment, change)


@router.patch(_RUNS[1])
def modify_run_by_experiment_id(emulator: TheEmulator, experiment: Identified, run_id: str, change: Json) -> Run:
    """Change a run, or make an interactive one."""
    return emulator.history.modify(run_id, experiment, change)


@router.get(_RUNS[0] + "/details")
def get_run_details(emulator: TheEmulator, experiment: Named, run_id: str) -> RunDetails:
    """Get a run with its logs and its error."""
    return emulator.history.details(run_id, experiment)


@router.get(_RUNS[1] + "/details")
def get_run_details_by_experiment_id(emulator: TheEmulator, experiment: Identified, run_id: str) -> RunDetails:
    """Get a run with its logs and its error."""
    return emulator.history.details(run_id, experiment)


def _children_query(
    run_filter: Annotated[str | None, Query(alias="$filter")] = None,
    order: Annotated[list[str] | None, Query(alias="$orderby")] = None,
    top: Annotated[int | None, Query(alias="$top")] = None,
    token: Annotated[str | None, Query(alias="$continuationToken")] = None,
) -> QueryParams:
    return QueryParams(
        filter=run_filter, order_by=",".join(order) if order else None, top=top, continuation_token=token
    )


ChildrenQuery = Annotated[QueryParams, Depends(_children_query)]


@router.get(_RUNS[0] + "/children")
def list_children(emulator: TheEmulator, experiment: Named, run_id: str, params: ChildrenQuery) -> RunPage:
    """List the runs within a run."""
    emulator.history.get(run_id, experiment)
    return emulator.history.children(run_id, params)


@router.get("/runs/{run_id}/children")
def list_children_by_run_id(emulator: TheEmulator, run_id: str, params: ChildrenQuery) -> RunPage:
    """List the runs within a run, whatever its experiment."""
    emulator.history.get(run_id)
    return emulator.history.children(run_id, params)


@router.post(_RUNS[0] + "/cancel")
def cancel_run(emulator: TheEmulator, experiment: Named, run_id: str) -> Run:
    """Ask for the end of a run."""
    return _cancel(emulator, experiment, run_id)


@router.post(_RUNS[1] + "/cancel")
def cancel_run_by_experiment_id(emulator: TheEmulator, experiment: Identified, run_id: str) -> Run:
    """Ask for the end of a run."""
    return _cancel(emulator, experiment, run_id)


def _cancel(emulator: Emulator, experiment: Experiment, run_id: str) -> Run:
    emulator.cancel_run(emulator.history.get(run_id, experiment))
    return emulator.history.get(run_id, experiment)


@router.patch(_RUNS[0] + "/tags")
def add_tags(emulator: TheEmulator, experiment: Named, run_id: str, tags: dict[str, Any]) -> Run:
    """Add tags to a run: an object of tags, or one under ``tags``."""
    inner = tags.get("tags")
    return emulator.history.modify(run_id, experiment, {"tags": inner if isinstance(inner, dict) else tags})


@router.delete(_RUNS[0] + "/tags")
def delete_tags(emulator: TheEmulator, experiment: Named, run_id: str, names: Names) -> Run:
    """Remove tags of a run."""
    return emulator.history.delete_tags(run_id, experiment, names)


@router.post(_RUNS[0] + "/events")
def post_event(emulator: TheEmulator, experiment: Named, run_id: str, event: Event) -> None:
    """Note what a run says of itself."""
    emulator.history.record_event(run_id, experiment, event.name, event.data or {})


@router.get(_RUNS[0] + "/token")
def get_token(emulator: TheEmulator, experiment: Named, run_id: str) -> RunToken:
    """Give a run a new token."""
    emulator.history.get(run_id, experiment)
    token, expiry = emulator.step_environment.token(run_id)
    return RunToken(token=token, expiry_time_utc=expiry)


@router.get(_RUNS[0] + "/metricsingest/wait")
def wait_for_metrics(emulator: TheEmulator, experiment: Named, run_id: str) -> dict[str, Any]:
    """Say that metrics are where they belong: they always are."""
    emulator.history.get(run_id, experiment)
    return {}


@router.get(_RUNS[0] + "/artifacts")
def list_artifacts(emulator: TheEmulator, experiment: Named, run_id: str) -> ArtifactPage:
    """List the files of a run."""
    emulator.history.get(run_id, experiment)
    return emulator.artifacts.list_artifacts(RUN, container_of(run_id), "", None)


@router.get(_RUNS[0] + "/artifacts/metadata/{path:path}")
def get_artifact(emulator: TheEmulator, experiment: Named, run_id: str, path: str) -> Artifact:
    """Describe a file of a run."""
    emulator.history.get(run_id, experiment)
    return emulator.artifacts.get(RUN, container_of(run_id), path)


@router.delete("/experimentids/{experiment_id}")
def delete_experiment(emulator: TheEmulator, experiment: Identified) -> None:
    """Delete an experiment that has no runs."""
    emulator.experiments.delete(experiment.experiment_id)
