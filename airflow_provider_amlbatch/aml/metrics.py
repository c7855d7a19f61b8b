"""The metric service (``/metric/v2.0``): numbers that a run logged, and the progress of parallel steps."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.wire import Camel, Instant


class MetricValue(Camel):
    """One value of a metric, or one row of a table."""

    metric_id: str | None = None
    created_utc: Instant | None = None
    step: int | None = None
    data: dict[str, Any] | None = None


class MetricProperties(Camel):
    """How a metric is shown."""

    ux_metric_type: str | None = None


class Metric(Camel):
    """A metric with its values, the oldest first."""

    data_container_id: str | None = None
    name: str
    columns: dict[str, str] | None = None
    value: list[MetricValue] | None = None
    continuation_token: str | None = None
    properties: MetricProperties | None = None


class MetricKey(Camel):
    """What identifies a metric of a run."""

    name: str
    namespace: str | None = None


class MetricDefinition(Camel):
    """A metric without its values."""

    metric_key: MetricKey
    columns: dict[str, str] | None = None


class MetricDefinitions(Camel):
    """The metrics of a run."""

    value: list[MetricDefinition] = []
    continuation_token: str | None = None


def list_metrics(run_id: str) -> Call[MetricDefinitions]:
    """List the metrics of a run, without values; the first page of them."""
    return Call("POST", "api", _path(run_id, "list"), MetricDefinitions.model_validate, body={})


def get_metric(run_id: str, name: str) -> Call[Metric]:
    """Read the values of a metric."""
    return Call("POST", "api", _path(run_id, "full"), Metric.model_validate, body={"metricName": name})


def _path(run_id: str, verb: str) -> str:
    return f"/metric/v2.0{WORKSPACE}/runs/{quote(run_id)}/{verb}"
