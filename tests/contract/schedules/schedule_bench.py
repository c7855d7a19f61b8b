"""An emulator whose clock stands still until a test moves it, with pipelines to schedule."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import PipelineRun
from airflow_provider_amlbatch.aml.schedules import Schedule, list_runs_of_schedule
from airflow_provider_amlbatch.aml.scheduling import find_schedule
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk

#: A Wednesday in winter.
NOW = datetime(2026, 12, 2, 10, 7, tzinfo=UTC)

PUBLISH = """
import json
import os
from pathlib import Path
from azureml.core import Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.data.datapath import DataPath, DataPathComputeBinding
from azureml.pipeline.core import Pipeline, PipelineEndpoint, PipelineParameter
from azureml.pipeline.steps import PythonScriptStep

ws = Workspace.from_config()
store = ws.get_default_datastore()
cluster = ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration("STANDARD_DS2_V2", max_nodes=2))
cluster.wait_for_completion()
Path("show").mkdir()
Path("show/show.py").write_text("import sys; print('saw', sys.argv[1:])")

def publish(name, arguments, **more):
    step = PythonScriptStep("show.py", "show", arguments, compute_target=cluster, source_directory="show",
                            allow_reuse=False, **more)
    return Pipeline(ws, [step]).publish(name, "")

binding = (PipelineParameter("place", DataPath(store, "nothing")), DataPathComputeBinding(mode="mount"))
plain = publish("plain", ["--label", PipelineParameter("label", "none")])
watched = publish("watched", ["--place", binding], inputs=[binding])
endpoint = PipelineEndpoint.publish(ws, name="plain-endpoint", pipeline=plain, description="")
print("REPORT " + json.dumps({"plain": plain.id, "watched": watched.id, "endpoint": endpoint.id,
                              "container": store.container_name}))
"""


class Bench:
    """The emulator, a session on it, and the ids of what was published there."""

    def __init__(self, emulator: ServedEmulator, ids: dict[str, str]) -> None:
        self.emulator = emulator
        self.ids = ids

    @property
    def session(self) -> Session:
        """A session that has just signed in: tokens expire by the clock that the tests move."""
        return Session(ConnectionSettings.from_json("azureml_default", self.emulator.connection_json))

    @property
    def now(self) -> datetime:
        """The time on the emulator's clock."""
        return self.emulator.clock.now()

    def move(self, by: timedelta) -> datetime:
        """Move the clock; what is due has fired when this returns."""
        now = self.emulator.clock.shift(by)
        self.emulator.services.schedules.tick()
        return now

    def move_to_minute(self, minute: int) -> datetime:
        """Move the clock to a minute of the next hour."""
        return self.move(self.now.replace(minute=minute, second=0, microsecond=0) + timedelta(hours=1) - self.now)

    def schedule(self, name: str) -> Schedule:
        """A schedule as the service tells it."""
        return find_schedule(self.session, name)

    def runs(self, name: str) -> list[PipelineRun]:
        """Runs of a schedule, oldest first."""
        return self.session.send(list_runs_of_schedule(self.schedule(name).id))[::-1]

    def put(self, blob: str, content: str) -> None:
        """Write a blob into the default datastore. A blob is a file, and the date of its change is the file's."""
        self.emulator.services.blobs.put(self.ids["container"], blob, [content.encode()])
        (file,) = self.emulator.root.glob(f"blobs/**/{blob}")
        os.utime(file, (self.now.timestamp(), self.now.timestamp()))


def told(bench: Bench, script: str) -> Any:
    """Run a script with the SDK, which finds the workspace as ``ws``; its last line is JSON."""
    done = run_sdk(
        "import json\nfrom azureml.core import Workspace\nws = Workspace.from_config()\n" + script,
        bench.emulator.environment,
    )
    return json.loads(done.stdout.splitlines()[-1])
