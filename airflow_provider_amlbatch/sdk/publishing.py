"""Publish once, reuse what is unchanged, and switch an endpoint to the new version.

Looking up and switching are plain REST: an unchanged pipeline costs no import of the SDK.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml import parameters, submission
from airflow_provider_amlbatch.aml import pipelines as wire
from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import ConflictError, NotFoundError, ValidationError
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import interpreter
from airflow_provider_amlbatch.sdk.pipelines import DIGEST
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

log = logging.getLogger(__name__)

#: An endpoint is updated so many times at most, until it has the pipeline.
UPDATES = 5
#: Seconds between an update and the look at what is left of it.
SETTLE_TIME = 2.0


@dataclass(frozen=True)
class Published:
    """A pipeline, and whether it was published just now."""

    pipeline: wire.PublishedPipeline
    created: bool


def find(session: Session, name: str, digest: str) -> wire.PublishedPipeline | None:
    """Find the first active pipeline of this name that was published from the same definition.

    :param digest: the definition's digest.
    """
    same = [
        pipeline
        for pipeline in session.send(wire.list_pipelines())
        if pipeline.name == name and pipeline.properties.get(DIGEST) == digest
    ]
    return min(same, key=lambda pipeline: (str(pipeline.created_date), pipeline.id), default=None)


def publish(session: Session, spec: BatchPipeline, *, always: bool = False, python: str | None = None) -> Published:
    """Publish a definition unless it is published already.

    :param always: publish even what is unchanged.
    :param python: interpreter that has the SDK; None is this one.
    """
    digest = spec.digest
    found = None if always else find(session, spec.name, digest)
    if found is not None:
        return _reused(found)
    made = interpreter.run(session, "publish", {"spec": spec.to_json(), "digest": digest}, python=python)
    return _created(session, made["id"]) if always else _first_of(session, _created(session, made["id"]), digest)


def publish_built(
    session: Session,
    build: Callable[[Any], Any],
    *,
    name: str,
    description: str | None = None,
    version: str | None = None,
    always: bool = False,
) -> Published:
    """Publish what a function of the user's own builds, unless the same is published already.

    :param build: takes the SDK's ``Workspace`` and returns the SDK's ``Pipeline``.
    """
    from airflow_provider_amlbatch.sdk import pipelines, workspace

    with workspace.opened(session) as opened:
        pipeline = build(opened)
        digest = pipelines.digest(pipeline)
        found = None if always else find(session, name, digest)
        if found is not None:
            return _reused(found)
        made = pipelines.publish(pipeline, name=name, digest=digest, description=description, version=version)
    return _created(session, made) if always else _first_of(session, _created(session, made), digest)


def submit_built(session: Session, build: Callable[[Any], Any], **arguments: Any) -> str:
    """Submit what a function of the user's own builds, without publishing it.

    :param build: takes the SDK's ``Workspace`` and returns the SDK's ``Pipeline``.
    :param arguments: as for :func:`airflow_provider_amlbatch.sdk.pipelines.submit`.
    :returns: the run id.
    """
    from airflow_provider_amlbatch.sdk import pipelines, workspace

    with workspace.opened(session) as opened:
        return pipelines.submit(build(opened), **arguments)


@dataclass(frozen=True)
class Trial:
    """A run that shows whether a published pipeline works."""

    pipeline: wire.PublishedPipeline
    info: wire.PipelineSubmissionInfo
    key: submission.SubmissionKey

    def start(self, session: Session) -> str:
        """Start the run, or adopt one that shows it already, and give its id."""

        def submit(body: wire.PipelineSubmissionInfo) -> Call[wire.PipelineRun]:
            return wire.submit_pipeline(self.pipeline.id, body)

        return submission.submit_once(session, submit, self.info, self.key, self.pipeline.id).run_id

    def runs(self, session: Session) -> list[str]:
        """Look up what was started for it."""
        found = submission.find_runs(session, self.key, self.info.experiment_name or "", self.pipeline.id)
        return [run.run_id for run in found if self.key.is_on(run)]


def trial_of(
    session: Session,
    pipeline: wire.PublishedPipeline,
    interface: wire.GraphInterface,
    given: Mapping[str, Mapping[str, Any]],
) -> Trial:
    """Prepare a trial of a published pipeline. Equal values make it the same trial.

    :param interface: what the pipeline declares.
    :param given: ``parameters``, ``datasets`` and ``data_paths``, as
        :func:`~airflow_provider_amlbatch.aml.parameters.assigned` takes them.
    :raises ArgumentError: if the pipeline declares no such parameter.
    """
    values = parameters.assigned(
        session,
        pipeline,
        interface,
        parameters=given.get("parameters"),
        datasets=given.get("datasets"),
        data_paths=given.get("data_paths"),
    )
    info = values.model_copy(
        update={
            "experiment_name": re.sub(r"[^A-Za-z0-9_-]+", "-", pipeline.name or "pipeline") + "-validation",
            "description": f"Trial run of {pipeline.name} before its endpoint follows",
            "run_source": "Airflow",
            "run_type": "HTTP",
        }
    )
    data = json.dumps(values.to_wire(exclude_none=True), sort_keys=True)
    key = submission.SubmissionKey.of("trial", pipeline.id, data, generation="")
    return Trial(pipeline, info, key)


def _reused(found: wire.PublishedPipeline) -> Published:
    log.info("Pipeline %s is published already and unchanged: %s.", found.name, found.id)
    return Published(found, created=False)


def _created(session: Session, pipeline_id: str) -> Published:
    pipeline = session.send(wire.get_pipeline(pipeline_id))
    log.info("Published pipeline %s: %s.", pipeline.name, pipeline.id)
    return Published(pipeline, created=True)


def _first_of(session: Session, made: Published, digest: str) -> Published:
    """Give way to who has published the same a moment before.

    The service takes any number of them. Whoever comes second sees the first, which all that look choose.
    """
    first = find(session, str(made.pipeline.name), digest)
    if first is None or first.id == made.pipeline.id:
        return made
    log.info("Somebody published the same at the same time; %s is switched off again.", made.pipeline.id)
    session.send(wire.set_pipeline_status(made.pipeline.id, wire.DISABLED))
    return _reused(first)


def find_endpoint(session: Session, name: str) -> wire.PipelineEndpoint | None:
    """Find a pipeline endpoint by name; None if there is none yet."""
    try:
        return session.send(wire.get_endpoint_by_name(name))
    except NotFoundError:
        return None


def is_default(endpoint: wire.PipelineEndpoint | None, pipeline_id: str) -> bool:
    """Tell whether an endpoint's default version is this pipeline."""
    return endpoint is not None and any(
        item.pipeline_id == pipeline_id and item.version == endpoint.default_version
        for item in endpoint.pipeline_version_list
    )


