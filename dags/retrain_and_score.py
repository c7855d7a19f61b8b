"""Retrain, register, publish, try the new pipeline on a few files, and only then let the endpoint follow and score.

The pipeline names the model's version, so each new model makes a new version of the pipeline. When its trial run fails,
the task `publish` fails, and the endpoint `breast-cancer-live` goes on serving the version before.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, Param, task

from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.pipelines import AzureMLInvokePipelineOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator
from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun

SAMPLE = Path(os.environ.get("AMLBATCH_DEMO", ".demo/sample")).absolute()

score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_with_threshold.py",
    arguments=["--model_version", "{{ ti.xcom_pull('register')['version'] }}"],
    inputs=[Input("patients", path="breast-cancer/patient-00*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)

with DAG(
    "retrain_and_score",
    schedule=None,
    params={"C": Param(0.1, type="number", exclusiveMinimum=0, description="Inverse of the regularisation.")},
    max_active_runs=1,
    tags=["azureml"],
    doc_md=__doc__,
) as dag:

    @task
    def train(params: dict) -> str:
        """Train on the half of the data that is not scored; in real life a training job."""
        import joblib
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        data, target = load_breast_cancer(return_X_y=True)
        rows, _, labels, _ = train_test_split(data, target, test_size=0.5, random_state=7)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=params["C"], max_iter=1000)).fit(rows, labels)
        path = SAMPLE.parent / "retrained.joblib"
        joblib.dump(model, path)
        return str(path)

    register = AzureMLRegisterModelOperator(task_id="register", model_name="breast-cancer", model_path=train())
    publish = AzureMLPublishPipelineOperator(
        task_id="publish",
        pipeline=BatchPipeline("score-retrained", score).to_json(),  # in this form its texts are templates
        endpoint="breast-cancer-live",
        validate_with={},  # the pipeline's own defaults: ten files
        poll_interval=2,
    )
    invoke = AzureMLInvokePipelineOperator(
        task_id="invoke",
        pipeline_endpoint="breast-cancer-live",
        experiment_name="live",
        data_paths={"folder": "workspaceblobstore/breast-cancer"},
        poll_interval=2,
    )
    collect = AzureMLCollectResultsOperator(
        task_id="collect",
        run_id=invoke.output,
        kind="csv",
        header=False,
        columns=["file", "label", "probability"],
        input_path="breast-cancer",
        require_complete=True,
        destination=str(SAMPLE.parent / "results" / "retrained.parquet"),
    )
    register >> publish >> invoke
