"""What Airflow learns of the provider, judged by Airflow's own schemas and managers."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow_names import AIRFLOW_VERSION

import airflow_provider_amlbatch
from airflow_provider_amlbatch.get_provider_info import get_provider_info

AIRFLOW = Path(airflow.__file__).parent
PACKAGE = airflow_provider_amlbatch.__name__


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(*rooms: str) -> list[str]:
    found = []
    for room in rooms:
        package = importlib.import_module(f"{PACKAGE}.{room}")
        found += [f"{PACKAGE}.{room}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    return found


def test_the_metadata_fit_the_runtime_schema() -> None:
    jsonschema.validate(get_provider_info(), json.loads((AIRFLOW / "provider_info.schema.json").read_text()))


def test_the_connection_fits_the_stricter_build_schema() -> None:
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    part = schema["properties"]["connection-types"] | {"definitions": schema.get("definitions", {})}
    jsonschema.validate(get_provider_info()["connection-types"], part)


def test_every_module_that_the_metadata_name_exists_and_none_is_forgotten() -> None:
    info: dict[str, Any] = get_provider_info()
    for kind in ("operators", "sensors", "hooks", "triggers"):
        named = {name for entry in info[kind] for name in entry["python-modules"]}
        for name in named:
            importlib.import_module(name)
        defining = {name for name in modules(kind) if _public_classes(name)}
        bases = {f"{PACKAGE}.operators.awaiting"}
        assert defining - bases == named
    for path in (*info["extra-links"], info["plugins"][0]["plugin-class"]):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def _public_classes(module: str) -> list[type]:
    loaded = importlib.import_module(module)
    return [
        member
        for name, member in inspect.getmembers(loaded, inspect.isclass)
        if member.__module__ == module and name.startswith("AzureML")
    ]


def test_the_entry_points_import_nothing_while_airflow_configures_itself() -> None:
    told = run(
        "import sys; import airflow.configuration\n"
        "from airflow_provider_amlbatch.get_provider_info import get_provider_info; get_provider_info()\n"
        f"print(sorted(m for m in sys.modules if m.startswith('{PACKAGE}')))"
    )
    assert told.strip().splitlines()[-1] == str([PACKAGE, f"{PACKAGE}.get_provider_info"])


def test_airflow_lists_the_provider_its_connection_type_and_its_timetable() -> None:
    airflow_command = str(Path(sys.executable).parent / "airflow")

    def told(*arguments: str) -> str:
        return subprocess.run(
            [airflow_command, *arguments], capture_output=True, text=True, check=True, timeout=120
        ).stdout

    assert "airflow-provider-amlbatch" in told("providers", "list", "--output", "json")
    listed = told("providers", "hooks", "--output", "plain")
    (ours,) = [line for line in listed.splitlines() if line.startswith("azureml ")]
    assert "AzureMLBatchHook" in ours
    assert "Error" not in ours
    assert "AzureMLRecurrenceTimetable" in told("plugins", "--output", "json")


def test_the_two_descriptions_of_the_connection_form_name_the_same_fields() -> None:
    from airflow_provider_amlbatch.aml.settings import SOURCES

    (connection,) = get_provider_info()["connection-types"]  # type: ignore[misc]
    assert set(connection["conn-fields"]) == set(SOURCES.values()) - {"login", "password"}


@pytest.mark.parametrize(
    "operator",
    [found for module in modules("operators", "sensors") for found in _public_classes(module)],
    ids=lambda operator: operator.__name__,
)
def test_what_is_templated_says_so(operator: type) -> None:
    fields = set(getattr(operator, "template_fields", ()))
    told = dict(re.findall(r":param (\w+):(.*?)(?=:param |:raises |\n\n|\Z)", inspect.getdoc(operator) or "", re.S))
    assert {name for name, text in told.items() if "(templated)" in text} == fields & set(told)


def triggers() -> list[type]:
    return [trigger for module in modules("triggers") for trigger in _public_classes(module)]


@pytest.mark.parametrize("trigger", triggers(), ids=lambda trigger: trigger.__name__)
def test_a_trigger_is_rebuilt_from_what_it_serialises(trigger: type) -> None:
    if trigger.__name__.endswith("EventTrigger") and AIRFLOW_VERSION < (3, 3):
        pytest.skip("asset watchers keep their position from Airflow 3.3 on")
    needed = {name: _some(parameter) for name, parameter in _needed(trigger).items()}

    async def build() -> Any:
        return trigger(**needed)

    path, arguments = asyncio.run(build()).serialize()
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is trigger
    arguments = json.loads(json.dumps(arguments))

    async def rebuild() -> Any:
        return trigger(**arguments)

    assert asyncio.run(rebuild()).serialize() == (path, arguments)


def _needed(trigger: type) -> dict[str, inspect.Parameter]:
    """The parameters without a default of a trigger, and of the bases that its ``**options`` go to."""
    needed: dict[str, inspect.Parameter] = {}
    for owner in trigger.__mro__:
        if not owner.__module__.startswith(PACKAGE):
            break
        if "__init__" not in vars(owner):
            continue
        parameters = inspect.signature(owner).parameters
        needed |= {
            name: one for name, one in parameters.items() if one.default is one.empty and one.kind != one.VAR_KEYWORD
        }
        if not any(one.kind == one.VAR_KEYWORD for one in parameters.values()):
            break
    return needed


def _some(parameter: inspect.Parameter) -> Any:
    said = str(parameter.annotation)
    return 1 if "int" in said or "float" in said else {} if "dict" in said or "Mapping" in said else "x"


@pytest.mark.parametrize(
    "heavy", ["azureml", "pandas", "pyarrow", "numpy", "fastapi", "azure.identity", "azure.storage"]
)
def test_a_dag_file_pulls_in_nothing_heavy(heavy: str) -> None:
    rooms = [f"import {name}" for name in modules("operators", "sensors", "triggers", "links", "timetables", "hooks")]
    code = "\n".join([*rooms, f"import {PACKAGE}.task_groups, sys", f"print({heavy!r} in sys.modules)"])
    base = "from airflow.sdk import DAG, BaseOperator, BaseHook\nimport airflow.triggers.base, airflow.timetables.base"
    assert run(f"{base}, sys\nprint({heavy!r} in sys.modules)").endswith("False\n"), "Airflow itself loads it"
    assert run(code).endswith("False\n")
