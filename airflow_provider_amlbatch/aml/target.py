"""What is invoked: a published pipeline, by its id, by its URL, or through a pipeline endpoint's name and version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from airflow_provider_amlbatch.aml import pipelines
from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.pipelines import (
    ACTIVE,
    PipelineEndpoint,
    PipelineRun,
    PipelineSubmissionInfo,
    PublishedPipeline,
)
from airflow_provider_amlbatch.aml.session import Session

_SCOPE = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/[^/]+/workspaces/([^/]+)/", re.IGNORECASE)
_SUBMIT = re.compile(
    r"/PipelineRuns/(?:PipelineSubmit/(?P<pipeline>[^/]+)"
    r"|PipelineEndpointSubmit/Id/(?P<endpoint>[^/]+)(?:/(?P<version>[^/]+))?"
    r"|PipelineEndpointSubmit/(?P<by_name>Name))/?$"
)


@dataclass(frozen=True)
class Target:
    """The published pipeline that answers, and the way to it.

    :param pipeline: decides which parameters there are.
    :param endpoint: the pipeline endpoint that is called, if one is.
    :param version: the version that is asked for; None for the endpoint's default.
    """

    pipeline: PublishedPipeline
    endpoint: PipelineEndpoint | None = None
    version: str | None = None

    def submission(self, info: PipelineSubmissionInfo) -> Call[PipelineRun]:
        """Make the call that starts a run."""
        if self.endpoint is None:
            return pipelines.submit_pipeline(self.pipeline.id, info)
        return pipelines.submit_endpoint(self.endpoint.id, self.version, info)


def find_target(
    session: Session,
    *,
    pipeline_id: str | None = None,
    endpoint_url: str | None = None,
    pipeline_endpoint: str | None = None,
    pipeline_endpoint_version: str | int | None = None,
) -> Target:
    """Find what to invoke. Exactly one of the first three is given.

    A URL is taken apart and never called as it is, so that no token goes to a host that the workspace does not name.

    :param pipeline_endpoint_version: its version; a template may render it as a number. None and ``""`` are the
        default version.
    :raises ArgumentError: if the URL is none of this workspace, if the version does not exist, or if it is disabled.
    """
    if endpoint_url is not None:
        return _from_url(session, endpoint_url)
    if pipeline_endpoint is not None:
        endpoint = session.send(pipelines.get_endpoint_by_name(pipeline_endpoint))
        given = "" if pipeline_endpoint_version is None else str(pipeline_endpoint_version)
        return _of_endpoint(session, endpoint, given or None)
    return Target(_active(session.send(pipelines.get_pipeline(pipeline_id or ""))))


def _from_url(session: Session, url: str) -> Target:
    parts = urlsplit(url)
    scope, submit = _SCOPE.search(parts.path), _SUBMIT.search(parts.path)
    if scope is None or submit is None:
        raise ArgumentError(
            f"endpoint_url is {url!r}; it must be the REST endpoint of a published pipeline or of a pipeline endpoint, "
            "ending in /PipelineRuns/PipelineSubmit/<id> or /PipelineRuns/PipelineEndpointSubmit/Id/<id>."
        )
    settings = session.settings
    own = (settings.subscription_id, settings.resource_group, settings.workspace_name)
    if [part.lower() for part in scope.groups()] != [part.lower() for part in own]:
        raise ArgumentError(
            f"endpoint_url belongs to workspace {'/'.join(scope.groups())}, but connection {settings.conn_id!r} is for "
            f"{'/'.join(own)}; use the connection of that workspace."
        )
    query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
    if submit["pipeline"]:
        return Target(_active(session.send(pipelines.get_pipeline(submit["pipeline"]))))
    find = pipelines.get_endpoint_by_name(query.get("name", "")) if submit["by_name"] else None
    endpoint = session.send(find or pipelines.get_endpoint(submit["endpoint"]))
    return _of_endpoint(session, endpoint, submit["version"] or query.get("pipelineversion"))


def _of_endpoint(session: Session, endpoint: PipelineEndpoint, version: str | None) -> Target:
    versions = {item.version: item.pipeline_id for item in endpoint.pipeline_version_list}
    chosen = version or endpoint.default_version
    if chosen not in versions:
        raise ArgumentError(
            f"Pipeline endpoint {endpoint.name!r} has no version {chosen!r}; it has: {', '.join(versions) or 'none'}."
        )
    return Target(_active(session.send(pipelines.get_pipeline(versions[chosen]))), endpoint, version)


def _active(pipeline: PublishedPipeline) -> PublishedPipeline:
    if pipeline.entity_status not in (ACTIVE, "0"):
        raise ArgumentError(
            f"Published pipeline {pipeline.name!r} ({pipeline.id}) is {pipeline.entity_status}; enable it, or invoke "
            "one that is active."
        )
    return pipeline
