"""What it costs a DAG file to name this provider, beside what Airflow itself costs it and beside its neighbours.

Run ``python benchmarks/import_cost.py``. Every subject is imported in fresh processes, all subjects in turn in each
round; the medians are divided by the median of the base, which every DAG file with a deferrable task imports anyway.
Only the imports are timed, not the start of the interpreter, which would flatter every ratio.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.get_provider_info import get_provider_info

ROUNDS = 9
GOAL = 1.10
BASE = "from airflow.sdk import DAG, BaseOperator, BaseHook\nimport airflow.triggers.base"
#: What a DAG file must never load for us.
HEAVY = ("azureml", "pandas", "pyarrow", "numpy", "fastapi", "azure.identity")

_TIMED = """
import json, resource, sys, time
wall, cpu = time.perf_counter(), time.process_time()
{imports}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({{
    "cpu": cpu,
    "wall": wall,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "heavy": [name for name in {heavy} if name in sys.modules],
}}))
"""


@dataclass(frozen=True)
class Subject:
    """Something to import on top of the base.

    :param needs: the module that tells whether it is installed.
    """

    name: str
    imports: str
    needs: str = "airflow"

    def is_installed(self) -> bool:
        """Look for the module without importing it."""
        try:
            return importlib.util.find_spec(self.needs) is not None
        except ModuleNotFoundError:
            return False


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU and of wall time, and MB of peak memory, of one process."""

    cpu: float
    wall: float
    memory: float
    heavy: list[str]


def public_modules() -> list[str]:
    """List every module whose classes a DAG file may name, from the provider's own metadata."""
    info: dict[str, Any] = get_provider_info()
    kinds = ("operators", "sensors", "triggers")
    named = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    rest = ("timetables.recurrence", "task_groups", "retry_policy")
    return [*named, *(f"airflow_provider_amlbatch.{name}" for name in rest)]


def subjects() -> list[Subject]:
    """Give the base, ourselves, and the neighbours."""
    amazon, azure = "airflow.providers.amazon.aws.operators.sagemaker", "airflow.providers.microsoft.azure.operators"
    return [
        Subject("base: airflow.sdk and triggers.base", BASE),
        Subject("base again: the noise", BASE),
        Subject("ours: all public modules", "\n".join([BASE, *(f"import {name}" for name in public_modules())])),
        Subject("SageMakerTransformOperator", f"{BASE}\nimport {amazon}", "airflow.providers.amazon"),
        Subject(
            "AzureDataFactoryRunPipelineOperator",
            f"{BASE}\nimport {azure}.data_factory",
            "airflow.providers.microsoft.azure",
        ),
    ]


def cost(subject: Subject) -> Cost:
    """Import it in a process of its own."""
    code = _TIMED.format(imports=subject.imports, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Measure, print, and say by the exit code whether the goal was met."""
    installed = [subject for subject in subjects() if subject.is_installed()]
    for subject in installed:
        cost(subject)  # compiles what was not compiled yet
    costs: dict[str, list[Cost]] = {subject.name: [] for subject in installed}
    for _ in range(ROUNDS):
        for subject in installed:
            costs[subject.name].append(cost(subject))
    base = installed[0].name
    ratios = {
        name: {
            kind: statistics.median(getattr(one, kind) for one in found)
            / statistics.median(getattr(one, kind) for one in costs[base])
            for kind in ("cpu", "wall", "memory")
        }
        for name, found in costs.items()
    }
    seconds = statistics.median(one.cpu for one in costs[base])
    print(f"Median of {ROUNDS} fresh processes; {base} costs {seconds:.2f} s of CPU.")
    print(f"{'import':<42}{'CPU':>8}{'wall':>8}{'memory':>8}")
    for subject in subjects():
        ratio = ratios.get(subject.name)
        figures = "".join(f"{value:>7.2f}x" for value in ratio.values()) if ratio else "  not installed"
        print(f"{subject.name:<42}{figures}")
    ours = installed[2].name
    heavy = sorted({name for one in costs[ours] for name in one.heavy})
    print(f"Heavy modules that ours loads: {', '.join(heavy) or 'none'}.")
    met = ratios[ours]["cpu"] <= GOAL and not heavy
    print(f"Goal: at most {GOAL:.2f} of the base's CPU time: {'met' if met else 'MISSED'}.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
