"""What the tests of pipelines share: a script's beginning that makes a cluster, data and a step."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from trust import trusting_only

from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk

_BEGINNING = """
import json, os, time
from pathlib import Path
import requests
from azureml.core import Dataset, Environment, Experiment, Model, Run, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.pipeline.core import (
    Pipeline, PipelineData, PipelineEndpoint, PipelineParameter, PipelineRun, PublishedPipeline, Schedule,
    ScheduleRecurrence, StepRun, TrainingOutput,
)
from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep, PythonScriptStep

ws = Workspace.from_config()
store = ws.get_default_datastore()

def report(**values):
    print("REPORT " + json.dumps(values, default=str), flush=True)

def make_cluster(name="cpu", max_nodes=2):
    if name not in ws.compute_targets:
        settings = AmlCompute.provisioning_configuration(vm_size="STANDARD_DS2_V2", max_nodes=max_nodes)
        ComputeTarget.create(ws, name, settings).wait_for_completion()
    return ws.compute_targets[name]

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

def make_files(name, count):
    for index in range(count):
        write(f"{name}/{index:03}.csv", f"{index}\\n")
    store.upload(name, name, overwrite=True, show_progress=False)
    return Dataset.File.from_files((store, f"{name}/*.csv"))

DOUBLE = '''
import os
def run(mini_batch):
    return [f"{os.path.basename(path)}: {2 * int(open(path).read())}" for path in mini_batch]
'''

def parallel(name, source, dataset, *, arguments=None, output=None, allow_reuse=False, side_inputs=None, **settings):
    settings = dict(mini_batch_size="5", error_threshold=0, output_action="append_row", node_count=1,
                    process_count_per_node=1, environment=Environment("any"), compute_target=make_cluster()) | settings
    config = ParallelRunConfig(source_directory=source, entry_script="score.py", **settings)
    output = output or PipelineData("scores", datastore=store)
    inputs = dataset if isinstance(dataset, list) else [dataset.as_named_input("batch")]
    return ParallelRunStep(name, config, inputs=inputs, output=output, arguments=arguments, side_inputs=side_inputs,
                           allow_reuse=allow_reuse)

def submit(steps, experiment, **more):
    return Experiment(ws, experiment).submit(Pipeline(ws, steps if isinstance(steps, list) else [steps]), **more)

def finish(run):
    # wait_for_completion looks once a second only.
    while run.get_status() in ("NotStarted", "Preparing", "Queued", "Running"):
        time.sleep(0.1)
    return run.wait_for_completion(show_output=False)

def lines(step_run, folder, output="scores"):
    step_run.get_output_data(output).download(folder)
    (path,) = Path(folder).rglob("parallel_run_step.txt")
    return sorted(path.read_text().splitlines())

def failure(call, *arguments, **more):
    try:
        return "no error: " + repr(call(*arguments, **more))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


Script = Callable[[ServedEmulator, str], dict[str, Any]]


@pytest.fixture(scope="module")
def emulator(own_emulator: ServedEmulator) -> ServedEmulator:
    """An emulator of the module: whole listings are looked at here."""
    return own_emulator


@pytest.fixture(scope="session")
def script() -> Script:
    """Run a script after the common beginning, and return what it hands to ``report(**values)``."""

    def run(emulator: ServedEmulator, text: str) -> dict[str, Any]:
        done = run_sdk(_BEGINNING + textwrap.dedent(text), trusting_only(emulator))
        merged: dict[str, Any] = {"stdout": done.stdout}
        for line in done.stdout.splitlines():
            if line.startswith("REPORT "):
                merged |= json.loads(line.removeprefix("REPORT "))
        return merged

    return run


@pytest.fixture(scope="module")
def pipeline_sdk(emulator: ServedEmulator, script: Script) -> Callable[[str], dict[str, Any]]:
    """Run a script against the emulator of the module."""
    return lambda text: script(emulator, text)
