"""Where the worker processes of a parallel step run, and what each is started with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.emulator.engine import environment
from airflow_provider_amlbatch.emulator.engine.job import Input, ParallelSettings, StepJob
from airflow_provider_amlbatch.emulator.engine.logs import StepLogs
from airflow_provider_amlbatch.emulator.engine.pool import WorkerPlan

_RESOURCES = Path(__file__).with_name("resources")
#: What the service starts on a node, and thus the first element of ``sys.argv``.
_DRIVER = "driver/amlbi_main.py"


@dataclass
class Node:
    """A simulated node.

    :param places: worker processes that it is to have.
    :param init_failures: workers in a row that did not get through ``init()``.
    """

    index: int
    places: int
    started: int = 0
    init_failures: int = 0

    @property
    def has_given_up(self) -> bool:
        """Whether ``init()`` failed too often for another attempt."""
        return self.init_failures >= 3 * max(self.places, 1)


class Planner:
    """Plans workers: names, folders, environment, configuration.

    :param queue: the file of mini-batches.
    """

    def __init__(
        self, step: StepJob, settings: ParallelSettings, inputs: list[Input], scratch: Path, queue: Path
    ) -> None:
        self._step = step
        self._settings = settings
        self._scratch = scratch
        self._queue = queue
        self._arguments = environment.arguments(step)
        self._variables = environment.variables(step)
        self._view = environment.View.of(step)
        self._inputs = [_readable(source) for source in inputs]
        self.output = next((output for output in step.outputs if output.name == settings.output_name), None)
        # Inferred: one process for each core where the author names no number.
        self.places = settings.process_count_per_node or os.cpu_count() or 1

    def nodes(self) -> list[Node]:
        """The nodes, without workers."""
        return [Node(index, self.places) for index in range(self._settings.node_count)]

    def plan(self, node: Node, logs: StepLogs) -> WorkerPlan:
        """Plan the next worker of a node."""
        name = f"process{node.started:03d}"
        node.started += 1
        label = str(node.index)
        folder = self._scratch / "nodes" / label / name
        return WorkerPlan(
            node=node.index,
            name=name,
            interpreter=self._step.interpreter,
            environment=self._environment(node, name, folder, logs),
            working_directory=folder,
            stdout=logs.process_file("user/stdout", label, f"{name}.stdout.txt"),
            stderr=logs.process_file("user/stderr", label, f"{name}.stderr.txt"),
            config=self._config(logs.process_file("sys/node", label, f"{name}.txt"), label, name),
            view=self._view,
        )

    def _config(self, log: Path, node: str, name: str) -> dict[str, Any]:
        appends = self._settings.output_action == "append_row"
        return {
            "source": self._step.source,
            "entry_script": self._settings.entry_script,
            "argv": [_DRIVER, *self._arguments],
            "resources": str(_RESOURCES),
            "log": str(log),
            "inputs": self._inputs,
            "queue": str(self._queue),
            "temporary_file": str(self._scratch / f"rows-{node}-{name}") if appends else None,
            "dataframe_header": self._settings.append_row_dataframe_header,
        }

    def _environment(self, node: Node, name: str, folder: Path, logs: StepLogs) -> dict[str, str]:
        variables = {
            **environment.node_variables(node.index, self._settings.node_count, str(folder)),
            **environment.gpu_variables(node.started - 1),
            **self._variables,
            "AMLBATCH_AGENT_NAME": name,
            "AMLBATCH_WORKING_DIR": str(folder),
            "AMLBATCH_LOG_DIR": str(logs.logs / "user"),
            "AMLBATCH_LOGGING_LEVEL": self._settings.logging_level,
            "AMLBATCH_ENTRY_SCRIPT_LOG": str(
                logs.process_file("user/entry_script_log", str(node.index), f"{name}.log.txt")
            ),
        }
        if self.output is not None:
            variables["AZUREML_BI_OUTPUT_PATH"] = self.output.path
        return variables


def _readable(source: Input) -> dict[str, Any]:
    """What a worker needs to read rows of an input; the paths come with each mini-batch."""
    return {key: value for key, value in asdict(source).items() if key in ("name", "format", "options")}
