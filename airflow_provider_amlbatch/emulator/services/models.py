"""Model management: models with versions, and the assets that say which artifacts a model consists of."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.wire import Camel, Instant
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.store import Store
from airflow_provider_amlbatch.emulator.tokens import Caller

#: What the SDK writes before the id of the asset that holds a model's files.
ASSET_URL = "aml://asset/"

_PATCHABLE = (
    "kvTags",
    "properties",
    "description",
    "datasets",
    "sampleInputData",
    "sampleOutputData",
    "resourceRequirements",
)


class Model(Camel):
    """A version of a model."""

    id: str | None = None
    name: str
    version: int | None = None
    url: str | None = None
    mime_type: str | None = None
    description: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    created_time: Instant | None = None
    modified_time: Instant | None = None
    unpack: bool | None = None
    parent_model_id: str | None = None
    run_id: str | None = None
    experiment_name: str | None = None
    kv_tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None
    derived_model_ids: list[str] | None = None
    datasets: list[dict[str, Any]] | None = None
    sample_input_data: str | None = None
    sample_output_data: str | None = None
    resource_requirements: dict[str, Any] | None = None
    created_by: dict[str, Any] | None = None


class ArtifactReference(Camel):
    """An artifact, or all artifacts under a prefix, as ``origin/container/path``."""

    id: str | None = None
    prefix: str | None = None


class Asset(Camel):
    """Files that belong together."""

    id: str | None = None
    name: str
    type: str | None = None
    description: str | None = None
    artifacts: list[ArtifactReference] = []
    kv_tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None
    runid: str | None = None
    meta: dict[str, str | None] | None = None
    created_time: Instant | None = None


class PatchOperation(Camel):
    """One operation of JSON Patch (RFC 6902)."""

    op: str
    path: str
    value: Any = None


class ModelQuery(Camel):
    """Which models are asked for; ``tags`` and ``properties`` are ``name=value`` or ``name``, with commas between."""

    name: str | None = None
    tag: str | None = None
    tags: str | None = None
    properties: str | None = None
    framework: str | None = None
    description: str | None = None
    run_id: str | None = None
    dataset_id: str | None = None
    order_by: str | None = None
    latest_version_only: bool = False

    def matches(self, model: Model) -> bool:
        """Whether a model is one that is asked for."""
        exact = ((self.name, model.name), (self.framework, model.framework), (self.run_id, model.run_id))
        if any(wanted is not None and wanted != given for wanted, given in exact):
            return False
        if self.description is not None and self.description not in (model.description or ""):
            return False
        if self.dataset_id is not None and all(used.get("id") != self.dataset_id for used in model.datasets or []):
            return False
        wanted_tags = ",".join(part for part in (self.tag, self.tags) if part)
        return _holds(wanted_tags, model.kv_tags or {}) and _holds(self.properties or "", model.properties or {})


class _LastVersion(Camel):
    version: int = 0


class ModelService:
    """The workspace's models and assets."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._models = store.collection("models", Model, ("name",))
        self._versions = store.collection("model-versions", _LastVersion)
        self._assets = store.collection("assets", Asset, ("name",))

    def register(self, given: Model, caller: Caller) -> Model:
        """Add a version to a model. A version number is never used again, whether or not its model was deleted.

        :raises BadRequest: if the model names an asset that does not exist.
        """
        if not given.name or ":" in given.name or "/" in given.name:
            raise BadRequest(f"The model name {given.name!r} is not valid.", code="InvalidModelName")
        url = given.url or ""
        if url.startswith(ASSET_URL) and self._assets.get(url.removeprefix(ASSET_URL)) is None:
            raise BadRequest(f"The model's asset {url!r} does not exist.", code="AssetNotFound")
        with self._store.transaction():
            last = self._versions.get(given.name) or _LastVersion()
            version = last.version + 1
            self._versions.put(given.name, _LastVersion(version=version))
            now = self._clock.now()
            model = given.model_copy(
                update={
                    "id": f"{given.name}:{version}",
                    "version": version,
                    "created_time": now,
                    "modified_time": now,
                    "unpack": bool(given.unpack),
                    "kv_tags": given.kv_tags or {},
                    "properties": given.properties or {},
                    "datasets": given.datasets or [],
                    "derived_model_ids": [],
                    "created_by": {
                        "userObjectId": caller.object_id,
                        "userTenantId": caller.tenant_id,
                        "userName": caller.name,
                    },
                }
            )
            return self._models.put(f"{given.name}:{version}", model)

    def get(self, model_id: str) -> Model:
        """The version ``name:version`` of a model, or the latest of a name.

        :raises NotFound: if there is none.
        """
        if ":" not in model_id:
            latest = self._models.find(newest_first=True, limit=1, name=model_id)
            model = latest[0] if latest else None
        else:
            model = self._models.get(model_id)
        if model is None:
            raise NotFound(f"The model {model_id!r} was not found.", code="ModelNotFound")
        return model

    def find(self, query: ModelQuery, count: int, token: str | None) -> Page[Model]:
        """One page of the models asked for, newest first. The continuation token is the last model's id."""
        if query.order_by not in (None, "CreatedAtDesc", "CreatedAtAsc", "UpdatedAtDesc", "UpdatedAtAsc"):
            raise Unsupported(f"The emulator orders models by CreatedAt or UpdatedAt, not by {query.order_by!r}.")
        named: dict[str, Any] = {"name": query.name} if query.name is not None else {}
        found = [model for model in self._models.find(newest_first=True, **named) if query.matches(model)]
        if query.latest_version_only:
            found = _latest(found)
        if query.order_by is not None:
            found = _ordered(found, query.order_by)
        ids = [model.id for model in found]
        start = ids.index(token) + 1 if token in ids else 0
        page = found[start : start + count]
        more = start + count < len(found)
        return Page[Model](value=page, continuation_token=page[-1].id if page and more else None)

    def patch(self, model_id: str, operations: list[PatchOperation]) -> Model:
        """Change what is said about a model; all operations or none.

        :raises NotFound: if there is no such model.
        :raises BadRequest: if an operation is not possible.
        """
        document = self.get(model_id)
        changed = document.to_wire()
        for operation in operations:
            _apply(changed, operation)
        model = Model.model_validate(changed | {"modifiedTime": self._clock.now()})
        return self._models.put(str(document.id), model)

    def delete(self, model_id: str) -> None:
        """Remove a version of a model; its files stay.

        :raises NotFound: if there is none.
        """
        if not self._models.delete(model_id):
            raise NotFound(f"The model {model_id!r} was not found.", code="ModelNotFound")

    def create_asset(self, given: Asset) -> Asset:
        """Note which files belong together."""
        asset_id = uuid.uuid4().hex
        asset = given.model_copy(update={"id": asset_id, "created_time": self._clock.now()})
        return self._assets.put(asset_id, asset)

    def get_asset(self, asset_id: str) -> Asset:
        """An asset.

        :raises NotFound: if there is none.
        """
        asset = self._assets.get(asset_id)
        if asset is None:
            raise NotFound(f"The asset {asset_id!r} was not found.", code="AssetNotFound")
        return asset

    def list_assets(self, run_id: str | None, name: str | None) -> Page[Asset]:
        """The assets of a name or of a run."""
        wanted: dict[str, Any] = {"name": name} if name is not None else {}
        found = self._assets.find(newest_first=True, **wanted)
        return Page[Asset](value=[asset for asset in found if run_id is None or asset.runid == run_id])


