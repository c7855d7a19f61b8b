"""A pipeline run is submitted exactly once, with the service as the only memory.

Every submission carries a key in its tags and properties. Before a submission, and after one whose answer was lost, the
key is looked up and the run that it finds is adopted.

The limit: the service offers no key of its own that it would check. A lost submission that the service shows only after
all look-ups of this module (:data:`LOOKUPS`) is submitted a second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from airflow_provider_amlbatch.aml import history, pipelines
from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import (
    AmbiguousSubmissionError,
    AzureMLBatchError,
    NotFoundError,
    NotSentError,
    ServiceUnavailableError,
    UnexpectedReplyError,
    UnreachableError,
    ValidationError,
)
from airflow_provider_amlbatch.aml.history import QueryParams, Run
from airflow_provider_amlbatch.aml.pipelines import PipelineRun, PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.status import RunStatus

log = logging.getLogger(__name__)

KEY = "amlbatch_key"
GENERATION = "amlbatch_generation"

#: Seconds between the look-ups after a submission whose answer was lost.
LOOKUPS = (1.0, 2.0, 4.0, 8.0)
#: So many submissions in a row may get lost.
ATTEMPTS = 3


@dataclass(frozen=True)
class SubmissionKey:
    """What makes a submission the same as an earlier one.

    :param value: the same for every try of one piece of work.
    :param generation: changes when a person asks for the work to be done anew.
    :param labels: readable tags that go along.
    """

    value: str
    generation: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *parts: object, generation: str, labels: Mapping[str, str] | None = None) -> SubmissionKey:
        """Make a key out of parts. Parts of equal text give equal keys."""
        text = "\x1f".join(str(part) for part in parts)
        return cls(sha256(text.encode()).hexdigest()[:40], generation, labels or {})

    @property
    def tags(self) -> dict[str, str]:
        """What the run carries, as tags and as properties."""
        return {**self.labels, KEY: self.value, GENERATION: self.generation}

    def is_on(self, run: Run | PipelineRun) -> bool:
        """Whether a run carries this key, in this generation."""
        carried = {**run.properties, **run.tags}
        return carried.get(KEY) == self.value and carried.get(GENERATION) == self.generation


@dataclass(frozen=True)
class Submission:
    """A run that stands for a submission. ``adopted`` if an earlier try had started it."""

    run_id: str
    adopted: bool


def adoptable(runs: Iterable[Run], key: SubmissionKey) -> Run | None:
    """Choose the run that a repeated submission stands for.

    A run that is still going comes first, then one that completed. A run that failed, was canceled or is being
    canceled is not adopted, and neither is one of another generation: those want a new run.
    """
    ours = [run for run in runs if key.is_on(run)]
    ours.sort(key=lambda run: (run.created_utc is not None and run.created_utc.timestamp()) or 0.0, reverse=True)
    going = (run for run in ours if run.run_status.is_active and run.run_status is not RunStatus.CANCEL_REQUESTED)
    completed = (run for run in ours if run.run_status is RunStatus.COMPLETED)
    return next(going, None) or next(completed, None)


def find_runs(session: Session, key: SubmissionKey, experiment_name: str, pipeline_id: str | None) -> list[Run]:
    """Look up the runs that carry a key.

    Run history is asked by tag; where it refuses the query, the pipeline's own runs are compared here.

    :param pipeline_id: the published pipeline, when there is one.
    """
    try:
        return _by_tag(session, key, experiment_name)
    except NotFoundError:
        return []  # no such experiment, so no such run
    except ValidationError as error:
        log.warning("Run history refuses to look for a tag (%s); going through the pipeline's runs.", error)
    return _by_pipeline(session, key, pipeline_id)


def submit_once(
    session: Session,
    submit: Callable[[PipelineSubmissionInfo], Call[PipelineRun]],
    info: PipelineSubmissionInfo,
    key: SubmissionKey,
    pipeline_id: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Submission:
    """Submit a run, or adopt the one that an earlier try has submitted.

    :param submit: makes the call that starts the run.
    :param info: its body; the key is added to it.
    :param sleep: waits between two look-ups, in seconds.
    :raises AmbiguousSubmissionError: if answers were lost and the key cannot be looked up.
    """
    experiment = info.experiment_name or ""
    found = adoptable(find_runs(session, key, experiment, pipeline_id), key)
    if found is not None:
        return Submission(found.run_id, adopted=True)
    body = info.model_copy(
        update={
            "tags": {**(info.tags or {}), **key.tags},
            "properties": {**(info.properties or {}), **key.tags},
        }
    )
    lost: AzureMLBatchError | None = None
    for _ in range(ATTEMPTS):
        try:
            return Submission(session.send(submit(body)).id, adopted=False)
        except NotSentError:
            raise
        except (ServiceUnavailableError, UnreachableError, UnexpectedReplyError) as error:
            log.warning("The answer to a submission was lost (%s); looking whether it was carried out.", error)
            lost = error
        started = _find_lost(session, key, experiment, pipeline_id, sleep, lost)
        if started is not None:
            log.info("It was: run %s.", started.run_id)
            return Submission(started.run_id, adopted=True)
        log.info("It was not; submitting again.")
    assert lost is not None
    raise lost


def _find_lost(
    session: Session,
    key: SubmissionKey,
    experiment: str,
    pipeline_id: str,
    sleep: Callable[[float], None],
    lost: AzureMLBatchError,
) -> Run | None:
    for pause in LOOKUPS:
        sleep(pause)
        try:
            # Two ways of looking: an index that lags must not make a second run.
            run = adoptable(find_runs(session, key, experiment, pipeline_id), key)
            run = run or adoptable(_by_pipeline(session, key, pipeline_id), key)
        except AzureMLBatchError as error:
            raise AmbiguousSubmissionError(
                f"Nobody can tell whether the submission was carried out: {lost} And looking for it failed: {error} "
                "A retry of the task looks again before it submits."
            ) from error
        if run is not None:
            return run
    return None


def _by_tag(session: Session, key: SubmissionKey, experiment_name: str) -> list[Run]:
    query = QueryParams(filter=f"tags/{KEY} eq '{key.value}'", top=100)
    runs: list[Run] = []
    while True:
        page = session.send(history.query_runs(experiment_name, query))
        runs += page.value
        if page.continuation_token in (None, query.continuation_token):
            return runs
        query = query.model_copy(update={"continuation_token": page.continuation_token})


def _by_pipeline(session: Session, key: SubmissionKey, pipeline_id: str | None) -> list[Run]:
    if pipeline_id is None:
        return []
    listed = session.send(pipelines.list_runs_of_pipeline(pipeline_id))
    return [session.send(history.get_run(run.id)) for run in listed if key.is_on(run)]
