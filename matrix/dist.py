"""Build wheel and sdist, and use both as people do: from environments that hold nothing else.

The base wheel must work without the Azure ML SDK, the extra ``[emulator]`` must give a working ``amlbatch emulator``,
and the unpacked sdist must pass its own tests. What was seen is printed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = REPOSITORY / "constraints.txt"
TESTS = ("tests/unit", "tests/architecture", "tests/e2e/test_batch_scoring.py")

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
import airflow_provider_amlbatch as package
for room in ("aml", "hooks", "operators", "sensors", "triggers", "links", "timetables", "results", "sdk"):
    folder = importlib.import_module(f"{package.__name__}.{room}")
    for module in pkgutil.iter_modules(folder.__path__):
        if (room, module.name) != ("sdk", "child"):  # a script for another interpreter
            importlib.import_module(f"{folder.__name__}.{module.name}")
import airflow_provider_amlbatch.task_groups
assert importlib.util.find_spec("azureml") is None
assert package.__file__.startswith(sys.prefix), package.__file__
print(package.__version__)
"""


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def run(*command: str | Path, cwd: Path, quiet: bool = True) -> str:
    """Run a command, and return what it printed.

    :raises SystemExit: if it fails, with what it printed.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=variables | {"AIRFLOW_HOME": str(cwd / "airflow")},
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}.\n{done.stdout or ''}")
    return done.stdout or ""


def empty_environment(folder: Path) -> Path:
    """Make an environment and return its folder of programs."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


def build(work: Path) -> tuple[Path, Path]:
    """Build from a copy of what git knows, and return the wheel and the sdist."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, work / "source" / name)
    run(sys.executable, "-m", "build", "--outdir", work / "dist", cwd=work / "source")
    (wheel,), (sdist,) = (work / "dist").glob("*.whl"), (work / "dist").glob("*.tar.gz")
    for made in (wheel, sdist):
        say(f"built {made.name}, {made.stat().st_size / 1000:.0f} kB")
    return wheel, sdist


def try_base(wheel: Path, work: Path) -> None:
    """Install the wheel alone and import what a DAG file may import."""
    programs = empty_environment(work / "base")
    run(programs / "python", "-m", "pip", "install", "--constraint", CONSTRAINTS, wheel, cwd=work)
    version = run(programs / "python", "-c", IMPORT_ALL, cwd=work).split()[-1]
    assert "airflow-provider-amlbatch" in run(programs / "airflow", "providers", "list", cwd=work)
    say(f"the base wheel {version} imports without azureml, and Airflow lists the provider")


def try_emulator(wheel: Path, work: Path) -> Path:
    """Install the extra, serve an emulator, and return the environment's folder of programs."""
    programs = empty_environment(work / "emulator")
    run(programs / "python", "-m", "pip", "install", "--constraint", CONSTRAINTS, f"{wheel}[emulator]", cwd=work)
    run(programs / "python", "-m", "pip", "check", cwd=work)
    emulator = (programs / "amlbatch", "emulator")
    run(*emulator, "start", "--state", work / "state", cwd=work)
    try:
        assert "AIRFLOW_CONN_AZUREML_DEFAULT" in run(*emulator, "env", "--state", work / "state", cwd=work)
    finally:
        run(*emulator, "stop", "--state", work / "state", cwd=work)
    say("the wheel with [emulator] serves an emulator")
    return programs


def try_sdist(sdist: Path, work: Path, programs: Path) -> None:
    """Unpack the sdist, install it and what its tests need, and run its tests."""
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    source = work / sdist.name.removesuffix(".tar.gz")
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--no-deps")
    run(*pip, "--requirement", source / "constraints.txt", cwd=source)
    run(*pip, "--force-reinstall", ".", cwd=source)
    started = time.monotonic()
    # Not by ``python -m``, which would find the package in the working directory and not the installed one.
    said = run(programs / "pytest", "-n", "2", "--dist", "loadgroup", *TESTS, cwd=source)
    closing = said.strip().splitlines()[-1].strip("= ")
    say(f"the sdist's tests: {closing} ({(time.monotonic() - started) / 60:.1f} min)")


def main() -> None:
    """Do all of it in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="amlbatch-dist-") as folder:
        work = Path(folder)
        wheel, sdist = build(work)
        try_base(wheel, work)
        try_sdist(sdist, work, try_emulator(wheel, work))


if __name__ == "__main__":
    main()
