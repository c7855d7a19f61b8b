"""Run the tests that need no running Airflow on several versions of Airflow and of Python.

Each combination gets an environment of its own below ``.matrix/``. Its pins are those of ``constraints.txt``; what
another Airflow or Python wants otherwise stands in ``airflow-<version>.txt`` and ``python-<version>.txt`` beside this
file. Where the SDK has no release, it is that of an environment with Python 3.11. Interpreters are taken from the
``PATH`` and from pyenv; a combination without one is skipped by name.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
AIRFLOWS = ("3.1", "3.2", "3.3")
PYTHONS = ("3.11", "3.12", "3.13")
#: The SDK's steps need azureml-train-automl-client, which has no release for a newer one.
SDK_PYTHON = "3.11"
TESTS = ("tests/unit", "tests/architecture/test_provider.py", "tests/e2e")


@dataclass(frozen=True)
class Combination:
    """A minor version of Airflow on a minor version of Python."""

    airflow: str
    python: str

    def __str__(self) -> str:
        return f"Airflow {self.airflow} on Python {self.python}"

    @property
    def folder(self) -> Path:
        """Its environment."""
        return REPOSITORY / ".matrix" / f"airflow-{self.airflow}-python-{self.python}"

    @property
    def interpreter(self) -> str:
        """Its environment's Python."""
        return str(self.folder / "bin" / "python")

    def pins(self) -> str:
        """One requirement a line."""
        pins = _pins(REPOSITORY / "constraints.txt")
        for name in (f"airflow-{self.airflow}.txt", f"python-{self.python}.txt"):
            if (differing := HERE / name).exists():
                pins |= _pins(differing)
        if self.python != SDK_PYTHON:
            pins = {name: pin for name, pin in pins.items() if not name.startswith("azureml")}
        return "".join(f"{pin}\n" for pin in pins.values())


def _pins(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {re.split("[=;@ ]", line, maxsplit=1)[0]: line for line in lines}


def find_interpreter(version: str) -> str | None:
    """Path of a Python of that minor version, if there is one that starts."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    for path in filter(None, found):
        if subprocess.run([path, "-c", "import ssl, sqlite3"], capture_output=True).returncode == 0:
            return path
    return None


def set_up(combination: Combination, python: str) -> None:
    """Make the environment, or bring it up to date.

    :param python: path of the interpreter.
    :raises subprocess.CalledProcessError: if a package cannot be installed, or packages do not go together.
    """
    pins, installed = combination.pins(), combination.folder / "pins.txt"
    if installed.exists() and installed.read_text() == pins:
        return
    subprocess.run([python, "-m", "venv", "--clear", str(combination.folder)], check=True)
    wanted = combination.folder / "wanted.txt"
    wanted.write_text(pins)
    pip = [combination.interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--requirement", str(wanted)], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--editable", str(REPOSITORY)], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "check"], check=True)
    wanted.rename(installed)


def run_tests(combination: Combination, tests: list[str], sdk: Combination) -> str:
    """Run the tests and return how they ended, in a few words.

    :param sdk: the combination whose Python has the SDK.
    """
    log = combination.folder / "tests.log"
    started = time.monotonic()
    with open(log, "wb") as output:
        in_two = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]  # as the Makefile does
        command = [combination.interpreter, "-m", "pytest", "-p", "no:cacheprovider", *in_two, *tests]
        environment = os.environ | ({} if sdk == combination else {"AMLBATCH_SDK_PYTHON": sdk.interpreter})
        code = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output).returncode
    closing = re.findall(r"^=+ (.* in .*) =+$", log.read_text(errors="replace"), re.MULTILINE)
    ended = closing[-1] if closing else f"ended with {code}"
    minutes = (time.monotonic() - started) / 60
    return f"{ended} ({minutes:.1f} min)" if code == 0 else f"FAILED: {ended}; see {log.relative_to(REPOSITORY)}"


def main() -> int:
    """Run what is asked for and print one line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", nargs="+", choices=AIRFLOWS, default=AIRFLOWS)
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS)
    parser.add_argument("tests", nargs="*", default=TESTS, help="what pytest is given")
    asked = parser.parse_args()
    failed = False
    for combination in [Combination(airflow, python) for airflow in asked.airflow for python in asked.python]:
        python = find_interpreter(combination.python)
        if python is None:
            print(f"{combination}: skipped, this machine has no Python {combination.python}", flush=True)
            continue
        sdk = Combination(combination.airflow, SDK_PYTHON)
        sdk_python = find_interpreter(sdk.python)
        if sdk_python is None:
            print(f"{combination}: skipped, this machine has no Python {sdk.python} for the SDK", flush=True)
            continue
        try:
            set_up(sdk, sdk_python)
            set_up(combination, python)
            ended = run_tests(combination, list(asked.tests), sdk)
        except subprocess.CalledProcessError as error:
            ended = f"FAILED: {' '.join(map(str, error.cmd))}"
        failed |= ended.startswith("FAILED")
        print(f"{combination}: {ended}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
