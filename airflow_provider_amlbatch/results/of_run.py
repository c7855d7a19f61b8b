"""Collect the results of one run of Azure ML: from its id to one table.

The output is found by run id, step and output name, so that an old file can never pass for a new one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml import history
from airflow_provider_amlbatch.aml.blobs import container_client, own_errors
from airflow_provider_amlbatch.aml.errors import RunCanceledError, RunError, RunFailedError
from airflow_provider_amlbatch.aml.globs import as_glob, fixed_part, is_file_of
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.outputs import OutputPlace, find_output
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.results.blobs import BlobReader
from airflow_provider_amlbatch.results.collect import Collected, collect
from airflow_provider_amlbatch.results.destination import PathLike
from airflow_provider_amlbatch.results.download import blob_sources
from airflow_provider_amlbatch.results.errors import EmptyResult, FormatError
from airflow_provider_amlbatch.results.job import job_counts
from airflow_provider_amlbatch.results.reconcile import Reconcile
from airflow_provider_amlbatch.results.table import as_frame, checked, in_memory

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

log = logging.getLogger(__name__)

#: What append_row calls its file unless it is told otherwise.
RESULT_FILE = "parallel_run_step.txt"


@dataclass(frozen=True)
class Inputs:
    """The files that a run was given, as they lie on a datastore now.

    :param path: a file, a folder, which stands for all files below it, or a glob of blob names such as
        ``patients/*.csv``, as a dataset would have it: ``*`` and ``?`` stay within one folder, ``**`` crosses folders.
    """

    datastore: str
    path: str

    def names(self, session: Session) -> Iterable[str]:
        """List them."""
        glob = as_glob(self.path)
        is_wanted = is_file_of(glob)
        doing = f"Listing {self.path or 'everything'} in datastore {self.datastore!r}"
        with own_errors(doing), closing(container_client(session, self.datastore)) as container:
            found = False
            for name in container.list_blob_names(name_starts_with=fixed_part(glob)):
                if is_wanted(name):
                    found = True
                    yield name
            file = self.path.lstrip("/")
            # What is no folder may be a file.
            if not found and glob == f"{file}/**" and container.get_blob_client(file).exists():
                yield file

    def __str__(self) -> str:
        return f"{self.datastore}/{as_glob(self.path)}"


@dataclass(frozen=True)
class RunResult:
    """The table that was made of a run's output, and where it came from."""

    source: OutputPlace
    collected: Collected

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-safe values, fit for an XCom or an Asset's extra."""
        return {
            "run_id": self.source.run_id,
            "step_run_id": self.source.step_run_id,
            "reused_step_run_id": self.source.reused_run_id,
            "output": f"{self.source.datastore}/{self.source.path}",
            **self.collected.to_json(),
        }


def collect_run(
    session: Session,
    run_id: str,
    destination: str | os.PathLike[str] | PathLike,
    *,
    step: str | None = None,
    output: str | None = None,
    files: str = RESULT_FILE,
    inputs: Inputs | None = None,
    reconcile: Reconcile | None = None,
    **options: Any,
) -> RunResult:
    """Read what a step of a finished run wrote into one table.

    :param run_id: the pipeline run.
    :param step: name of the step; may be left out when only one step has a fitting output.
    :param output: name of the output; may be left out when there is only one.
    :param files: name, or glob, of the files in the output.
    :param inputs: the files that were to be scored, to compare the rows with.
    :param reconcile: what else to compare. What the job counted itself is always compared, if the service tells it; of
        a step that was reused, what the step run counted that wrote its output.
    :param options: further arguments of :func:`.collect.collect`.
    :raises RunError: if the run did not complete.
    :raises ResultError: if there is nothing to collect, or it is not what was promised.
    """
    _check_completed(session, run_id)
    place = find_output(session, run_id, step, output)
    if place.reused_run_id is not None:
        log.info("Step %r was reused: the step run %s wrote its output", place.step, place.reused_run_id)
    if inputs is not None:
        reconcile = replace(reconcile or Reconcile(), inputs=lambda: inputs.names(session), listing=str(inputs))
    reconcile = _with_job_counts(session, place, files, reconcile)
    with (
        closing(container_client(session, place.datastore)) as container,
        BlobReader(container, verify=session.settings.ca_bundle) as reader,
    ):
        sources = _sources(reader, place, files)
        return RunResult(place, collect(sources, destination, reconcile=reconcile, **options))


def collect_run_table(session: Session, run_id: str, **options: Any) -> tuple[pa.Table, RunResult]:
    """Read what a step of a finished run wrote into an Arrow table, which is mapped from a temporary file.

    :param options: further arguments of :func:`collect_run`.
    """
    return in_memory(lambda path: collect_run(session, run_id, path, **checked(options)))


def collect_run_frame(session: Session, run_id: str, **options: Any) -> tuple[pd.DataFrame, RunResult]:
    """Read what a step of a finished run wrote into a DataFrame, as :func:`collect_run_table` does."""
    table, result = collect_run_table(session, run_id, **options)
    return as_frame(table), result


def _with_job_counts(session: Session, place: OutputPlace, files: str, rules: Reconcile | None) -> Reconcile | None:
    """Compare with the job's own counts, too, unless the caller says what they are."""
    if rules is not None and rules.job is not None:
        return rules
    job = job_counts(session, place.reused_run_id or place.step_run_id)
    own_files = "*" in files or "?" in files
    if rules is not None and rules.require_complete and rules.inputs is None:
        if own_files:
            raise FormatError(f"require_complete needs inputs: the rows of {files!r} need not be the job's items.")
        if job is None or job.total_items is None:
            raise FormatError(
                f"require_complete needs inputs: step {place.step!r} of run {place.run_id} does not tell its items."
            )
    if job is None:
        return rules
    if own_files:  # files of the script's own: their rows need not be its items
        job = replace(job, succeeded_items=None)
    return replace(rules or Reconcile(keep=None), job=job)


def _sources(reader: BlobReader, place: OutputPlace, files: str) -> Sequence[Any]:
    found = blob_sources(reader, place.path, files)
    if not found:
        there = [source.name.rpartition("/")[2] for source in blob_sources(reader, place.path)][:5]
        raise EmptyResult(
            f"Output {place.output!r} of step {place.step!r} of run {place.run_id} has no file {files!r} in "
            f"{place.datastore}/{place.path}; "
            + (f"there is: {', '.join(there)}." if there else "the folder is empty or missing.")
        )
    return found


def _check_completed(session: Session, run_id: str) -> None:
    run = session.send(history.get_run(run_id))
    outcome = RunOutcome.of(run)
    if outcome is None:
        raise RunError(f"Run {run_id} is {run.status}, not finished: wait for it before collecting.", run_id=run_id)
    if outcome.succeeded:
        return
    reason = f": {outcome.error_message}" if outcome.error_message else ""
    message = f"Run {run_id} ended as {outcome.status.value}, so it has no result to collect{reason}"
    raise (RunCanceledError if outcome.status is RunStatus.CANCELED else RunFailedError)(message, run_id=run_id)
