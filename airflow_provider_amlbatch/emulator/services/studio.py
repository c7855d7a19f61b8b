"""What the pages show besides single runs: the workspace, its runs, models, pipelines and schedules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.history import QueryParams, Run
from airflow_provider_amlbatch.aml.pipelines import ACTIVE, PipelineEndpoint, PipelineRun, PublishedPipeline
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import RECURRENCE, Schedule
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.services.endpoints import EndpointService
from airflow_provider_amlbatch.emulator.services.experiments import ExperimentService
from airflow_provider_amlbatch.emulator.services.history import HistoryService
from airflow_provider_amlbatch.emulator.services.models import Model, ModelQuery, ModelService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService
from airflow_provider_amlbatch.emulator.services.schedules import ScheduleService
from airflow_provider_amlbatch.emulator.services.studio_runs import RunPages, Step
from airflow_provider_amlbatch.emulator.services.workspace import STUDIO_PREFIX
from airflow_provider_amlbatch.emulator.studio.graph import Drawing

#: Runs and models of a page.
_PAGE = 50

#: Of more runs than these, the overview counts only the newest.
_COUNTED = 1000

#: Firings shown of a schedule.
_FIRINGS = 10


@dataclass(frozen=True)
class RunList:
    """A page of runs, each with its experiment's name; ``token`` leads to the next page."""

    runs: list[tuple[Step, str]]
    token: str | None
    is_active: bool


@dataclass(frozen=True)
class Overview:
    """The workspace at a glance."""

    statuses: dict[str, int]
    runs: RunList
    models: int
    pipelines: int
    schedules: list[ScheduleView]


@dataclass(frozen=True)
class PipelinePage:
    """A published pipeline: its graph, its runs, and where it is used."""

    pipeline: PublishedPipeline
    drawing: Drawing
    runs: list[Run]
    endpoints: list[tuple[PipelineEndpoint, str]]
    schedules: list[ScheduleView]


@dataclass(frozen=True)
class EndpointPage:
    """A pipeline endpoint with the pipelines behind its versions."""

    endpoint: PipelineEndpoint
    versions: list[tuple[str, PublishedPipeline]]


@dataclass(frozen=True)
class Firing:
    """An instant, in UTC and by the schedule's own clock."""

    utc: datetime
    local: datetime


@dataclass(frozen=True)
class ScheduleView:
    """A schedule, what it runs, and when it would next."""

    schedule: Schedule
    target: str
    target_href: str
    rule: str
    zone: str
    warnings: list[str]
    firings: list[Firing]
    runs: list[PipelineRun]

    @property
    def is_active(self) -> bool:
        """Whether it fires."""
        return self.schedule.entity_status == ACTIVE


