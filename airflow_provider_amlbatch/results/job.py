"""What the job says of itself: the metrics that a parallel step posts to its run."""

from __future__ import annotations

import logging

from airflow_provider_amlbatch.aml import metrics
from airflow_provider_amlbatch.aml.errors import AzureMLBatchError
from airflow_provider_amlbatch.aml.metrics import Metric
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.results.reconcile import JobCounts

log = logging.getLogger(__name__)

#: Names of the metrics; a job may put a prefix before them.
TOTAL_ITEMS, FAILED_ITEMS = "Total Items", "Failed Items"


def job_counts(session: Session, step_run_id: str) -> JobCounts | None:
    """Read how many items a parallel step had, and how many of them failed. A step that was reused has no counts.

    Items are files of a file input and rows of a tabular one.

    :return: None when the service does not tell; that is never an error.
    """
    try:
        return _job_counts(session, step_run_id)
    except AzureMLBatchError as error:
        log.info("The job's own counts of %s cannot be read: %s", step_run_id, error)
        return None


def _job_counts(session: Session, step_run_id: str) -> JobCounts | None:
    names = [found.metric_key.name for found in session.send(metrics.list_metrics(step_run_id)).value]

    def read(wanted: str) -> int | None:
        name = next((name for name in names if name.endswith(wanted)), None)
        return None if name is None else last_number(session.send(metrics.get_metric(step_run_id, name)))

    total, failed = read(TOTAL_ITEMS), read(FAILED_ITEMS)
    if total is None and failed is None:
        return None
    succeeded = None if total is None or failed is None else total - failed
    return JobCounts(total, succeeded, failed)


def last_number(metric: Metric) -> int | None:
    """The latest value of a metric of whole numbers; None if it has none."""
    for value in reversed(metric.value or []):
        for number in (value.data or {}).values():
            if isinstance(number, (int, float)) and float(number).is_integer():
                return int(number)
    return None
