"""Metrics of runs: those that were logged, and the progress of parallel steps."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from airflow_provider_amlbatch.aml.history import ErrorResponse, RootError
from airflow_provider_amlbatch.aml.metrics import Metric, MetricProperties, MetricValue
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.engine.report import Progress
from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.emulator.services.history import HistoryService, container_of
from airflow_provider_amlbatch.emulator.store import Store

_SCALAR = "azureml.v1.scalar"

#: Property of a step run: what stands before the names of the metrics of its progress.
METRICS_NAME_PREFIX = "emulator.metricsNamePrefix"
#: Property of a pipeline run: ids of the step runs, with blanks between, whose progress counts among its own metrics.
METRICS_OF = "emulator.metricsOf"


class MetricDocument(Metric):
    """A metric as it is kept."""

    run_id: str


class BatchMetrics(Camel):
    """Metrics that a run logs."""

    values: list[Metric] = Field(default=[])
    report_errors: bool | None = None


class MetricError(Camel):
    """A metric that was not kept."""

    metric: Metric
    error_response: ErrorResponse


class BatchResult(Camel):
    """The metrics that were not kept."""

    errors: list[MetricError] = []


class MetricService:
    """Keeps metrics."""

    def __init__(self, store: Store, clock: Clock, history: HistoryService) -> None:
        self._store = store
        self._clock = clock
        self._history = history
        self._metrics = store.collection("metrics", MetricDocument, indexes=("runId",))

    def log(self, run_id: str, batch: BatchMetrics) -> BatchResult:
        """Add values to metrics of a run; a metric cannot change its columns."""
        self._history.get(run_id)
        result = BatchResult()
        with self._store.transaction():
            for metric in batch.values:
                key = f"{run_id}/{metric.name}"
                kept = self._metrics.get(key)
                if kept is None:
                    kept = MetricDocument(run_id=run_id, **metric.model_dump(exclude={"value", "data_container_id"}))
                    kept.data_container_id = container_of(run_id)
                elif kept.columns != metric.columns:
                    message = f"The metric {metric.name!r} has the columns {kept.columns}, not {metric.columns}."
                    error = ErrorResponse(error=RootError(code="UserError", message=message))
                    result.errors.append(MetricError(metric=metric, error_response=error))
                    continue
                kept.value = (kept.value or []) + (metric.value or [])
                self._metrics.put(key, kept)
        return result

    def names(self, run_id: str) -> dict[str, dict[str, str]]:
        """Columns of a run's metrics, by name."""
        return {metric.name: metric.columns or {} for metric in self._all(run_id)}

    def get(self, run_id: str, name: str, start: datetime | None, end: datetime | None) -> Metric:
        """A metric with the values of a span of time.

        :raises NotFound: if the run has no such metric.
        """
        for metric in self._all(run_id):
            if metric.name == name:
                values = [
                    value
                    for value in metric.value or []
                    if value.created_utc is None
                    or ((start is None or value.created_utc >= start) and (end is None or value.created_utc <= end))
                ]
                return metric.model_copy(update={"value": values})
        raise NotFound(f"The run {run_id!r} has no metric {name!r}.", code="UserError")

    def _all(self, run_id: str) -> list[Metric]:
        measured = self._measured(run_id)
        for step_run_id in (self._history.get(run_id).properties.get(METRICS_OF) or "").split():
            measured |= self._measured(step_run_id)
        scalars = [self._scalar(run_id, name, number) for name, number in measured.items()]
        return [*self._metrics.find(runId=run_id), *scalars]

    def _measured(self, run_id: str) -> dict[str, int]:
        """The metrics of a parallel step's progress. Inferred: the prefix stands right before the name."""
        prefix = self._history.get(run_id).properties.get(METRICS_NAME_PREFIX) or ""
        progress = self._history.progress(run_id)
        return {} if progress is None else {prefix + name: number for name, number in _measures(progress)}

    def _scalar(self, run_id: str, name: str, number: int) -> Metric:
        value = MetricValue(metric_id=f"{run_id}/{name}", created_utc=self._clock.now(), data={name: float(number)})
        return Metric(
            data_container_id=container_of(run_id),
            name=name,
            columns={name: "Double"},
            value=[value],
            properties=MetricProperties(ux_metric_type=_SCALAR),
        )


def _measures(progress: Progress) -> list[tuple[str, int]]:
    # Names as the portal shows them; those of the first three are documented, the others are inferred.
    return [
        ("Total MiniBatches", progress.total_mini_batches),
        ("Total Items", progress.total_items),
        ("Failed Items", progress.failed_items),
        ("Processed MiniBatches", progress.processed_mini_batches),
        ("Remaining MiniBatches", progress.total_mini_batches - progress.processed_mini_batches),
    ]
