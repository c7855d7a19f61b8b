"""What a step's process is given: its command line and its environment variables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_provider_amlbatch.emulator.engine.job import Argument, Input, StepJob
from airflow_provider_amlbatch.emulator.engine.outcome import StepFailure

#: Runs a program that dies with the engine.
_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class View:
    """Folders that the processes of a step cannot write to, and those below that they can. All of them exist."""

    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    @classmethod
    def of(cls, step: StepJob) -> View:
        """Inputs are read in place, so a script that writes to one would change the blobs themselves.

        On Azure a mounted input is read-only, too.
        """
        inputs = (Path(input_path(source)) for source in step.inputs if source.patterns)
        folders = {path.parent if path.is_file() else path for path in inputs if path.exists()}
        read_only = sorted(map(str, folders))
        own = [*(output.path for output in step.outputs), step.artifacts]
        writable = [path for path in own if any(Path(path).is_relative_to(root) for root in read_only)]
        return cls(tuple(read_only), tuple(writable))


def launch_command(command: Sequence[str], view: View) -> list[str]:
    """The command that starts a program which dies with this process, and sees its inputs read-only."""
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), json.dumps(asdict(view)), *command]


def arguments(step: StepJob) -> list[str]:
    """The step's command line, with the local paths of its inputs and outputs in place of their names.

    :raises StepFailure: if an argument names an input or output that the step does not have.
    """
    return [argument if isinstance(argument, str) else _path(step, argument) for argument in step.arguments]


def variables(step: StepJob) -> dict[str, str]:
    """The environment of the step's process: this one's, what the job sets, and where inputs and outputs lie."""
    references = {source.name: input_path(source) for source in step.inputs} | {
        output.name: output.path for output in step.outputs
    }
    data_references = {f"AZUREML_DATAREFERENCE_{name}": path for name, path in references.items()}
    return {**os.environ, **data_references, **step.environment}


def node_variables(node: int, node_count: int, working_directory: str) -> dict[str, str]:
    """The variables with which a script finds its place among the nodes.

    Every node is this machine, under a loopback address of its own.
    """
    master, me = _address(0), _address(node)
    gpus = _gpu_count()
    return {
        "AZUREML_NODE_COUNT": str(node_count),
        "AZ_BATCHAI_JOB_MASTER_NODE_IP": master,
        "AZ_BATCHAI_WORKER_IP": me,
        "AZ_BATCHAI_GPU_COUNT_FOUND": str(gpus),
        "AZ_BATCH_MASTER_NODE": f"{master}:6000",
        "AZ_BATCH_NODE_LIST": ";".join(_address(index) for index in range(node_count)),
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": "true" if node == 0 else "false",
        "AZ_BATCH_TASK_WORKING_DIR": working_directory,
    }


def gpu_variables(process: int) -> dict[str, str]:
    """One GPU a process, in turn; nothing on a machine without GPUs."""
    gpus = _gpu_count()
    return {"CUDA_VISIBLE_DEVICES": str(process % gpus)} if gpus else {}


def input_path(source: Input) -> str:
    """The local path that stands for an input: its root, or the one path that it consists of."""
    if source.root is not None:
        return source.root
    return source.patterns[0] if len(source.patterns) == 1 else os.path.commonpath(source.patterns or ("/",))


def _path(step: StepJob, argument: Argument) -> str:
    assert not isinstance(argument, str)
    if "input" in argument:
        found = [input_path(source) for source in step.inputs if source.name == argument["input"]]
    else:
        found = [output.path for output in step.outputs if output.name == argument["output"]]
    if not found:
        raise StepFailure(f"The argument {dict(argument)} of step {step.name!r} names nothing that the step has.")
    return found[0]


def _address(node: int) -> str:
    return f"127.0.{node // 250}.{node % 250 + 1}"


def _gpu_count() -> int:
    return sum(1 for path in Path("/dev").glob("nvidia[0-9]*"))
