"""One Airflow and one emulator, all of processes of their own, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from gallery import Gallery
from invocation import Invocation
from live_airflow import DAGS, LiveAirflow
from live_service import LiveService


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, for those who want all other tests, or only these."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what Airflow's parts and its failed tasks said last."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, LiveAirflow):
                report.sections += [(f"end of {name}", text) for name, text in value.last_words()]
    return report


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """The emulator."""
    folder = tmp_path_factory.mktemp("live-service")
    (folder / "gates").mkdir()
    service = LiveService(folder / "state", folder / "gates")
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def live_pipeline(live_service: LiveService) -> str:
    """Id of the published pipeline that holds its run as long as a test wants."""
    return live_service.publish()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """The examples that Airflow shows beside the DAGs of this folder."""
    return Gallery(tmp_path_factory.mktemp("live-gallery"))


@pytest.fixture(scope="session")
def live_airflow(
    live_service: LiveService, live_pipeline: str, gallery: Gallery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    """Airflow."""
    variables = live_service.environment | gallery.environment(DAGS) | {"AIRFLOW_VAR_LIVE_PIPELINE": live_pipeline}
    with LiveAirflow(tmp_path_factory.mktemp("live-airflow"), variables) as airflow:
        yield airflow


@pytest.fixture
def invoke(
    live_airflow: LiveAirflow, live_service: LiveService, live_pipeline: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Invocation]]:
    """Trigger a DAG of one invocation: ``invoke(dag_id)``. At the end its gate opens and all faults are forgotten."""
    made: list[Invocation] = []

    def start(dag_id: str, **conf: Any) -> Invocation:
        gate = live_service.gate(f"{request.node.name}-{len(made)}".replace("/", "-"))
        dag_run = live_airflow.trigger(dag_id, {"pipeline_id": live_pipeline, "gate": str(gate), **conf})
        made.append(Invocation(dag_run, live_service, gate))
        return made[-1]

    live_service.clear_faults()
    yield start
    live_service.clear_faults()
    for invocation in made:
        invocation.release()
