"""The main job, as a user has it: the DAG of ``dags/batch_scoring.py`` with real data and a real model."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.testing import ServedEmulator
from sample import Sample, save_model

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def prepared(emulator: ServedEmulator, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample, with its model registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
        model = save_model(sample, tmp_path_factory.mktemp("model"))
        AzureMLRegisterModelOperator(task_id="register", model_name="breast-cancer", model_path=str(model)).execute({})
    return sample


def test_predictions_are_the_models_own_and_a_second_run_reuses_model_and_pipeline(run_dag, prepared, tmp_path):
    save_model(prepared, tmp_path / "sample")
    result = run_dag(DAGS / "batch_scoring.py", "batch_scoring", AMLBATCH_DEMO=str(tmp_path / "sample"))

    assert result.state == "success", result.tasks
    table = pq.read_table(result.returned["collect"]["uri"]).to_pydict()
    collected = dict(zip(table["file"], table["prediction"], strict=True))
    assert len(table["file"]) == len(prepared.rows)
    assert collected == prepared.predictions()
    assert Path(result.returned["draw"]).read_bytes().startswith(b"\x89PNG")

    again = run_dag(DAGS / "batch_scoring.py", "batch_scoring", AMLBATCH_DEMO=str(tmp_path / "sample"))
    assert again.returned["register"] == result.returned["register"] | {"created": False}
    assert again.returned["publish"]["id"] == result.returned["publish"]["id"]
    assert again.returned["invoke"] != result.returned["invoke"]


def test_a_failing_script_fails_the_dag_and_its_traceback_is_in_the_log(run_dag, prepared, tmp_path, capfd):
    save_model(prepared, tmp_path / "sample")
    dag = Path(__file__).parent / "dags" / "failing_script.py"
    result = run_dag(dag, "failing_script", AMLBATCH_DEMO=str(tmp_path / "sample"))

    assert result.state == "failed"
    assert result.tasks["invoke"] == "failed"
    assert result.tasks["collect"] == "upstream_failed"
    log = capfd.readouterr()
    said = log.out + log.err
    assert "raise_on_one_file.py" in said
    assert "ValueError: patient-007.csv cannot be scored" in said


def test_the_whole_job_in_one_call_compares_the_rows_with_the_inputs(run_dag, prepared, tmp_path):
    one_call = DAGS / "batch_scoring_in_one_call.py"
    result = run_dag(one_call, "batch_scoring_in_one_call", AIRFLOW_VAR_RESULTS=str(tmp_path))

    assert result.state == "success", result.tasks
    collected = result.returned["score_patients.collect"]
    assert collected["rows"] == len(prepared.rows)
    assert Path(collected["uri"]).parent == tmp_path
    assert collected["reconciliation"]["inputs"] == len(prepared.rows)
    assert collected["reconciliation"]["complete"] == 1.0
    assert collected["reconciliation"]["problems"] == []
