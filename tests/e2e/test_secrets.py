"""Nothing secret stays behind in what tasks log and write, nor in any table of Airflow's database."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from airflow_provider_amlbatch.aml import datastore
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.testing import ServedEmulator
from sample import DATASTORE, make_sample, save_model, upload_rows

DAGS = Path(__file__).resolve().parents[2] / "dags"
#: A signed token, and the signature of a URL.
TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
SIGNATURE = re.compile(r"[?&;]sig=(?!\*)[\w%+/-]{10,}")


@pytest.fixture
def secrets(emulator: ServedEmulator) -> list[str]:
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    storage = session.send(datastore.get_datastore(DATASTORE)).azure_storage_section
    assert storage is not None
    known = [json.loads(emulator.connection_json)["password"], storage.account_key or storage.credential]
    assert all(known)
    sample = make_sample()
    upload_rows(sample, AzureMLBatchHook(session=session).container_client(DATASTORE))
    return [str(secret) for secret in known]


def dumped(airflow_home: Path) -> str:
    with sqlite3.connect(airflow_home / "airflow.db") as database:
        return "\n".join(database.iterdump())


@pytest.mark.parametrize(("dag_id", "state"), [("batch_scoring", "success"), ("notify_on_failure", "failed")])
def test_nothing_secret_stays_behind(run_dag, secrets, airflow_home, tmp_path, capfd, caplog, dag_id, state):
    save_model(make_sample(), tmp_path / "sample")
    assert run_dag(DAGS / f"{dag_id}.py", dag_id, AMLBATCH_DEMO=str(tmp_path / "sample")).state == state

    captured = capfd.readouterr()
    written = [path.read_text() for path in tmp_path.rglob("*.jsonl")]
    places = {
        "log": captured.out + captured.err + caplog.text,
        "database": dumped(airflow_home),
        "files": "\n".join(written),
    }
    assert dag_id in places["log"]
    assert "/studio/runs/" in places["database"], "XCom is in the dump"
    assert "pipeline_id" in places["database"], "rendered fields are in the dump"
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, place
        assert not TOKEN.search(text), place
        assert not SIGNATURE.search(text), place
