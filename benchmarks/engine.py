"""Figures of the engine: ``python benchmarks/engine.py [--quick]``.

Every time is shown beside that of a bare ``concurrent.futures.ProcessPoolExecutor`` that makes the same calls with the
same chunks, in the same run on the same machine. Quote the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from airflow_provider_amlbatch.emulator.engine.folder import RunFolder
from airflow_provider_amlbatch.emulator.engine.job import FileInput, Output, ParallelSettings, PipelineJob, StepJob
from airflow_provider_amlbatch.emulator.engine.report import Progress

PROCESSES = 2
EMPTY_SCRIPT = """
import time
MARK = {mark!r}
def run(mini_batch):
    global MARK
    if MARK:
        with open(MARK, "a") as file:
            file.write(str(time.time()) + "\\n")
        MARK = None
    return mini_batch
"""
CLASSIC_SCRIPT = """
import os
import joblib
import numpy as np

def init():
    global model
    model = joblib.load(os.path.join(os.path.dirname(__file__), "model.pkl"))

def run(mini_batch):
    rows = []
    for path in mini_batch:
        data = np.genfromtxt(path, delimiter=",").reshape(1, -1)
        rows.append(f"{os.path.basename(path)}: {model.predict(data)[0]}")
    return rows
"""

_script: ModuleType


def _load(path: str) -> None:
    """Start a bare worker: load the script and call ``init()``."""
    global _script
    specification = importlib.util.spec_from_file_location("score", path)
    assert specification is not None
    assert specification.loader is not None
    _script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(_script)
    if hasattr(_script, "init"):
        _script.init()


def _score(chunk: list[str]) -> list[str]:
    return list(_script.run(chunk))


@dataclass(frozen=True)
class Cost:
    """What a job took: seconds on the clock, CPU seconds of all its processes, peak MB of the controller."""

    seconds: float
    cpu: float
    peak: int = 0


def bare(script: Path, data: Path, size: int, output: Path) -> Cost:
    """Score with a bare pool, in a fresh interpreter that has imported nothing; seconds of the pool alone."""
    command = [sys.executable, __file__, "--bare", str(script), str(data), str(size), str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seconds = process.communicate()[0]
        assert process.returncode == 0
    return Cost(*(float(number) for number in seconds.split()))  # type: ignore[arg-type]


def run_bare(script: str, data: str, size: int, output: str) -> None:
    """The bare pool itself."""
    files = sorted(str(path) for path in Path(data).iterdir())
    chunks = [files[start : start + size] for start in range(0, len(files), size)]
    started = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, initializer=_load, initargs=(script,)) as pool, open(output, "w") as file:
        for rows in pool.map(_score, chunks):
            file.writelines(f"{row}\n" for row in rows)
    seconds = time.monotonic() - started
    print(seconds, sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def ours(root: Path, source: Path, data: Path, size: int) -> tuple[Cost, Progress]:
    """Score with the engine; seconds from the launch to the final report."""
    step = StepJob(
        run_id="step",
        node_id="node",
        name="score",
        source=str(source),
        artifacts=str(root / "artifacts"),
        interpreter=sys.executable,
        inputs=(FileInput("data", (str(data),)),),
        outputs=(Output("scores", str(root / "output")),),
        parallel=ParallelSettings(
            entry_script="score.py",
            input_names=("data",),
            mini_batch_size=size,
            output_name="scores",
            process_count_per_node=PROCESSES,
        ),
    )
    folder = RunFolder(root / "run")
    started = time.monotonic()
    folder.create(PipelineJob("run", (step,)))
    pid = folder.launch()
    peak = 0
    while not (report := folder.read_report()).status.is_terminal:
        peak = _peak_memory(pid) or peak
        time.sleep(0.02)  # a look costs a fraction of a millisecond, which is not the engine's
    elapsed = time.monotonic() - started
    progress = report.steps["step"].progress
    assert report.status.value == "Completed", report
    assert progress is not None
    usage = os.wait4(pid, 0)[2]
    return Cost(elapsed, usage.ru_utime + usage.ru_stime, peak), progress


def _peak_memory(pid: int) -> int:
    """Peak resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        for part in ("source", "data", "run"):
            (path / part).mkdir()
        yield path


def _make_files(data: Path, count: int, content: Callable[[int], str]) -> None:
    for number in range(count):
        (data / f"{number:07d}.csv").write_text(content(number))


