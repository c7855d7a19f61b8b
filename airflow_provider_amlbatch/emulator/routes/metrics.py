"""The metric service (``/metric/v2.0``)."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_provider_amlbatch.aml.metrics import Metric, MetricDefinition, MetricDefinitions, MetricKey
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.paths import WORKSPACE
from airflow_provider_amlbatch.emulator.routes.access import DATA_PLANE, TheEmulator
from airflow_provider_amlbatch.emulator.services.metrics import BatchMetrics, BatchResult

router = APIRouter(prefix="/metric/v2.0" + WORKSPACE + "/runs/{run_id}", dependencies=[DATA_PLANE])


class MetricRequest(Camel):
    """Which metric to read, and from when to when."""

    metric_name: str
    start_time: Instant | None = None
    end_time: Instant | None = None


@router.post("/batch")
def post_metrics(emulator: TheEmulator, run_id: str, batch: BatchMetrics) -> BatchResult:
    """Log metrics."""
    return emulator.metrics.log(run_id, batch)


@router.post("/list")
def list_metrics(emulator: TheEmulator, run_id: str) -> MetricDefinitions:
    """List the metrics of a run."""
    found = emulator.metrics.names(run_id).items()
    return MetricDefinitions(
        value=[MetricDefinition(metric_key=MetricKey(name=name), columns=columns) for name, columns in found]
    )


@router.post("/full")
def get_metric(emulator: TheEmulator, run_id: str, request: MetricRequest) -> Metric:
    """Read a metric."""
    return emulator.metrics.get(run_id, request.metric_name, request.start_time, request.end_time)
