"""The artifact service (``/artifact/v2.0``): names of files and where their content can be read or written."""

from __future__ import annotations

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.wire import Camel, Instant


class Artifact(Camel):
    """One file that a run, a model or a user owns."""

    artifact_id: str | None = None
    origin: str
    container: str
    path: str
    etag: str | None = None
    created_time: Instant | None = None
    data_path: dict[str, str | None] | None = None
    tags: dict[str, str] | None = None


class ArtifactContentInformation(Camel):
    """A signed URL at which the content of an artifact can be read or written."""

    content_uri: str
    origin: str
    container: str
    path: str


ContentPage = Page[ArtifactContentInformation]
ArtifactPage = Page[Artifact]