def _holds(wanted: str, given: dict[str, str | None]) -> bool:
    for part in filter(None, wanted.split(",")):
        name, equals, value = part.partition("=")
        if name not in given or (equals and given[name] != value):
            return False
    return True


def _latest(models: Iterable[Model]) -> list[Model]:
    newest: dict[str, Model] = {}
    for model in models:
        newest.setdefault(model.name, model)
    return list(newest.values())


def _ordered(models: list[Model], order: str) -> list[Model]:
    field = "created_time" if order.startswith("CreatedAt") else "modified_time"
    # Sorting is stable: of models of one instant, the one that was registered last stays first.
    return sorted(models, key=lambda model: getattr(model, field), reverse=order.endswith("Desc"))


def _apply(document: dict[str, Any], operation: PatchOperation) -> None:
    top, *inner = operation.path.lstrip("/").split("/")
    if top not in _PATCHABLE or len(inner) > 1 or operation.op not in ("add", "replace", "remove"):
        raise BadRequest(f"A model cannot be patched with {operation.op!r} at {operation.path!r}.", code="InvalidPatch")
    target, key = (document, top) if not inner else (document.setdefault(top, {}), _unescape(inner[0]))
    if not isinstance(target, dict):
        raise BadRequest(f"There is nothing to patch at {operation.path!r}.", code="InvalidPatch")
    if operation.op == "remove":
        target.pop(key, None)
    else:
        target[key] = operation.value


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
