"""Environments, judged by the SDK."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
from pathlib import Path
from azureml.core import Environment

Path("conda.yml").write_text("name: e\\ndependencies:\\n- python=3.11\\n- pip:\\n  - pandas\\n")
made = Environment.from_conda_specification("scoring", "conda.yml")
made.environment_variables = {"Upper_lower": "1"}
made.docker.base_image = "mcr.microsoft.com/x"
first = made.register(ws)
same = made.register(ws)
made.environment_variables["MORE"] = "2"
second = made.register(ws)
found = Environment.get(ws, "scoring")
report(
    versions=[first.version, same.version, second.version, found.version],
    variables=found.environment_variables,
    old=Environment.get(ws, "scoring", version="1").environment_variables,
    packages=list(found.python.conda_dependencies.pip_packages),
    image=found.docker.base_image,
)

made.version = "2026-11"
named = made.register(ws)
Environment.label(ws, "scoring", "1", ["prod"])
report(
    named=[named.version, Environment.get(ws, "scoring", version="2026-11").version],
    labeled=[Environment.get(ws, "scoring", label=label).version for label in ("prod", "Latest")],
    curated=Environment.get(ws, "AzureML-Minimal").name,
    listed=[name for name in Environment.list(ws) if not name.startswith("AzureML")],
    known="AzureML-Minimal" in ws.environments,
)

def failure(action):
    try:
        action()
    except Exception as error:
        return str(error)

reserved = Environment("AzureML-mine")
report(
    missing=failure(lambda: Environment.get(ws, "absent")),
    no_version=failure(lambda: Environment.get(ws, "scoring", version="9")),
    reserved=failure(lambda: reserved.register(ws)),
    image_details=failure(lambda: found.get_image_details(ws)),
    build=failure(lambda: found.build(ws)),
)
"""


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_a_change_makes_a_version_and_no_change_makes_none(said: dict[str, Any]) -> None:
    assert said["versions"] == ["1", "1", "2", "2"]
    assert said["variables"] == {"Upper_lower": "1", "MORE": "2"}
    assert said["old"] == {"Upper_lower": "1"}
    assert said["packages"] == ["pandas"]
    assert said["image"] == "mcr.microsoft.com/x"


def test_versions_can_be_named_and_labeled(said: dict[str, Any]) -> None:
    assert said["named"] == ["2026-11", "2026-11"]
    assert said["labeled"] == ["1", "2026-11"]


def test_lists_its_own_and_curated_ones(said: dict[str, Any]) -> None:
    assert said["curated"] == "AzureML-Minimal"
    assert said["listed"] == ["scoring"]
    assert said["known"]


def test_refuses_what_is_not_there_or_not_done(said: dict[str, Any]) -> None:
    assert "'absent' was not found" in said["missing"]
    assert "Version '9'" in said["no_version"]
    assert "reserved" in said["reserved"]
    for field in ("image_details", "build"):
        assert "builds no images" in said[field]


def test_a_version_is_not_replaced_by_another(emulator: ServedEmulator) -> None:
    session = emulator.session()
    url = f"{emulator.url}/environment/v1.0{emulator.scope}/environments/fixed/versions/1"
    assert session.put(url, json={"Name": "fixed", "python": {"interpreterPath": "a"}}).status_code == 200
    assert session.put(url, json={"Name": "fixed", "python": {"interpreterPath": "a"}}).status_code == 200
    assert session.put(url, json={"Name": "fixed", "python": {"interpreterPath": "b"}}).status_code == 409
    assert session.get(url).json()["python"] == {"interpreterPath": "a"}


def test_lists_are_paged(emulator: ServedEmulator) -> None:
    session = emulator.session()
    url = f"{emulator.url}/environment/v1.0{emulator.scope}/environments/"
    for number in range(120):
        emulator.services.environments.register(f"page-{number:03}", None, {"Name": "x"})
    names, token = [], None
    for _ in range(3):
        page = session.get(url, params={"continuation": token} if token else {}).json()
        names += [entry["name"] for entry in page["value"]]
        token = page["continuationToken"]
        if token is None:
            break
    assert token is None
    assert [name for name in names if name.startswith("page-")] == [f"page-{number:03}" for number in range(120)]
