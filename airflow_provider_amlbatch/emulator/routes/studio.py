"""Pages for people, at the addresses that the SDK's and the operators' links lead to. They need no token, show and do
nothing else, and answer callers on this machine only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib import resources
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.errors import NotFound, ServiceError
from airflow_provider_amlbatch.emulator.routes.access import TheEmulator
from airflow_provider_amlbatch.emulator.routes.local import LOCAL_ONLY
from airflow_provider_amlbatch.emulator.services.workspace import STUDIO_PREFIX
from airflow_provider_amlbatch.emulator.studio import pages, preview

#: Nothing from elsewhere, and nothing that a file or a name could smuggle in.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_STATIC = {"studio.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_LOGS = ("azureml-logs/", "logs/", "user_logs/", "system_logs/")


class _Page(APIRoute):
    """A route whose refusals are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except ServiceError as error:
                emulator: Emulator = request.app.state.emulator
                return _page(emulator, "refusal", "", error.status, error=error)

        return handle


router = APIRouter(
    prefix=STUDIO_PREFIX, dependencies=[LOCAL_ONLY], route_class=_Page, default_response_class=HTMLResponse
)


@router.get("")
def show_overview(emulator: TheEmulator) -> Response:
    """Show the workspace."""
    return _page(
        emulator, "overview", "", page=emulator.studio.overview(), identity=emulator.identity, clock=emulator.clock
    )


@router.get("/static/{name}")
def get_static(name: str) -> Response:
    """Get what the pages are made of."""
    if name not in _STATIC:
        raise NotFound(f"There is no {name!r} here.")
    content = resources.files(pages.__package__).joinpath("static", name).read_bytes()
    return Response(content, headers=_HEADERS | {"Cache-Control": "max-age=60"}, media_type=_STATIC[name])


@router.get("/runs")
def show_runs(
    emulator: TheEmulator, experiment: str | None = None, status: str | None = None, token: str | None = None
) -> Response:
    """Show the runs, all or those of an experiment or in a status."""
    page = emulator.studio.run_list(experiment, status, token)
    names = emulator.studio.experiment_names()
    return _page(emulator, "runs", "Runs", page=page, experiment=experiment, status=status, experiments=names)


@router.get("/experiments/id/{experiment_id}")
def show_experiment_by_id(emulator: TheEmulator, experiment_id: str) -> Response:
    """Lead to the runs of an experiment."""
    return show_experiment(emulator.studio.experiment_name(experiment_id))


@router.get("/experiments/{name}")
def show_experiment(name: str) -> Response:
    """Lead to the runs of an experiment."""
    return RedirectResponse(f"{STUDIO_PREFIX}/runs?experiment={quote(name, safe='')}", 302, _HEADERS)


@router.get("/runs/{run_id}")
def show_run(emulator: TheEmulator, run_id: str) -> Response:
    """Show a run of any kind."""
    return _page(emulator, "run", "Runs", page=emulator.studio.runs.page(run_id))


@router.get("/runs/{run_id}/files/{path:path}")
def show_file(emulator: TheEmulator, run_id: str, path: str, download: bool = False) -> Response:
    """Show a file of a run, or hand it out."""
    return _file(emulator, run_id, None, path, download)


@router.get("/runs/{run_id}/outputs/{output}/{path:path}")
def show_output_file(emulator: TheEmulator, run_id: str, output: str, path: str, download: bool = False) -> Response:
    """Show a file in an output of a step, or hand it out."""
    return _file(emulator, run_id, output, path, download)


@router.get("/pipelines")
def show_pipelines(emulator: TheEmulator) -> Response:
    """Show pipeline endpoints and published pipelines."""
    studio = emulator.studio
    return _page(emulator, "pipelines", "Pipelines", endpoints=studio.endpoints(), pipelines=studio.pipelines())


@router.get("/pipelines/{pipeline_id}")
def show_pipeline(emulator: TheEmulator, pipeline_id: str) -> Response:
    """Show a published pipeline."""
    return _page(emulator, "pipeline", "Pipelines", page=emulator.studio.pipeline(pipeline_id))


@router.get("/endpoints/{endpoint_id}")
def show_endpoint(emulator: TheEmulator, endpoint_id: str) -> Response:
    """Show a pipeline endpoint."""
    return _page(emulator, "endpoint", "Pipelines", page=emulator.studio.endpoint(endpoint_id))


@router.get("/schedules")
def show_schedules(emulator: TheEmulator) -> Response:
    """Show the schedules and when they fire."""
    return _page(emulator, "schedules", "Schedules", views=emulator.studio.schedules(), clock=emulator.clock)


@router.get("/schedules/{schedule_id}")
def show_schedule(emulator: TheEmulator, schedule_id: str) -> Response:
    """Show a schedule."""
    return _page(emulator, "schedule", "Schedules", view=emulator.studio.schedule(schedule_id))


@router.get("/models")
def show_models(emulator: TheEmulator) -> Response:
    """Show the models."""
    return _page(emulator, "models", "Models", models=emulator.studio.models())


@router.get("/models/{model_id}")
def show_model(emulator: TheEmulator, model_id: str) -> Response:
    """Show a version of a model."""
    return _page(emulator, "model", "Models", model=emulator.studio.model(model_id))


@router.get("/{path:path}")
def show_nothing(path: str) -> Response:
    """Say that there is no such page."""
    raise NotFound(f"There is no page {path!r} here.")


def _file(emulator: Emulator, run_id: str, output: str | None, path: str, download: bool) -> Response:
    runs = emulator.studio.runs
    file = runs.file(run_id, path) if output is None else runs.output_file(run_id, output, path)
    if download:
        picture = preview.PICTURES.get(file.suffix.lower())
        disposition = "attachment" if picture is None else "inline"
        kind = picture or "application/octet-stream"
        return FileResponse(
            file, headers=_HEADERS, media_type=kind, filename=file.name, content_disposition_type=disposition
        )
    is_log = output is None and path.startswith(_LOGS)
    shown = preview.preview(file, is_log=is_log)
    run = emulator.history.get(run_id)
    return _page(emulator, "file", "Runs", page=shown, path=path, run=run, output=output, is_log=is_log)


def _page(emulator: Emulator, template: str, section: str, code: int = 200, **values: Any) -> Response:
    page = pages.templates(emulator.clock).get_template(f"{template}.html")
    text = page.render(section=section, workspace=emulator.identity.workspace_name, **values)
    return HTMLResponse(text, code, _HEADERS)
