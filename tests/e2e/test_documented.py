"""The test that the page on testing shows, run as it stands there."""

# --8<-- [start:ten-lines]
import csv
from pathlib import Path

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag

from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

DAG_FILE = Path(__file__).parent / "dags" / "add_up.py"


def test_my_dag(emulator, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
    monkeypatch.setenv("SUMS", str(tmp_path / "sums.csv"))
    container = AzureMLBatchHook().container_client("workspaceblobstore")
    container.upload_blob("numbers/a.csv", b"1,2,3", overwrite=True)
    container.upload_blob("numbers/b.csv", b"10,20", overwrite=True)

    dag_run = DagBag(dag_folder=str(DAG_FILE)).dags["add_up"].test()

    assert dag_run.state == "success"
    with open(tmp_path / "sums.csv") as table:
        assert {row["file"]: row["total"] for row in csv.DictReader(table)} == {"a.csv": "6", "b.csv": "30"}


# --8<-- [end:ten-lines]
import pytest  # noqa: E402 - what the page need not show

pytestmark = pytest.mark.usefixtures("airflow_home")
