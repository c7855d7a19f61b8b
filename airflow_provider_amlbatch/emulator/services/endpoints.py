"""Pipeline endpoints: a name that stands for one version of several published pipelines."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import (
    ACTIVE,
    DISABLED,
    PipelineEndpoint,
    PipelineRun,
    PipelineSubmissionInfo,
    PipelineVersion,
    PublishedPipeline,
)
from airflow_provider_amlbatch.aml.wire import Pascal
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound
from airflow_provider_amlbatch.emulator.services.pipeline_runs import PipelineRunService
from airflow_provider_amlbatch.emulator.services.pipelines import PipelineService, status_name
from airflow_provider_amlbatch.emulator.store import Store


class EndpointCreationInfo(Pascal):
    """The body of a request to make an endpoint."""

    name: str | None = None
    description: str | None = None
    pipeline_id: str | None = None
    properties: dict[str, Any] | None = None
    tags: dict[str, str | None] | None = None


class EndpointService:
    """Keeps endpoints, and runs what they stand for."""

    def __init__(self, store: Store, clock: Clock, pipelines: PipelineService, runs: PipelineRunService) -> None:
        self._store = store
        self._clock = clock
        self._pipelines = pipelines
        self._runs = runs
        self._endpoints = store.collection("pipelineendpoints", PipelineEndpoint, indexes=("Name",))

    def create(self, info: EndpointCreationInfo) -> PipelineEndpoint:
        """Make an endpoint with a pipeline as its version "0".

        :raises Conflict: if the name is taken.
        """
        if not info.name or not info.pipeline_id:
            raise BadRequest("A pipeline endpoint needs a 'Name' and a 'PipelineId'.")
        self._pipelines.published(info.pipeline_id)
        key, now = str(uuid.uuid4()), self._clock.now()
        with self._store.transaction():
            if self._endpoints.find(Name=info.name):
                raise Conflict(f"There is a pipeline endpoint with the name {info.name!r} already.")
            return self._endpoints.put(
                key,
                PipelineEndpoint(
                    id=key,
                    name=info.name,
                    description=info.description,
                    default_version="0",
                    pipeline_version_list=[PipelineVersion(version="0", pipeline_id=info.pipeline_id)],
                    url=f"{self._pipelines.runs_url}/PipelineEndpointSubmit/Id/{key}",
                    properties=info.properties or {},
                    tags=info.tags or {},
                    created_date=now,
                    last_modified_date=now,
                ),
            )

    def get(self, endpoint_id: str) -> PipelineEndpoint:
        """The endpoint with that id.

        :raises NotFound: if there is none.
        """
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            raise NotFound(
                f"There is no pipeline endpoint with the id {endpoint_id!r}.", code="PipelineEndpointNotFound"
            )
        return endpoint

    def by_name(self, name: str) -> PipelineEndpoint:
        """The endpoint of that name.

        :raises NotFound: if there is none.
        """
        found = self._endpoints.find(Name=name)
        if not found:
            raise NotFound(f"There is no pipeline endpoint with the name {name!r}.", code="PipelineEndpointNotFound")
        return found[0]

    def list_endpoints(self, *, active_only: bool) -> list[PipelineEndpoint]:
        """The endpoints, newest first."""
        found = self._endpoints.find(newest_first=True)
        return [endpoint for endpoint in found if not active_only or endpoint.entity_status == ACTIVE]

    def pipelines(self, endpoint_id: str, *, active_only: bool) -> list[PublishedPipeline]:
        """The pipelines of an endpoint, in the order of their versions."""
        found = (self._pipelines.published(v.pipeline_id) for v in self.get(endpoint_id).pipeline_version_list)
        return [pipeline for pipeline in found if not active_only or pipeline.entity_status == ACTIVE]

    def update(self, endpoint_id: str, given: PipelineEndpoint) -> PipelineEndpoint:
        """Replace what can change of an endpoint: versions, default, status, name, description, tags.

        :raises BadRequest: if the default is none of the versions, or a version names no pipeline.
        :raises Conflict: if the new name is another's.
        """
        self.get(endpoint_id)
        versions = [version.version for version in given.pipeline_version_list]
        if len(set(versions)) != len(versions):
            raise BadRequest(f"The versions {versions} of the pipeline endpoint are not unique.")
        if given.default_version not in versions:
            raise BadRequest(f"The default version {given.default_version!r} is none of {versions}.")
        for version in given.pipeline_version_list:
            self._pipelines.published(version.pipeline_id)
        status = status_name(given.entity_status)

        def change(kept: PipelineEndpoint) -> None:
            kept.name = given.name or kept.name
            kept.description = given.description
            kept.default_version = given.default_version
            kept.pipeline_version_list = given.pipeline_version_list
            kept.entity_status = status
            kept.properties = given.properties or kept.properties
            kept.tags = given.tags
            kept.last_modified_date = self._clock.now()

        with self._store.transaction():
            if given.name and any(other.id != endpoint_id for other in self._endpoints.find(Name=given.name)):
                raise Conflict(f"There is a pipeline endpoint with the name {given.name!r} already.")
            self._endpoints.update(endpoint_id, change)
        return self.get(endpoint_id)

    def submit(
        self,
        endpoint: PipelineEndpoint,
        info: PipelineSubmissionInfo,
        *,
        version: str | None = None,
        parent_run_id: str | None = None,
        schedule_id: str | None = None,
        properties: dict[str, str] | None = None,
    ) -> PipelineRun:
        """Run a version of an endpoint, by default its default version of now.

        :raises BadRequest: if the endpoint is disabled or has no such version.
        """
        if endpoint.entity_status == DISABLED:
            raise BadRequest("PipelineEndpoint is disabled", code="PipelineEndpointDisabled")
        wanted = version if version is not None else endpoint.default_version
        for candidate in endpoint.pipeline_version_list:
            if candidate.version == wanted:
                return self._runs.submit_pipeline(
                    candidate.pipeline_id,
                    info,
                    parent_run_id=parent_run_id,
                    endpoint_id=endpoint.id,
                    schedule_id=schedule_id,
                    properties=properties,
                )
        known = ", ".join(candidate.version for candidate in endpoint.pipeline_version_list)
        raise BadRequest(
            f"The pipeline endpoint {endpoint.name!r} has no version {wanted!r}; it has {known}.",
            code="PipelineVersionNotFound",
        )
