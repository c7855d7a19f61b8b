"""Models: registering."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AzureMLRegisterModelOperator(BaseOperator):
    """Register a model, once per content.

    If the latest version of the model has this very content, nothing is registered and that version is returned; its
    description, tags and properties stay as they are. Only the latest counts, because scoring scripts ask for the
    latest: registering an older content again makes a new version. The comparison needs no Azure ML SDK, a
    registration does.

    Returns ``{"name", "version", "id", "created"}``.

    :param model_name: name of the model. (templated)
    :param model_path: a file or folder: a local path, a URL that ``ObjectStoragePath`` reads, such as
        ``abfs://container@account/model.pkl``, or with ``run_id`` the path within that run's outputs, such as
        ``outputs/model.pkl``. (templated)
    :param run_id: a run of Azure ML whose outputs hold the model. (templated)
    :param description: free text. (templated)
    :param tags: tags of the new version. (templated)
    :param properties: properties of the new version; Azure never lets them change. (templated)
    :param always: register a new version even of unchanged content.
    :param object_storage_conn_id: connection for a URL in ``model_path``.
    :param sdk_python: path of a Python interpreter that has the Azure ML SDK, where Airflow's own has not.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = (
        "model_name",
        "model_path",
        "run_id",
        "description",
        "tags",
        "properties",
        "azureml_conn_id",
    )
    template_fields_renderers = {"tags": "json", "properties": "json"}
    ui_color = "#d7ebfa"

    def __init__(
        self,
        *,
        model_name: str,
        model_path: str,
        run_id: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        always: bool = False,
        object_storage_conn_id: str | None = None,
        sdk_python: str | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        # Each value is an XCom of its own, so that another task can be handed register.output["version"].
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.model_name = model_name
        self.model_path = model_path
        self.run_id = run_id
        self.description = description
        self.tags = tags
        self.properties = properties
        self.always = always
        self.object_storage_conn_id = object_storage_conn_id
        self.sdk_python = sdk_python
        self.azureml_conn_id = azureml_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Register the model, or find it registered."""
        del context
        from airflow_provider_amlbatch.sdk import models

        models.check_name(self.model_name)
        if self.run_id:
            return self._register(models.digest_of_run(self.run_id, self.model_path), self.model_path)
        with fetched(self.model_path, self.object_storage_conn_id) as path:
            return self._register(models.digest_of_path(path), str(path))

    def _register(self, digest: str, model_path: str) -> dict[str, Any]:
        from airflow_provider_amlbatch.sdk import interpreter, models

        session = AzureMLBatchHook(self.azureml_conn_id).session
        known = None if self.always else models.find(session, self.model_name, digest)
        if known is not None:
            self.log.info("Version %s of model %s has this content already.", known["version"], known["name"])
            return known
        arguments = {
            "name": self.model_name,
            "model_path": model_path,
            "run_id": self.run_id,
            "digest": digest,
            "description": self.description,
            "tags": dict(self.tags or {}),
            "properties": dict(self.properties or {}),
        }
        made = interpreter.run(session, "register_model", arguments, python=self.sdk_python)
        self.log.info("Registered version %s of model %s.", made["version"], made["name"])
        return made


@contextmanager
def fetched(place: str, conn_id: str | None) -> Iterator[Path]:
    """Give a local copy of what a path or URL names, for the duration of a block."""
    if "://" not in place:
        yield Path(place).absolute()
        return
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    remote = ObjectStoragePath(place.rstrip("/"), conn_id=conn_id)
    if not remote.exists():
        raise ArgumentError(f"model_path={place!r} does not exist; give the URL of a file or folder that does.")
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        path = Path(folder) / remote.name
        remote.fs.get(remote.path, str(path), recursive=remote.is_dir())
        yield path
