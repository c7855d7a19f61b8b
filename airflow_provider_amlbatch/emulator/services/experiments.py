"""Experiments: named groups of runs, made by the first who names them."""

from __future__ import annotations

import re
import uuid

from airflow_provider_amlbatch.aml.history import Experiment
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, Conflict, NotFound
from airflow_provider_amlbatch.emulator.store import Store

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_. -]{0,255}")


class ExperimentDocument(Experiment):
    """An experiment, and how many runs it has counted."""

    runs: int = 0


class ExperimentService:
    """Keeps experiments."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._documents = store.collection("experiments", ExperimentDocument, indexes=("name",))

    def create(self, name: str) -> Experiment:
        """The experiment of that name, made if there is none.

        :raises BadRequest: if the name is not one that Azure takes.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"The experiment name {name!r} is not valid: it begins with a letter or digit and has up to 256 "
                "letters, digits, underscores, dots, blanks or dashes.",
                code="UserError",
            )
        with self._store.transaction():
            found = self._by_name(name)
            if found is not None:
                return found
            key = str(uuid.uuid4())
            return self._documents.put(
                key, ExperimentDocument(experiment_id=key, name=name, created_utc=self._clock.now())
            )

    def by_name(self, name: str) -> Experiment:
        """The experiment of that name.

        :raises NotFound: if there is none.
        """
        found = self._by_name(name)
        if found is None:
            raise NotFound(f"Experiment {name} not found.", code="UserError")
        return found

    def by_id(self, experiment_id: str) -> ExperimentDocument:
        """The experiment with that id.

        :raises NotFound: if there is none.
        """
        found = self._documents.get(experiment_id)
        if found is None:
            raise NotFound(f"There is no experiment with the id {experiment_id!r}.", code="UserError")
        return found

    def list_all(self, *, archived: bool | None = False) -> list[Experiment]:
        """All experiments, newest first; only the archived ones, only the others, or both (None)."""
        found = self._documents.find(newest_first=True)
        return [e for e in found if archived is None or (e.archived_time is not None) == archived]

    def update(
        self, experiment_id: str, *, description: str | None, archive: bool | None, tags: dict[str, str | None] | None
    ) -> Experiment:
        """Change what is given."""
        self.by_id(experiment_id)

        def change(document: ExperimentDocument) -> None:
            if description is not None:
                document.description = description
            if archive is not None:
                document.archived_time = self._clock.now() if archive else None
            document.tags |= tags or {}

        self._documents.update(experiment_id, change)
        return self.by_id(experiment_id)

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment.

        :raises Conflict: if it has runs.
        """
        experiment = self.by_id(experiment_id)
        if experiment.runs:
            raise Conflict(f"Only an experiment without runs can be deleted; {experiment.name!r} has had runs.")
        self._documents.delete(experiment_id)

    def delete_tags(self, experiment_id: str, names: list[str]) -> Experiment:
        """Remove tags."""
        self.by_id(experiment_id)

        def change(document: ExperimentDocument) -> None:
            document.tags = {name: value for name, value in document.tags.items() if name not in names}

        self._documents.update(experiment_id, change)
        return self.by_id(experiment_id)

    def next_run_number(self, experiment_id: str) -> int:
        """Count a run."""

        def change(document: ExperimentDocument) -> None:
            document.runs += 1

        document = self._documents.update(experiment_id, change)
        if document is None:
            raise NotFound(f"There is no experiment with the id {experiment_id!r}.", code="UserError")
        return document.runs

    def _by_name(self, name: str) -> ExperimentDocument | None:
        return next(iter(self._documents.find(name=name)), None)
