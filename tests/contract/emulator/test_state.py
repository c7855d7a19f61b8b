"""State folders of other versions: read as they are, or refused with advice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.state import FORMAT, StateFolder
from airflow_provider_amlbatch.testing import serving

AMLBATCH = str(Path(sys.executable).parent / "amlbatch")

#: Documents as the first emulator of this format wrote them, by collection; fields that came later are not there.
FIRST: dict[str, list[dict[str, Any]]] = {
    "experiments": [{"experimentId": "e", "name": "old", "createdUtc": "2026-11-01T10:00:00.0000000Z", "runs": 2}],
    "runs": [
        {
            "runId": "by-hand",
            "runNumber": 1,
            "rootRunId": "by-hand",
            "experimentId": "e",
            "createdUtc": "2026-11-01T10:00:00.0000000Z",
            "status": "Completed",
            "runType": "azureml.scriptrun",
            "properties": {},
            "tags": {"kind": "old"},
            "inputDatasets": [],
            "outputDatasets": [],
            "warnings": [],
        },
        {"runId": "step", "runNumber": 2, "rootRunId": "run", "parentRunId": "run", "experimentId": "e",
         "createdUtc": "2026-11-01T10:00:00.0000000Z", "runType": "azureml.StepRun", "properties": {}, "tags": {}},
    ],
    "environments": [{"name": "old", "version": "1", "environmentVariables": {"A": "b"}}],
    "datasets": [
        {
            "datasetId": "d",
            "name": "old",
            "versions": [
                {"datasetId": "d", "name": "old", "datasetType": "tabular",
                 "latest": {"versionId": "1", "savedDatasetId": "s", "dataflow": "{}"}},
            ],
        }
    ],
}  # fmt: skip
KEYS = {"experiments": "experimentId", "runs": "runId", "environments": "name", "datasets": "datasetId"}


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder of the first emulator of this format, written by hand."""
    identity = {
        "subscription_id": "00000000-0000-0000-0000-000000000001", "resource_group": "emulator",
        "workspace_name": "emulator", "location": "local", "workspace_id": "w", "tenant_id": "adfs",
        "account_name": "emulatorstore", "account_key": "a2V5", "client_id": "c", "client_secret": "s",
        "object_id": "o", "signing_key": "00" * 32, "format": 1,
    }  # fmt: skip
    (tmp_path / "emulator.json").write_text(json.dumps(identity))
    with sqlite3.connect(tmp_path / "emulator.db") as database:
        for name, documents in FIRST.items():
            database.execute(
                f'CREATE TABLE "{name}" '
                "(seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL)"
            )
            for document in documents:
                key = f"{document['name']}:1" if name == "environments" else str(document[KEYS[name]])
                database.execute(f'INSERT INTO "{name}" (key, body) VALUES (?, ?)', (key, json.dumps(document)))
    database.close()
    return tmp_path


def test_a_folder_of_the_first_emulator_of_this_format_is_read(first: Path) -> None:
    with serving(first) as emulator, emulator.session() as session:

        def get(path: str) -> dict[str, Any]:
            answer = session.get(emulator.url + path.format(emulator.scope))
            assert answer.ok, answer.text
            document: dict[str, Any] = answer.json()
            return document

        assert get("/history/v1.0{}/experiments/old/runs/by-hand")["tags"] == {"kind": "old"}
        assert get("/history/v1.0{}/experiments/old/runs/step/details").get("runDefinition") is None
        variables = {"A": "b"}
        assert get("/environment/v1.0{}/environments/old/versions/1")["environmentVariables"] == variables
        assert get("/dataset/v1.0{}/datasets/query/name=old")["datasetId"] == "d"


def test_a_folder_of_another_format_is_refused_in_one_sentence_whose_advice_works(first: Path) -> None:
    def amlbatch(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [AMLBATCH, "emulator", *arguments, "--state", str(first)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    file = first / "emulator.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": FORMAT - 1}))
    refused = amlbatch("start")
    assert refused.returncode == 1
    said = refused.stderr.strip()
    assert said.count("\n") == 0
    assert f"format {FORMAT - 1}" in said
    assert "--state" in said
    assert "amlbatch emulator reset" in said
    assert (first / "emulator.db").exists(), "what is refused is left as it is"
    assert amlbatch("reset", "--yes").returncode == 0
    assert StateFolder(first).open().format == FORMAT
