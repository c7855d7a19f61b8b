"""How a step ended, and what a step's executor is given to end early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.job import StepJob
from airflow_provider_amlbatch.emulator.engine.report import Progress

#: What Azure says of every failed parallel step.
GENERIC_FAILURE = "Run failed, please check logs for details. You can check logs/readme.txt for the layout of logs."


@dataclass(frozen=True)
class Outcome:
    """The end of a step."""

    status: RunStatus
    exit_code: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class Execution:
    """A step that is to be executed.

    :param scratch: a folder for temporary files, of this step alone.
    :param publish: called with the state of the step when it changed; cheap enough to call often.
    :param stop: set when the step is to end as canceled.
    """

    step: StepJob
    scratch: Path
    publish: Callable[[RunStatus, Progress | None], None]
    stop: threading.Event


class StepFailure(Exception):
    """Raised inside a step's executor when the step has failed.

    :param reason: the rule or error that ended it, one sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StepCanceled(Exception):
    """Raised inside a step's executor when the step was told to stop."""
