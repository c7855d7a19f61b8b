"""Artifacts: the files that runs, models and users own, as blobs ``<origin>/<container>/<path>`` of one container."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from airflow_provider_amlbatch.aml.artifact import Artifact, ArtifactContentInformation, ArtifactPage, ContentPage
from airflow_provider_amlbatch.aml.history import ErrorResponse, RootError
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.blobs import Blob, BlobStore
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.services.blob import BlobService
from airflow_provider_amlbatch.emulator.services.datastores import ARTIFACT_CONTAINER, ARTIFACT_STORE

#: Who can own artifacts: a run, or a user who uploads a model.
RUN = "ExperimentRun"
UPLOAD = "LocalUpload"

#: Entries of a page.
PAGE = 500

_WRITE = "rcw"


class ArtifactPath(Camel):
    """The path of an artifact within its container."""

    path: str


class BatchArtifactCreate(Camel):
    """Artifacts that the caller is about to write."""

    paths: list[ArtifactPath] = []


class BatchArtifactContent(Camel):
    """Where to write them, by path; and which of them cannot be made."""

    artifacts: dict[str, Artifact] = {}
    artifact_content_information: dict[str, ArtifactContentInformation] = {}
    errors: dict[str, ErrorResponse] = {}


class ArtifactService:
    """Names and addresses of artifacts."""

    def __init__(self, blobs: BlobStore, blob: BlobService) -> None:
        self._blobs = blobs
        self._blob = blob
        blobs.create_container(ARTIFACT_CONTAINER)

    def file(self, origin: str, container: str, path: str) -> Path:
        """Where the content of an artifact, or of a folder of artifacts, lies or would lie."""
        return self._blobs.path(ARTIFACT_CONTAINER, _name(origin, container, path))

    def url(self, origin: str, container: str, path: str) -> str:
        """Address under which an artifact can be read for a while."""
        return self._blob.signed_url(ARTIFACT_CONTAINER, _name(origin, container, path))

    def paths(self, origin: str, container: str, prefix: str = "") -> Iterator[str]:
        """Paths of the artifacts whose path begins with a prefix."""
        return (_artifact_path(blob) for blob in self._list(origin, container, prefix))

    def create(
        self, origin: str, container: str, command: BatchArtifactCreate, datastore: str | None
    ) -> BatchArtifactContent:
        """Say where new artifacts can be written. One that exists already is an error of its own; it is not replaced.

        :raises Unsupported: if they shall lie in another datastore than the workspace's own for artifacts.
        """
        if datastore not in (None, "", ARTIFACT_STORE):
            raise Unsupported(f"The emulator keeps artifacts in {ARTIFACT_STORE!r} only, not in {datastore!r}.")
        answer = BatchArtifactContent()
        for path in (entry.path for entry in command.paths):
            if self.file(origin, container, path).exists():
                message = f"Resource Conflict: ArtifactId {_name(origin, container, path)} already exists."
                answer.errors[path] = ErrorResponse(error=RootError(code="UserError", message=message))
                continue
            answer.artifacts[path] = _describe(origin, container, path)
            answer.artifact_content_information[path] = self._content(origin, container, path, _WRITE)
        return answer

    def get(self, origin: str, container: str, path: str) -> Artifact:
        """Describe an artifact.

        :raises NotFound: if there is none.
        """
        return _describe(origin, container, path, self._existing(origin, container, path))

    def content(self, origin: str, container: str, path: str) -> ArtifactContentInformation:
        """Say where an artifact can be read.

        :raises NotFound: if there is none.
        """
        self._existing(origin, container, path)
        return self._content(origin, container, path)

    def list_content(self, origin: str, container: str, prefix: str, token: str | None) -> ContentPage:
        """Say where the artifacts whose path begins with a prefix can be read."""
        found, more = self._page(origin, container, prefix, token)
        value = [self._content(origin, container, _artifact_path(blob)) for blob in found]
        return ContentPage(value=value, continuation_token=more)

    def list_artifacts(self, origin: str, container: str, prefix: str, token: str | None) -> ArtifactPage:
        """Describe the artifacts whose path begins with a prefix."""
        found, more = self._page(origin, container, prefix, token)
        value = [_describe(origin, container, _artifact_path(blob), blob) for blob in found]
        return ArtifactPage(value=value, continuation_token=more)

    def _existing(self, origin: str, container: str, path: str) -> Blob:
        try:
            return self._blobs.get(ARTIFACT_CONTAINER, _name(origin, container, path))
        except NotFound:
            raise NotFound(
                f"The artifact {_name(origin, container, path)!r} was not found.", code="UserError"
            ) from None

    def _content(self, origin: str, container: str, path: str, permissions: str = "r") -> ArtifactContentInformation:
        url = self._blob.signed_url(ARTIFACT_CONTAINER, _name(origin, container, path), permissions)
        return ArtifactContentInformation(content_uri=url, origin=origin, container=container, path=path)

    def _list(self, origin: str, container: str, prefix: str, after: str = "") -> Iterator[Blob]:
        return self._blobs.list_blobs(
            ARTIFACT_CONTAINER, _name(origin, container, "") + prefix.lstrip("/"), start_after=after
        )

    def _page(self, origin: str, container: str, prefix: str, token: str | None) -> tuple[list[Blob], str | None]:
        after = _name(origin, container, token) if token else ""
        found = list(islice(self._list(origin, container, prefix, after), PAGE + 1))
        more = _artifact_path(found[PAGE - 1]) if len(found) > PAGE else None
        return found[:PAGE], more


def _name(origin: str, container: str, path: str) -> str:
    if origin not in (RUN, UPLOAD):
        raise Unsupported(f"The emulator has artifacts of origin {RUN} and {UPLOAD}, not {origin!r}.")
    if not container or "/" in container:
        raise BadRequest(f"{container!r} is no container of artifacts.", code="UserError")
    return f"{origin}/{container}/{path.lstrip('/')}"


def _artifact_path(blob: Blob) -> str:
    return blob.name.split("/", 2)[2]


def _describe(origin: str, container: str, path: str, blob: Blob | None = None) -> Artifact:
    name = _name(origin, container, path)
    return Artifact(
        artifact_id=name,
        origin=origin,
        container=container,
        path=path,
        etag=blob.etag if blob is not None else None,
        created_time=blob.last_modified if blob is not None else None,
        data_path={"dataStoreName": ARTIFACT_STORE, "relativePath": name, "sqlDataPath": None},
        tags={},
    )
