"""The whole job in one call: publish the pipeline unless it is published already, invoke it, wait, collect.

The model `breast-cancer` is registered elsewhere. The Variable `results` names the folder that takes the tables.
"""

from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.task_groups import azureml_batch_inference

score = ParallelRun(
    name="score",
    source_directory=Path(__file__).parent / "scoring",
    entry_script="score_breast_cancer.py",
    inputs=[Input("patients", datastore="workspaceblobstore", path="breast-cancer/*.csv")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    mini_batch_size=20,
    error_threshold=0,
)

with DAG("batch_scoring_in_one_call", schedule="@daily", catchup=False, max_active_runs=1, doc_md=__doc__) as dag:
    azureml_batch_inference(
        "score_patients",
        pipeline=BatchPipeline("score-patients", score),
        experiment_name="breast-cancer",
        destination="{{ var.value.get('results', '/tmp') }}/predictions-{{ dag_run.run_after | ds }}.parquet",
        collect={
            "columns": ["file", "prediction"],
            "input_path": "breast-cancer/*.csv",
            "require_complete": True,
        },
    )