def version_of(endpoint: wire.PipelineEndpoint, pipeline_id: str) -> str | None:
    """Tell the version under which an endpoint has a pipeline, its default version first; None if there is none."""
    if is_default(endpoint, pipeline_id):
        return endpoint.default_version
    return {item.pipeline_id: item.version for item in endpoint.pipeline_version_list}.get(pipeline_id)


def make_default(
    session: Session,
    name: str,
    pipeline: wire.PublishedPipeline,
    description: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> wire.PipelineEndpoint:
    """Make a pipeline the default version of an endpoint, which is created if there is none.

    An update replaces all versions, also those that somebody else has added since the endpoint was read. So it is read
    again, and updated again while it lacks the pipeline. A default that somebody else has set meanwhile stays.

    :param name: name of the endpoint.
    :param description: for an endpoint that is created.
    :param sleep: waits before the endpoint is read again, in seconds.
    :returns: the endpoint; :func:`version_of` tells under which version it has the pipeline.
    :raises ConflictError: if it lacks the pipeline after every update.
    """
    endpoint = find_endpoint(session, name)
    if endpoint is None:
        try:
            return session.send(wire.create_endpoint(name, description or f"Batch pipeline {name}", pipeline.id))
        except (ConflictError, ValidationError):  # Inferred: which of the two says that the name is taken
            endpoint = find_endpoint(session, name)
            if endpoint is None:
                raise
    if is_default(endpoint, pipeline.id):
        return endpoint
    for _ in range(UPDATES):
        session.send(wire.update_endpoint(_switched(endpoint, pipeline.id)))
        # Whoever read the endpoint before this update will have replaced it by then.
        sleep(SETTLE_TIME)
        endpoint = session.send(wire.get_endpoint(endpoint.id))
        version = version_of(endpoint, pipeline.id)
        if version is not None:
            log.info("Endpoint %s: the pipeline is version %s; default is %s.", name, version, endpoint.default_version)
            return endpoint
    raise ConflictError(
        f"Pipeline endpoint {name!r} lacks pipeline {pipeline.id} after {UPDATES} updates: others replace it at the "
        "same time. A retry of the task adds it."
    )


def _switched(endpoint: wire.PipelineEndpoint, pipeline_id: str) -> wire.PipelineEndpoint:
    versions = list(endpoint.pipeline_version_list)
    version = version_of(endpoint, pipeline_id)
    if version is None:
        # Versions are counted by whoever adds one, not by the service.
        version = str(max((int(item.version) for item in versions), default=-1) + 1)
        versions.append(wire.PipelineVersion(version=version, pipeline_id=pipeline_id))
    return endpoint.model_copy(update={"pipeline_version_list": versions, "default_version": version})
