"""Models: registered once per content."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_amlbatch.aml import models as wire
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import source
from airflow_provider_amlbatch.sdk.checks import refuse
from airflow_provider_amlbatch.sdk.errors import SdkError

if TYPE_CHECKING:
    from azureml.core import Workspace

#: Property of a model that says what it was made of.
DIGEST = "amlbatch.digest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


def check_name(name: str) -> None:
    """Apply Azure's rule for names of models.

    :raises SpecError: if it is broken.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refuse(
            "model_name", name, "give 1 to 255 letters, digits, dashes, dots or underscores, a letter or digit first"
        )


def digest_of_path(path: Path) -> str:
    """Compute the digest of a model file or folder: names and content, not times.

    :param path: the file or folder. Its own name counts, because scoring scripts find the model by it.
    :raises SpecError: if there is nothing, or nothing in it.
    """
    if path.is_file():
        return f"{path.name}:{source.file_digest(path)}"
    if contained := sorted(item for item in path.rglob("*") if item.is_file()):
        return f"{path.name}/:{source.digest_of(path, contained)}"
    raise refuse("model_path", str(path), "give the path of a file, or of a folder with files")


def digest_of_run(run_id: str, model_path: str) -> str:
    """Name the outputs of a run as the content of a model: they do not change once the run has ended."""
    return f"run:{run_id}/{model_path}"


def find(session: Session, name: str, digest: str) -> dict[str, Any] | None:
    """Find the version that already has this content.

    Only the latest version counts: scripts ask for the latest, so going back to an older content needs a new version.

    :param session: reaches the workspace; the SDK is not needed.
    """
    latest = session.send(wire.get_latest_model(name))
    if latest is None or latest.properties.get(DIGEST) != digest:
        return None
    return {"name": latest.name, "version": latest.version, "id": latest.id, "created": False}


def register(
    workspace: Workspace,
    *,
    name: str,
    model_path: str,
    run_id: str | None = None,
    digest: str,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Register a new version of a model.

    :param workspace: the SDK's workspace.
    :param model_path: path of a file or folder on this machine; with ``run_id``, path within the run's outputs.
    :param run_id: run whose outputs hold the model.
    :param digest: what :func:`find` is to find it by.
    :returns: ``name``, ``version``, ``id``, and ``created`` as True.
    """
    from azureml.core import Model

    described = {"description": description, "tags": dict(tags or {})}
    kept = {**(properties or {}), DIGEST: digest}
    if run_id is not None:
        run = workspace.get_run(run_id)
        if run is None:
            raise SdkError(f"run_id={run_id!r} names no run of workspace {workspace.name!r}.")
        model = run.register_model(name, model_path=model_path, properties=kept, **described)
    else:
        path = Path(model_path).resolve()
        # The SDK takes nothing from outside the current directory.
        with contextlib.chdir(path.parent):
            model = Model.register(workspace, path.name, name, properties=kept, **described)
    return {"name": model.name, "version": model.version, "id": model.id, "created": True}
