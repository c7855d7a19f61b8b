"""Why a run failed, in a few lines: step, error, counts, the rule that was broken, the user's own traceback."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml import artifact, history, pipelines
from airflow_provider_amlbatch.aml.errors import AzureMLBatchError, redact
from airflow_provider_amlbatch.aml.history import JobCost, Run
from airflow_provider_amlbatch.aml.outcome import RunOutcome, error_of
from airflow_provider_amlbatch.aml.outputs import NODE_ID, step_runs
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.words import counted

log = logging.getLogger(__name__)

#: Where the traceback of a user's script is looked for, best place first.
_ERROR_LOGS = (
    re.compile(r"logs/job_error[^/]*\.txt"),
    re.compile(r"logs/user/error/.+"),
    re.compile(r"logs/user/stderr/.+"),
    re.compile(r"user_logs/std_log.*\.txt"),
    re.compile(r"azureml-logs/70_driver_log.*\.txt"),
)
_RESULT = re.compile(r"logs/job_result[^/]*\.txt")
_MINI_BATCHES = re.compile(r"logs/sys/job_report/processed_mini-batches\.csv")
_PLACES = ("logs", "user_logs", "azureml-logs")
#: No more than the end of a log is read, and no more of a traceback is shown.
LOG_BYTES = 1 << 20
TRACEBACK_LINES = 40


@dataclass(frozen=True)
class Counts:
    """What a parallel step got done, by its own report."""

    items: int
    failed_items: int
    mini_batches: int
    failed_mini_batches: int

    def __str__(self) -> str:
        return (
            f"{counted(self.items, 'item')}, {self.failed_items:,} failed; "
            f"{counted(self.mini_batches, 'mini-batch')}, {self.failed_mini_batches:,} failed"
        )


def failure_digest(session: Session, outcome: RunOutcome, link: str) -> str:
    """Tell why a run did not complete. What cannot be read is left out, never an error of its own.

    :param link: address of the run's page.
    """
    lines = [f"Run {outcome.run_id} ended as {outcome.status.value}."]
    if outcome.error_message or outcome.error_code:
        lines.append(f"Error: {_error(outcome.error_code, outcome.error_message)}")
    try:
        for step in step_runs(session, outcome.run_id):
            if step.run_status is RunStatus.FAILED:
                lines += _of_step(session, step, outcome)
    except AzureMLBatchError as error:
        lines.append(f"(The steps could not be read: {error})")
    lines.append(f"See {link}")
    return redact("\n".join(lines))


def _of_step(session: Session, step: Run, outcome: RunOutcome) -> Iterator[str]:
    told = error_of(step.error)
    # A pipeline run passes on what its step says: once is enough.
    repeated = told == (outcome.error_code, outcome.error_message)
    yield f"Step {step.name!r} ({step.run_id}) ended as {step.status}{'.' if repeated else f': {_error(*told)}'}"
    try:
        logs = _Logs(session, step)
        report = logs.first(_MINI_BATCHES)
        counts = count(report) if report else None
        if reason := _broken_rule(session, outcome.run_id, step, counts) or _stated_reason(logs):
            yield f"Reason: {reason}"
        if counts:
            yield f"Counts: {counts}"
        traceback = next((found for text in logs.texts(_ERROR_LOGS) if (found := first_traceback(text))), None)
        if traceback:
            yield "The first error of the script:"
            yield from (f"    {line}" for line in traceback)
    except AzureMLBatchError as error:
        yield f"(Its logs could not be read: {error})"
    try:
        cost = session.send(history.get_run_details(step.run_id)).job_cost
        if cost and (spent := _cost(cost)):
            yield f"Cost: {spent}"
    except AzureMLBatchError as error:
        yield f"(Its cost could not be read: {error})"


def _stated_reason(logs: _Logs) -> str | None:
    stated = re.search(r"^Reason: (.+)$", logs.first(_RESULT) or "", re.MULTILINE)
    return stated and stated[1]


def _broken_rule(session: Session, run_id: str, step: Run, counts: Counts | None) -> str | None:
    """Name the threshold that was exceeded. The SDK writes it into the graph, beside the step."""
    if counts is None or not counts.failed_items:
        return None
    try:
        graph_id = session.send(pipelines.get_pipeline_run(run_id)).graph_id
        graph = session.send(pipelines.get_graph(graph_id)) if graph_id else {}
        threshold = error_threshold(graph, step.tags.get(NODE_ID) or step.properties.get(NODE_ID))
    except AzureMLBatchError as error:
        log.debug("The graph of run %s cannot be read: %s", run_id, error)
        return None
    if threshold is None or not 0 <= threshold < counts.failed_items:
        return None
    return f"error_threshold {threshold:,} exceeded by {counted(counts.failed_items, 'failed item')}."


def error_threshold(graph: Mapping[str, Any], node_id: str | None) -> int | None:
    """Read a parallel step's error_threshold out of a graph; None where it is not told."""
    for node in graph.get("ModuleNodes") or []:
        for parameter in (node.get("ModuleMetadataParameters") or []) if node.get("Id") == node_id else []:
            if parameter.get("Name") == "BatchInferencingMetaData":
                try:
                    return int(json.loads(parameter["Value"])["ErrorThreshold"])
                except (ValueError, TypeError, KeyError):
                    return None
    return None


