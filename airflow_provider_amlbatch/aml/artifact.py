"""The artifact service (``/artifact/v2.0``): names of files and where their content can be read or written."""

from __future__ import annotations

from urllib.parse import quote

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call, Page
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

#: Origin of the files that a run wrote; the container is the run's ``data_container_id``.
EXPERIMENT_RUN = "ExperimentRun"
_BASE = f"/artifact/v2.0{WORKSPACE}/artifacts"


def list_contents(
    container: str, prefix: str = "", origin: str = EXPERIMENT_RUN
) -> Call[Page[ArtifactContentInformation]]:
    """List the files below a prefix, each with a signed URL of its content."""
    path = f"{_BASE}/prefix/contentinfo/{origin}/{quote(container)}/{quote(prefix)}"
    return Call("GET", "api", path.rstrip("/"), ContentPage.model_validate)


def list_artifacts(container: str, origin: str = EXPERIMENT_RUN) -> Call[Page[Artifact]]:
    """List the files of a run."""
    return Call("GET", "api", f"{_BASE}/{origin}/{quote(container)}", ArtifactPage.model_validate)
