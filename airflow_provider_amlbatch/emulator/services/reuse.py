"""Steps that take over the outputs of an earlier run of the same step instead of running again (``allow_reuse``).

What counts is what the service compares: the source's content, the arguments and parameters, the environment, and which
data the inputs name. New files within the same dataset do not count; that surprises people on Azure, and so it does
here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.aml.wire import Pascal
from airflow_provider_amlbatch.emulator.services.run_states import RunStates
from airflow_provider_amlbatch.emulator.store import Store


@dataclass(frozen=True)
class Place:
    """Where an output goes."""

    datastore: str
    path: str


class OutputPlace(Pascal):
    """Where an output of a node lies."""

    node_id: str
    name: str
    data_store_name: str
    path: str


class ReusableStep(Pascal):
    """A step that was run, and what went into it."""

    run_id: str
    node_id: str
    pipeline_run_id: str
    step_name: str
    digest: str
    inputs: dict[str, Any] = {}
    outputs: list[OutputPlace] = []


@dataclass(frozen=True)
class Decision:
    """Whether a step is run, and why.

    :param earlier: the run whose outputs are taken over; None if the step is run.
    :param reason: for the user.
    """

    earlier: ReusableStep | None
    reason: str


class ReuseService:
    """Remembers steps by what went into them."""

    def __init__(self, store: Store, states: RunStates) -> None:
        self._states = states
        self._steps = store.collection("reuse", ReusableStep, indexes=("Digest", "StepName"))

    def decide(self, step_name: str, inputs: dict[str, Any], *, allowed: bool) -> Decision:
        """Look for a completed run of the same step with the same inputs."""
        inputs = json.loads(json.dumps(inputs, default=str))  # as they are kept
        if not allowed:
            return Decision(None, "The step does not allow reuse (allow_reuse=False), or is to be regenerated.")
        for candidate in self._steps.find(newest_first=True, Digest=digest(inputs)):
            if self._is_completed(candidate):
                return Decision(candidate, f"The outputs of the step run {candidate.run_id} are reused.")
        for candidate in self._steps.find(newest_first=True, limit=20, StepName=step_name):
            if self._is_completed(candidate):
                changed = [name for name in inputs if inputs[name] != candidate.inputs.get(name)]
                return Decision(
                    None, f"Not reused. Compared with the step run {candidate.run_id}: {_list(changed)} changed."
                )
        return Decision(None, "Not reused: no step of this name has completed before.")

    def remember(self, step: ReusableStep) -> None:
        """Keep what went into a step that is about to run."""
        self._steps.put(step.run_id, step)

    def _is_completed(self, step: ReusableStep) -> bool:
        return self._states.step(step.pipeline_run_id, step.run_id).status is RunStatus.COMPLETED


def digest(inputs: dict[str, Any]) -> str:
    """One text for all that went into a step; the same for the same inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def explain(decision: Decision, inputs: dict[str, Any], digests: Callable[[Any], str] = digest) -> str:
    """Say what was compared, for the step's log."""
    compared = "\n".join(f"  {name}: {digests({'': value})[:16]}" for name, value in sorted(inputs.items()))
    return f"{decision.reason}\nCompared for reuse (digests):\n{compared}\n"


def _list(names: list[str]) -> str:
    return ", ".join(names) or "nothing that is known"
