"""Every DAG of the gallery, run as a user has it, with real data and a real model.

``batch_scoring.py`` and ``batch_scoring_in_one_call.py`` have a module of their own.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow_names import AIRFLOW_VERSION, DagBag, ParamValidationError

from airflow_provider_amlbatch.aml import pipelines
from sample import Sample, save_model

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture
def run_example(run_dag: Callable[..., Any], sample: Sample, tmp_path: Path) -> Callable[..., Any]:
    """Run a DAG of the gallery whose model and results lie in a folder of the test."""
    save_model(sample, tmp_path / "sample")

    def run(name: str, dag_id: str | None = None, **options: Any) -> Any:
        return run_dag(DAGS / f"{name}.py", dag_id or name, AMLBATCH_DEMO=str(tmp_path / "sample"), **options)

    return run


def read(path: Path | str) -> dict[str, list[Any]]:
    return pq.read_table(path).to_pydict()


def labels_by_file(path: Path | str, column: str = "prediction") -> dict[str, int]:
    table = read(path)
    return dict(zip(table["file"], table[column], strict=True))


def test_daily_scoring_scores_the_folder_of_its_data_interval_and_nothing_else(run_example, sample, tmp_path):
    result = run_example("daily_scoring", logical_date=datetime(2026, 11, 3, 2, tzinfo=UTC))

    assert result.state == "success", result.tasks
    wanted = {name: label for name, label in sample.predictions().items() if name.startswith("patient-00")}
    assert labels_by_file(tmp_path / "results" / "daily" / "2026-11-02.parquet") == wanted
    assert len(wanted) == 10


def test_what_the_form_says_reaches_the_script(run_example, sample, session):
    chosen = {"threshold": 0.9, "mini_batch_size": 50, "node_count": 2}
    result = run_example("scoring_on_demand", run_conf=chosen)

    assert result.state == "success", result.tasks
    probabilities = {name: sample.model.predict_proba(row.reshape(1, -1))[0, 1] for name, row in sample.rows.items()}
    table = result.returned["score.collect"]["uri"]
    assert labels_by_file(table, "label") == {name: int(p >= 0.9) for name, p in probabilities.items()}
    assert labels_by_file(table, "label") != sample.predictions()
    (run,) = session.send(pipelines.list_runs_of_pipeline(result.returned["score.publish"]["id"]))
    assert run.parameter_assignments == {"threshold": "0.9", "mini_batch_size": "50", "node_count": "2"}


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"mini_batch_size": 7}, {"node_count": 3}, {"folder": "a/"}])
def test_the_form_refuses_what_makes_no_sense(run_example, wrong):
    with pytest.raises((ParamValidationError, ValueError), match="Invalid input for param"):  # 3.2 raises the latter
        run_example("scoring_on_demand", run_conf=wrong)


def test_each_store_has_its_own_run_and_table(run_example, sample, tmp_path):
    result = run_example("score_many_stores")

    assert result.state == "success", result.tasks
    assert result.returned["total"] == 30
    assert len(set(result.returned["score_store.invoke"])) == 3
    for number, store in enumerate(["berlin", "oslo", "paris"]):
        beginning = f"patient-0{number}"
        wanted = {name: label for name, label in sample.predictions().items() if name.startswith(beginning)}
        assert labels_by_file(tmp_path / "results" / "stores" / f"{store}.parquet") == wanted


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 2), reason="there, dag.test() counts mapped tasks by the DAG's first version")
def test_a_single_store_is_no_special_case(run_example, tmp_path):
    result = run_example("score_many_stores", AMLBATCH_STORES="rome")

    assert result.state == "success", result.tasks
    assert result.returned["total"] == 10
    assert len(read(tmp_path / "results" / "stores" / "rome.parquet")["file"]) == 10


def test_a_retrained_model_is_tried_and_then_scores_through_the_endpoint(run_example, sample, session, tmp_path):
    result = run_example("retrain_and_score", run_conf={"C": 0.001})

    assert result.state == "success", result.tasks
    model = joblib.load(tmp_path / "retrained.joblib")
    table = read(tmp_path / "results" / "retrained.parquet")
    rows = np.stack([sample.rows[name] for name in table["file"]])
    assert len(table["file"]) == len(sample.rows)
    np.testing.assert_allclose(table["probability"], model.predict_proba(rows)[:, 1], atol=1e-6)
    published = result.returned["publish"]
    runs = {run.id for run in session.send(pipelines.list_runs_of_pipeline(published["id"]))}
    assert len(runs - {result.returned["invoke"]}) == 1, "one trial run, and the run that counts"
    endpoint = session.send(pipelines.get_endpoint_by_name("breast-cancer-live"))
    assert {v.version: v.pipeline_id for v in endpoint.pipeline_version_list}[endpoint.default_version] == (
        published["id"]
    )


def test_the_consumer_works_on_what_the_events_tell(run_example, sample, tmp_path):
    produced = run_example("consume_predictions", "produce_predictions")
    consumed = run_example("consume_predictions", "consume_predictions")

    assert (produced.state, consumed.state) == ("success", "success")
    counted = np.unique(list(sample.predictions().values()), return_counts=True)
    of_last = {
        "run_id": produced.returned["score.invoke"],
        "classes": {str(label): int(count) for label, count in zip(*counted, strict=True)},
    }
    assert consumed.returned["count_classes"] == [of_last]

    # Airflow may start one run for several events.
    module = runpy.run_path(str(DAGS / "consume_predictions.py"))
    told = []
    for run, labels in {"r1": ["0", "1", "1"], "r2": ["1"]}.items():
        table = pa.table({"file": [f"{number}.csv" for number in range(len(labels))], "prediction": labels})
        pq.write_table(table, tmp_path / f"{run}.parquet")
        extra = {"run_id": run, "uri": str(tmp_path / f"{run}.parquet"), "rows": len(labels)}
        told.append(SimpleNamespace(extra=extra))
    events = SimpleNamespace(get=lambda asset: {module["predictions"].name: told}[asset.name])
    count_classes = module["consume"].get_task("count_classes").python_callable
    assert count_classes(triggering_asset_events=events, inlet_events={}) == [
        {"run_id": "r1", "classes": {"0": 1, "1": 2}},
        {"run_id": "r2", "classes": {"1": 1}},
    ]


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="there, dag.test() gives callbacks no exception")
def test_people_are_told_which_run_failed_and_why(run_example, session, tmp_path):
    result = run_example("notify_on_failure")

    assert result.state == "failed"
    assert result.tasks["score.collect"] == "upstream_failed"
    (alert,) = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    (run,) = session.send(pipelines.list_runs_of_pipeline(result.returned["score.publish"]["id"]))
    assert (alert["task"], alert["azure_run"]) == ("notify_on_failure.score.invoke", run.id)
    assert f"/runs/{run.id}?" in alert["link"]
    assert "ValueError: patient-007.csv has no features that could be scored" in alert["why"]
    assert "Reason: 10 failed items exceed error_threshold=0." in alert["why"]
    assert alert["why"].count("please check logs for details") == 1


def test_every_file_parses_and_says_what_it_is(airflow_home):
    bag = DagBag(dag_folder=str(DAGS))

    assert not bag.import_errors
    files = {path.stem for path in DAGS.glob("*.py")}
    assert {Path(dag.fileloc).stem for dag in bag.dags.values()} == files
    assert [dag_id for dag_id, dag in bag.dags.items() if not dag.doc_md] == []