class StudioService:
    """Collects what the pages show."""

    def __init__(
        self,
        clock: Clock,
        history: HistoryService,
        experiments: ExperimentService,
        models: ModelService,
        pipelines: PipelineService,
        endpoints: EndpointService,
        schedules: ScheduleService,
        runs: RunPages,
    ) -> None:
        self._clock = clock
        self._history = history
        self._experiments = experiments
        self._models = models
        self._pipelines = pipelines
        self._endpoints = endpoints
        self._schedules = schedules
        self.runs = runs

    def overview(self) -> Overview:
        """The workspace at a glance."""
        statuses = Counter(run.run_status.value for run in self._query(None, None, None, _COUNTED).value)
        return Overview(
            statuses=dict(sorted(statuses.items())),
            runs=self.run_list(count=8),
            models=len({model.name for model in self.models()}),
            pipelines=len(self._pipelines.list_published(active_only=True)),
            schedules=[view for view in self.schedules() if view.is_active],
        )

    def run_list(
        self, experiment: str | None = None, status: str | None = None, token: str | None = None, count: int = _PAGE
    ) -> RunList:
        """Runs that are nobody's step, newest first.

        :raises NotFound: if there is no experiment of that name.
        """
        found = self._query(experiment, status, token, count)
        names = {found.experiment_id: found.name for found in self._experiments.list_all(archived=None)}
        runs = [(self.runs.step(run), names.get(str(run.experiment_id), "")) for run in found.value]
        is_active = any(step.run.run_status.is_active for step, _ in runs)
        return RunList(runs, found.continuation_token, is_active)

    def experiment_names(self) -> list[str]:
        """Names of all experiments, newest first."""
        return [experiment.name for experiment in self._experiments.list_all(archived=None)]

    def experiment_name(self, experiment_id: str) -> str:
        """Name of an experiment.

        :raises NotFound: if there is none.
        """
        return self._experiments.by_id(experiment_id).name

    def models(self) -> list[Model]:
        """All versions of all models, newest first."""
        return self._models.find(ModelQuery(), 1000, None).value

    def model(self, model_id: str) -> Model:
        """A version of a model, or its latest.

        :raises NotFound: if there is none.
        """
        return self._models.get(model_id)

    def pipelines(self) -> list[PublishedPipeline]:
        """The published pipelines, newest first."""
        return self._pipelines.list_published(active_only=False)

    def endpoints(self) -> list[EndpointPage]:
        """The pipeline endpoints, newest first."""
        return [self.endpoint(endpoint.id) for endpoint in self._endpoints.list_endpoints(active_only=False)]

    def endpoint(self, endpoint_id: str) -> EndpointPage:
        """A pipeline endpoint.

        :raises NotFound: if there is none.
        """
        endpoint = self._endpoints.get(endpoint_id)
        published = self._pipelines.published
        return EndpointPage(endpoint, [(v.version, published(v.pipeline_id)) for v in endpoint.pipeline_version_list])

    def pipeline(self, pipeline_id: str) -> PipelinePage:
        """A published pipeline.

        :raises NotFound: if there is none.
        """
        pipeline = self._pipelines.published(pipeline_id)
        used = [
            (page.endpoint, version)
            for page in self.endpoints()
            for version, behind in page.versions
            if behind.id == pipeline_id
        ]
        query = QueryParams(filter=f"properties/azureml.pipelineid eq '{pipeline.id}'", top=_PAGE)
        schedules = self._schedules.list_schedules(active_only=False, pipeline_id=pipeline_id)
        return PipelinePage(
            pipeline=pipeline,
            drawing=self.runs.drawing(str(pipeline.graph_id), {}),
            runs=self._history.query(query).value,
            endpoints=used,
            schedules=[self._schedule(schedule) for schedule in schedules],
        )

    def schedules(self) -> list[ScheduleView]:
        """All schedules, those that fire first."""
        views = [self._schedule(schedule) for schedule in self._schedules.list_schedules(active_only=False)]
        return sorted(views, key=lambda view: not view.is_active)

    def schedule(self, schedule_id: str) -> ScheduleView:
        """A schedule.

        :raises NotFound: if there is none.
        """
        return self._schedule(self._schedules.get(schedule_id))

    def _schedule(self, schedule: Schedule) -> ScheduleView:
        if schedule.pipeline_endpoint_id:
            target = self._endpoints.get(schedule.pipeline_endpoint_id).name
            href = f"{STUDIO_PREFIX}/endpoints/{schedule.pipeline_endpoint_id}"
        else:
            target = self._pipelines.published(str(schedule.pipeline_id)).name
            href = f"{STUDIO_PREFIX}/pipelines/{schedule.pipeline_id}"
        rule, zone, warnings, firings = self._plan(schedule)
        runs = self._schedules.runs(schedule.id)[:_FIRINGS]
        return ScheduleView(schedule, target or "", href, rule, zone, warnings, firings, runs)

    def _plan(self, schedule: Schedule) -> tuple[str, str, list[str], list[Firing]]:
        if schedule.schedule_type != RECURRENCE or schedule.recurrence is None:
            trigger = schedule.data_store_trigger_info
            place = f"{trigger.data_store_name}/{trigger.path_on_data_store or ''}" if trigger else ""
            return f"For new and changed files in {place}", "", [], []
        try:
            rule = ScheduleRecurrence.from_wire(schedule.recurrence)
        except ArgumentError as error:
            return "", "", [str(error)], []
        instant = self._clock.now()
        created = schedule.created_date or instant
        firings: list[Firing] = []
        while len(firings) < _FIRINGS:
            instant = rule.next_after(instant, created=created)
            firings.append(Firing(instant, instant.astimezone(rule.zone)))
        return rule.describe(), rule.time_zone or "UTC", rule.warnings(), firings

    def _query(self, experiment: str | None, status: str | None, token: str | None, count: int) -> Page[Run]:
        clauses = ["ParentRunId eq null"]
        if status is not None:
            if status not in list(RunStatus):
                raise BadRequest(f"There is no status {status!r}.")
            clauses.append(f"Status eq '{status}'")
        params = QueryParams(filter=" and ".join(clauses), top=count, continuation_token=token)
        return self._history.query(params, self._experiments.by_name(experiment) if experiment else None)
