"""What the tests share. The ``emulator`` fixture comes from :mod:`airflow_provider_amlbatch.testing`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trust import trusting_only
from xdist.scheduler import LoadScopeScheduling

from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk, serving

_TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(_TESTS.parent / "demo"))

# Airflow reads its environment when it is first imported: before that, it gets a home of its own.
os.environ |= {
    "AIRFLOW_HOME": tempfile.mkdtemp(prefix="airflow-"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
        [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path)},
            }
            for name, path in {"dags-folder": _TESTS.parent / "dags", "e2e": _TESTS / "e2e" / "dags"}.items()
        ]
    ),
}

_PRELUDE = """
import json
from azureml.core import Workspace
ws = Workspace.from_config()
def report(**values):
    print("REPORT " + json.dumps(values, default=str))
"""


#: Folders whose tests share one Airflow, the longest first; of the others each module is on its own.
_TOGETHER = ("live", "e2e")


class _Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole modules, and the folders whose tests share an Airflow as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return next((folder for folder in _TOGETHER if folder in path.parts), str(path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Share out the tests when several processes run them."""
    return _Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    ranks = {_TESTS / folder: rank for rank, folder in enumerate(_TOGETHER)}
    items.sort(key=lambda item: ranks.get(item.path.parent, len(ranks)))


@pytest.fixture(scope="module")
def own_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEmulator]:
    """An emulator for one module, which finds in it only what it made itself.

    A module that needs it for all its tests overrides the fixture ``emulator`` with it.
    """
    with serving(tmp_path_factory.mktemp("own-emulator")) as served:
        yield served


@pytest.fixture(scope="module")
def sdk(emulator: ServedEmulator) -> Callable[[str], dict[str, Any]]:
    """Run a script that finds the workspace as ``ws``, and return what it hands to ``report(**values)``.

    Each call is a process of its own that imports the SDK, which takes seconds: one script a test module.
    """

    def run(script: str) -> dict[str, Any]:
        done = run_sdk(_PRELUDE + textwrap.dedent(script), trusting_only(emulator))
        reports = [line.removeprefix("REPORT ") for line in done.stdout.splitlines() if line.startswith("REPORT ")]
        merged: dict[str, Any] = {}
        for line in reports:
            merged |= json.loads(line)
        return merged

    return run