class _Logs:
    """The log files of a step, read when asked for."""

    def __init__(self, session: Session, step: Run) -> None:
        self._session = session
        self._urls = dict(_log_urls(session, step))

    def texts(self, places: tuple[re.Pattern[str], ...]) -> Iterator[str]:
        """The files at the given places, in the places' order."""
        for place in places:
            for name in sorted(name for name in self._urls if place.fullmatch(name)):
                yield self._session.download(self._urls[name], last_bytes=LOG_BYTES).decode(errors="replace")

    def first(self, place: re.Pattern[str]) -> str | None:
        """The first file at a place."""
        return next(self.texts((place,)), None)


def _log_urls(session: Session, step: Run) -> Iterator[tuple[str, str]]:
    if step.data_container_id is None:
        return
    for place in _PLACES:
        for content in session.pages(artifact.list_contents(step.data_container_id, place)):
            yield content.path, content.content_uri


def first_traceback(text: str) -> list[str] | None:
    """Cut the first Python traceback out of a log, its middle shortened if it is long."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.lstrip().startswith("Traceback (most recent")), None)
    if start is None:
        return None
    indent = len(lines[start]) - len(lines[start].lstrip())
    body = [line[indent:] for line in lines[start:]]
    # Frames are indented; the first line that is not names the exception.
    end = next((i for i, line in enumerate(body[1:], start=1) if line and not line.startswith(" ")), len(body) - 1)
    found = body[: end + 1]
    if len(found) > TRACEBACK_LINES:
        half = TRACEBACK_LINES // 2
        found = [*found[:half], f"  ... {len(found) - 2 * half} lines left out ...", *found[-half:]]
    return found


def count(report: str) -> Counts | None:
    """Add up the report of mini-batches. A mini-batch counts by its last try.

    :param report: CSV with a header; the columns are recognised by their names' words, because versions differ.
    """
    last: dict[str, Mapping[str, str]] = {}
    for row in csv.DictReader(io.StringIO(report)):
        plain = {_word(name): value for name, value in row.items() if name is not None}
        if identity := plain.get("minibatchid"):
            last[identity] = plain
    if not last:
        return None
    try:
        return Counts(
            items=sum(int(row["total"]) for row in last.values()),
            failed_items=sum(int(row["failed"]) for row in last.values()),
            mini_batches=len(last),
            failed_mini_batches=sum(row["status"].lower() not in _GOOD for row in last.values()),
        )
    except (KeyError, ValueError):
        return None


_GOOD = ("succeeded", "success", "completed", "done")


def _word(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _error(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part) or "the service gives no reason"


def _cost(cost: JobCost) -> str:
    parts = (
        (cost.charged_node_utilization_seconds, "node seconds"),
        (cost.charged_cpu_core_seconds, "CPU core seconds"),
        (cost.charged_gpu_seconds, "GPU seconds"),
    )
    return ", ".join(f"{amount:,.0f} {unit}" for amount, unit in parts if amount)
