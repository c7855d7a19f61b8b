"""An emulator whose clock stands still until a test moves it, with pipelines to schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from schedule_bench import NOW, PUBLISH, Bench

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.testing import run_sdk, serving


@pytest.fixture(scope="session")
def served_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    clock = Clock()
    clock.freeze(NOW)
    with serving(tmp_path_factory.mktemp("schedules"), clock) as emulator:
        done = run_sdk(PUBLISH, emulator.environment)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
        made = Bench(emulator, json.loads(line.removeprefix("REPORT ")))
        yield made
        services = emulator.services
        for schedule in services.schedules.list_schedules():
            for run in services.schedules.runs(schedule.id):
                services.pipeline_runs.cancel(run.id)


@pytest.fixture
def bench(served_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The emulator, also behind the connection ``azureml_default``."""
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", served_bench.emulator.connection_json)
    return served_bench
