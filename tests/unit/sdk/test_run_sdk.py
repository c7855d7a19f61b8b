"""``run_sdk()`` leaves a folder as it found it."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_amlbatch.testing import run_sdk

VARIABLES = dict.fromkeys(("AZUREML_SUBSCRIPTION_ID", "AZUREML_RESOURCE_GROUP", "AZUREML_WORKSPACE_NAME"), "emulator")
READ = "import json; print(json.load(open('config.json'))['workspace_name'])"


def test_a_configuration_of_ones_own_is_put_back(tmp_path: Path) -> None:
    own = tmp_path / "config.json"
    own.write_text('{"workspace_name": "production"}')
    assert run_sdk(READ, VARIABLES, cwd=tmp_path).stdout == "emulator\n"
    assert own.read_text() == '{"workspace_name": "production"}'


def test_none_is_left_behind(tmp_path: Path) -> None:
    assert run_sdk(READ, VARIABLES, cwd=tmp_path / "new").stdout == "emulator\n"
    assert list((tmp_path / "new").iterdir()) == []
