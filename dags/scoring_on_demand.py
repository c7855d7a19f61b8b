"""Score a folder that a person names in the form behind *Trigger*, with the settings chosen there.

What the form allows is checked by Airflow before the DAG runs; what the pipeline declares is checked before it is
invoked. The values travel as pipeline parameters, so nothing is published anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()
FORM = {
    "folder": Param(
        "breast-cancer",
        type="string",
        pattern=r"^[\w-]+(/[\w-]+)*$",
        title="Folder",
        description="Folder of the datastore workspaceblobstore whose files are scored, without a slash at its ends.",
    ),
    "threshold": Param(
        0.5,
        type="number",
        minimum=0,
        maximum=1,
        title="Threshold",
        description="Probability from which on a tumour is called benign.",
    ),
    "mini_batch_size": Param(
        20, type="integer", enum=[5, 10, 20, 50], title="Mini-batch size", description="Files per call of run()."
    ),
    "node_count": Param(
        1, type="integer", minimum=1, maximum=2, title="Nodes", description="Machines of the cluster to use."
    ),
}

# --8<-- [start:definition]
score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_with_threshold.py",
    arguments=["--threshold", Parameter("threshold", 0.5)],
    inputs=[Input("patients", path="breast-cancer/*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    mini_batch_size=Parameter("mini_batch_size", 20),
    node_count=Parameter("node_count", 1),
    error_threshold=0,
)
# --8<-- [end:definition]

with DAG("scoring_on_demand", schedule=None, params=FORM, tags=["azureml"], doc_md=__doc__) as dag:
    azureml_batch_inference(
        "score",
        model_name="breast-cancer",
        model_path=str(SAMPLE / "model.joblib"),
        pipeline=BatchPipeline("score-on-demand", score),
        experiment_name="on-demand",
        invoke={
            "data_paths": {"folder": "workspaceblobstore/{{ params.folder }}"},
            "parameters": {name: f"{{{{ params.{name} }}}}" for name in ("threshold", "mini_batch_size", "node_count")},
            "poll_interval": 2,
        },
        collect={
            "kind": "csv",
            "header": False,
            "columns": ["file", "label", "probability"],
            "input_path": "{{ params.folder }}",
            "require_complete": True,
        },
        destination=str(SAMPLE.parent / "results" / "on-demand-{{ run_id | replace(':', '-') }}.parquet"),
    )
