"""Environments: definitions with versions. They are kept and given back; images are not built."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_provider_amlbatch.aml.call import Page
from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.store import Store

#: Beginnings of names that only the service's own environments have.
RESERVED = ("AzureML", "Microsoft")

#: Environments that a workspace has from the start.
CURATED = (
    "AzureML-Minimal",
    "AzureML-Scikit-learn-1.0",
    "AzureML-sklearn-1.0-ubuntu20.04-py38-cpu",
    "AzureML-sklearn-1.5",
    "AzureML-AzureMinimalInference",
)

#: Entries of a page.
PAGE = 100

#: What the versions of environments begin with that are kept for the runs that they were given to.
_AUTOSAVE = "Autosave_"

_FIELDS = ("python", "environmentVariables", "docker", "spark", "inferencingStackVersion", "r")


class EnvironmentDefinition(Camel):
    """A version of an environment. Its sections are the client's business and are given back as they came."""

    name: str
    version: str | None = None
    python: dict[str, Any] | None = None
    environment_variables: dict[str, str] | None = None
    docker: dict[str, Any] | None = None
    spark: dict[str, Any] | None = None
    inferencing_stack_version: str | None = None
    r: dict[str, Any] | None = None


class _Labels(Camel):
    labels: dict[str, str] = {}


class EnvironmentService:
    """The workspace's environments."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = store.collection("environments", EnvironmentDefinition, ("name",))
        self._labels = store.collection("environment-labels", _Labels)
        self._saved = store.collection("environments-of-runs", EnvironmentDefinition, ("name",))

    def register(self, name: str, version: str | None, given: dict[str, Any]) -> EnvironmentDefinition:
        """Add a version to an environment, or find it: what has not changed keeps its version.

        :param version: the next whole number if None.
        :raises BadRequest: if the name is reserved.
        :raises Conflict: if the version exists with another definition. Inferred.
        """
        if not name or name.startswith(RESERVED):
            raise BadRequest(
                f"The environment name {name!r} is not valid: names that begin with 'AzureML' or 'Microsoft' are "
                "reserved for curated environments.",
                code="UserError",
            )
        # Clients spell the first letter of a field either way.
        fields = {key[:1].lower() + key[1:]: value for key, value in given.items()}
        definition = EnvironmentDefinition.model_validate(
            {field: fields.get(field) for field in _FIELDS} | {"name": name}
        )
        with self._store.transaction():
            known = self._documents.find(name=name)
            same = [old for old in known if version in (None, old.version)]
            if same and _content(same[-1]) == _content(definition):
                return same[-1]
            if version is not None and same:
                raise Conflict(f"Version {version!r} of the environment {name!r} exists already and is another.")
            definition.version = version or _next(known)
            return self._documents.put(f"{name}:{definition.version}", definition)

    def keep(self, given: dict[str, Any], at: datetime) -> str:
        """Keep the environment that a run is given, if it is not registered, and tell its version.

        Inferred: such a version is not listed, and is not the latest one of its name.

        :param given: the definition, with its name.
        """
        name, version = str(given.get("name")), given.get("version")
        if version is not None or name in CURATED:
            return str(version or "1")
        definition = EnvironmentDefinition.model_validate({field: given.get(field) for field in ("name", *_FIELDS)})
        content = json.dumps(_content(definition), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        known = [saved for saved in self._saved.find(name=name) if str(saved.version).endswith(digest)]
        definition.version = known[0].version if known else f"{_AUTOSAVE}{at:%Y-%m-%dT%H:%M:%SZ}_{digest}"
        self._saved.put(f"{name}:{definition.version}", definition)
        return str(definition.version)

    def get(self, name: str, version: str | None = None) -> EnvironmentDefinition:
        """A version of an environment, the latest if no version is given.

        :raises NotFound: if there is none.
        """
        if name in CURATED:
            return _curated(name)
        if version is not None:
            documents = self._saved if version.startswith(_AUTOSAVE) else self._documents
            found = documents.get(f"{name}:{version}")
        else:
            found = next(iter(self._documents.find(newest_first=True, limit=1, name=name)), None)
        if found is None:
            said = f"Version {version!r} of the environment" if version is not None else "The environment"
            raise NotFound(f"{said} {name!r} was not found.", code="EnvironmentNotFound")
        return found

    def get_labeled(self, name: str, label: str) -> EnvironmentDefinition:
        """The version of an environment that bears a label; ``latest`` is one that moves by itself.

        :raises NotFound: if none bears it.
        """
        if label.lower() == "latest":
            return self.get(name)
        version = (self._labels.get(name) or _Labels()).labels.get(label)
        if version is None:
            raise NotFound(f"No version of the environment {name!r} is labeled {label!r}.", code="LabelNotFound")
        return self.get(name, version)

    def label(self, name: str, version: str, labels: list[str]) -> None:
        """Give labels to a version; a label is on one version of an environment at a time."""
        self.get(name, version)
        with self._store.transaction():
            before = (self._labels.get(name) or _Labels()).labels
            kept = {label: on for label, on in before.items() if on != version}
            self._labels.put(name, _Labels(labels=kept | dict.fromkeys(labels, version)))

    def list_environments(self, token: str | None) -> Page[EnvironmentDefinition]:
        """One page of the latest version of each environment, by name."""
        latest = {definition.name: definition for definition in self._documents.find()}
        latest |= {name: _curated(name) for name in CURATED}
        names = (name for name in sorted(latest) if token is None or name > token)
        page = list(islice(names, PAGE + 1))
        return Page[EnvironmentDefinition](
            value=[latest[name] for name in page[:PAGE]],
            continuation_token=page[PAGE - 1] if len(page) > PAGE else None,
        )

    def refuse_image(self, name: str) -> None:
        """Say that there are no images.

        :raises Unsupported: always.
        """
        raise Unsupported(
            f"The emulator builds no images, so {name!r} has none. Scoring scripts run in the emulator's own "
            "interpreter: install what they need beside it."
        )


def _content(definition: EnvironmentDefinition) -> dict[str, Any]:
    return {field: value for field, value in definition.to_wire().items() if field in _FIELDS}


def _next(known: list[EnvironmentDefinition]) -> str:
    numbers = [int(old.version) for old in known if old.version is not None and old.version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def _curated(name: str) -> EnvironmentDefinition:
    return EnvironmentDefinition(
        name=name,
        version="1",
        python={
            "interpreterPath": "python",
            "userManagedDependencies": False,
            "condaDependencies": {"name": "project_environment", "dependencies": ["python=3.8"]},
            "baseCondaEnvironment": None,
        },
        environment_variables={},
        docker={
            "baseImage": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
            "baseDockerfile": None,
            "platform": {"os": "Linux", "architecture": "amd64"},
            "baseImageRegistry": {"address": None, "username": None, "password": None},
        },
        spark={"repositories": [], "packages": [], "precachePackages": True},
    )
