"""What the tests share. The ``emulator`` fixture comes from :mod:`airflow_provider_amlbatch.testing`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk

_PRELUDE = """
import json
from azureml.core import Workspace
ws = Workspace.from_config()
def report(**values):
    print("REPORT " + json.dumps(values, default=str))
"""


@pytest.fixture(scope="session")
def sdk(emulator: ServedEmulator) -> Callable[[str], dict[str, Any]]:
    """Run a script that finds the workspace as ``ws``, and return what it hands to ``report(**values)``.

    Each call is a process of its own that imports the SDK, which takes seconds: one script a test module.
    """

    def run(script: str) -> dict[str, Any]:
        done = run_sdk(_PRELUDE + textwrap.dedent(script), emulator.environment)
        reports = [line.removeprefix("REPORT ") for line in done.stdout.splitlines() if line.startswith("REPORT ")]
        merged: dict[str, Any] = {}
        for line in reports:
            merged |= json.loads(line)
        return merged

    return run