def empty_run(root: Path, batches: int) -> list[list[str]]:
    """Cost of a mini-batch whose ``run()`` does nothing, by the difference of a long and a short job."""
    short = batches // 10
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    script = root / "source" / "score.py"
    script.write_text(EMPTY_SCRIPT.format(mark=None))
    for name, count in (("short", short), ("long", batches)):
        (root / name).mkdir()
        _make_files(root / name, count * 5, lambda _: "")
    for attempt in range(3):
        for name in ("short", "long"):
            times["ours"].append(ours(root / "run" / f"{name}{attempt}", script.parent, root / name, 5)[0].seconds)
            times["bare"].append(bare(script, root / name, 5, root / "bare.txt").seconds)
    cost = {
        key: statistics.median((long - brief) / (batches - short) * 1e6 for brief, long in zip(*[iter(values)] * 2))  # noqa: B905
        for key, values in times.items()
    }
    name = f"empty run(), {batches} mini-batches of 5 files: us a mini-batch"
    return [[name, f"{cost['ours']:.0f}", f"{cost['bare']:.0f}", f"{cost['ours'] / cost['bare']:.2f}"]]


def first_run(root: Path) -> list[list[str]]:
    """Time from the launch of a job to its first ``run()``."""
    mark = root / "mark"
    (root / "source" / "score.py").write_text(EMPTY_SCRIPT.format(mark=str(mark)))
    _make_files(root / "data", 10, lambda _: "")
    waits = []
    for attempt in range(5):
        mark.unlink(missing_ok=True)
        started = time.time()
        ours(root / "run" / str(attempt), root / "source", root / "data", 5)
        waits.append(min(float(line) for line in mark.read_text().split()) - started)
    return [["submit to first run(): ms", f"{statistics.median(waits) * 1e3:.0f}", "", ""]]


def classic(root: Path, count: int) -> list[list[str]]:
    """The classic script over one-row CSV files, with a real model."""
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target)
    joblib.dump(model, root / "source" / "model.pkl")
    script = root / "source" / "score.py"
    script.write_text(CLASSIC_SCRIPT)
    _make_files(root / "data", count, lambda n: ",".join(map(str, features[n % len(features)])))
    pairs = []
    for attempt in range(3):
        run = root / "run" / str(attempt)
        mine = ours(run, root / "source", root / "data", 5)[0]
        pairs.append((mine, bare(script, root / "data", 5, root / "bare.txt")))
        rows = (run / "output" / "parallel_run_step.txt").read_text().splitlines()
        assert sorted(rows) == sorted((root / "bare.txt").read_text().splitlines())
    name = f"classic script, {count} files, mini-batches of 5"
    return [
        [f"{name}: s", *_figures([(a.seconds, b.seconds) for a, b in pairs])],
        [f"{name}: CPU s", *_figures([(a.cpu, b.cpu) for a, b in pairs])],
    ]


def _figures(pairs: list[tuple[float, float]]) -> list[str]:
    mine, theirs = statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
    return [f"{mine:.2f}", f"{theirs:.2f}", f"{statistics.median(a / b for a, b in pairs):.2f}"]


def many_items(root: Path, count: int) -> list[list[str]]:
    """Memory of the controller against the number of items, in one folder."""
    (root / "source" / "score.py").write_text(EMPTY_SCRIPT.format(mark=None))
    rows = []
    for items, size in ((count // 100, 10), (count, 1000), (count, 10)):
        data = root / f"data{items}"
        if not data.exists():
            data.mkdir()
            for number in range(items):
                (data / f"{number:07d}").touch()
        cost, progress = ours(root / "run" / f"{items}-{size}", root / "source", data, size)
        assert progress.succeeded_items == items
        name = f"{items} items in {items // size} mini-batches: controller's peak MB ({cost.seconds:.1f} s)"
        rows.append([name, str(cost.peak), "", ""])
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        script, data, size, output = arguments.bare
        run_bare(script, data, int(size), output)
        return
    divisor = 10 if arguments.quick else 1
    parts: list[Callable[[Path], list[list[str]]]] = [
        first_run,
        lambda root: empty_run(root, 10_000 // divisor),
        lambda root: classic(root, 10_000 // divisor),
        lambda root: many_items(root, 1_000_000 // divisor),
    ]
    print(f"{'':70}{'ours':>8}{'bare':>8}{'ratio':>8}")
    for part in parts:
        with _folder() as root:
            for name, *figures in part(root):
                print(f"{name:70}" + "".join(f"{figure:>8}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
