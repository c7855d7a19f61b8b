"""Two DAGs: one scores and publishes its table as an Asset, the other starts by itself and works on what came.

The Asset's events carry run id, place, row count and the comparison with the inputs. The consumer reads the tables of
those events that started it, which may be several, and never "the latest file".
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, Asset, task

from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()
predictions = Asset("breast_cancer_predictions", uri="amlbatch://breast-cancer/predictions")

score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_breast_cancer.py",
    inputs=[Input("patients", path="breast-cancer/*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG("produce_predictions", schedule=None, tags=["azureml"], doc_md=__doc__) as produce:
    azureml_batch_inference(
        "score",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        pipeline=BatchPipeline("score-folder", score),
        experiment_name="predictions",
        invoke={"poll_interval": 2},
        collect={
            "columns": ["file", "prediction"],
            "input_path": "breast-cancer/*.csv",
            "require_complete": True,
            "outlets": [predictions],
        },
        destination=str(SAMPLE.parent / "results" / "produced-{{ run_id | replace(':', '-') }}.parquet"),
    )

with DAG("consume_predictions", schedule=[predictions], tags=["azureml"], doc_md=__doc__) as consume:

    @task(inlets=[predictions])
    def count_classes(*, triggering_asset_events: dict, inlet_events: dict) -> list[dict[str, object]]:
        """Count how often each class was predicted in each new table; started by hand, in the last one."""
        import pyarrow.parquet as pq

        results: list[dict[str, object]] = []
        for event in triggering_asset_events.get(predictions) or [inlet_events[predictions][-1]]:
            told = event.extra
            table = pq.read_table(told["uri"])
            if table.num_rows != told["rows"]:
                raise ValueError(f"{told['uri']} has {table.num_rows} rows, run {told['run_id']} wrote {told['rows']}.")
            counted = table["prediction"].value_counts().to_pylist()
            classes = {str(item["values"]): item["counts"] for item in counted}
            results.append({"run_id": told["run_id"], "classes": classes})
        return results

    count_classes()
