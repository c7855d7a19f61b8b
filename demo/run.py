"""``make demo``: score real data through a real DAG against the embedded emulator, and show what came of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import emulated
import local_airflow
import sample

FOLDER = local_airflow.REPOSITORY / ".demo"
STATE = FOLDER / "emulator"
HOME = FOLDER / "airflow"
SAMPLE = FOLDER / "sample"
LOG = FOLDER / "airflow.log"
REPORT = FOLDER / "report.json"
DAG = "batch_scoring"

console = Console(highlight=False)


def demo() -> None:
    """Run the whole demo and clean up behind it."""
    FOLDER.mkdir(exist_ok=True)
    seconds: dict[str, float] = {}
    with _timed(seconds, "start the emulator"):
        variables = emulated.start(STATE)
    try:
        env = local_airflow.environment(HOME, variables | {"AMLBATCH_DEMO": str(SAMPLE)})
        with _timed(seconds, "prepare model and data"):
            files = sample.prepare(SAMPLE, env)
        with _timed(seconds, "prepare Airflow"):
            local_airflow.migrate(env, LOG)
        report = _run_dag(env)
        seconds |= {f"task {name}": spent for name, spent in report["tasks"].items()}
        _show(report, seconds)
    finally:
        emulated.stop(STATE)
    collected = report["result"]
    if collected["rows"] != files:
        raise RuntimeError(f"{files} files were to be scored, but {collected['rows']} predictions came back.")
    print(f"demo: {collected['rows']} predictions from {files} files")


def _run_dag(env: dict[str, str]) -> dict[str, Any]:
    REPORT.unlink(missing_ok=True)
    console.print(f"Running the DAG [bold]{DAG}[/bold] (whole log: {_shown(LOG)})", soft_wrap=True)
    command = [sys.executable, str(local_airflow.REPOSITORY / "demo" / "run_dag.py"), DAG, str(REPORT)]
    with (
        open(LOG, "w") as log,
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            log.write(line)
            if told := _told(line):
                console.print(f"  {told}", markup=False, soft_wrap=True)
    if not REPORT.exists():
        raise RuntimeError(f"The DAG run did not end: see {LOG}.")
    report: dict[str, Any] = json.loads(REPORT.read_text())
    if report["state"] != "success":
        raise RuntimeError(f"The DAG run ended as {report['state']}: see {LOG}.")
    return report


#: A log line of the provider: what it tells, without time, level and place.
_LINE = re.compile(r"\[(?:info|warning|error)\s*\]\s(.*?)\s+\[(?:airflow\.task\.\w+\.)?airflow_provider_amlbatch\.")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _told(line: str) -> str | None:
    found = _LINE.search(_COLOUR.sub("", line))
    return found.group(1) if found else None


def _show(report: dict[str, Any], seconds: dict[str, float]) -> None:
    collected = report["result"]
    table = Table(title="First predictions", title_justify="left")
    for column in collected["columns"]:
        table.add_column(column)
    for row in collected["head"][:5]:
        table.add_row(*(str(row[column]) for column in collected["columns"]))
    console.print(table)
    times = Table("part", "seconds", title="Where the time went", title_justify="left")
    for name, spent in seconds.items():
        times.add_row(name, f"{spent:.1f}")
    console.print(times)
    console.print(f"Predictions  {_shown(Path(collected['uri']))}", soft_wrap=True)
    console.print(f"Chart        {_shown(Path(report['chart']))}", soft_wrap=True)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begin


if __name__ == "__main__":
    try:
        demo()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
