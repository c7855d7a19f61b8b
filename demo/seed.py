"""Fill a workspace so that every DAG of ``dags/`` finds what it needs: ``make up`` does it before Airflow starts.

Registers the model, publishes the pipeline endpoint ``score-patients``, and makes three schedules of it: one that fires
every quarter of an hour, one that fires for new files, and one that is disabled, because Airflow has taken it over. Two
folders of new files wait in ``incoming``. What is there already is left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.scheduling import (
    BlobTrigger,
    ScheduleChange,
    ensure_schedule,
    find_schedule,
    switch_schedule,
)
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.target import find_target
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from sample import DATASTORE, as_csv, make_sample, save_model, upload_rows

#: The pipeline endpoint, and the schedule that ``mirror_azure_schedule.py`` follows.
ENDPOINT = "score-patients"
#: The schedule that ``takeover_azure_schedule.py`` replaces.
TAKEN_OVER = "score-patients-by-shift"
ON_ARRIVAL = "score-arrivals"

SCORE = ParallelRun(
    name="score",
    source_directory=Path(__file__).resolve().parent.parent / "dags" / "scoring",
    entry_script="score_breast_cancer.py",
    inputs=[Input("patients", path="breast-cancer/patient-00*.csv", parameter="folder")],
    output=Output("predictions"),
    environment=Environment("breast-cancer", pip_packages=["azureml-defaults", "scikit-learn", "joblib"]),
    compute_target=Compute("cpu-cluster", vm_size="STANDARD_D2_V2", max_nodes=2),
    error_threshold=0,
)


def seed(folder: Path) -> None:
    """Fill the workspace that the environment leads to.

    :param folder: gets the trained model.
    """
    hook = AzureMLBatchHook()
    made = make_sample()
    container = hook.container_client(DATASTORE)
    upload_rows(made, container)
    for day, numbers in {"monday": range(3), "tuesday": range(3, 8)}.items():
        for number in numbers:
            name = f"patient-{number:03d}.csv"
            container.upload_blob(f"incoming/{day}/{name}", as_csv(made.rows[name]), overwrite=True)
    model = save_model(made, folder)
    AzureMLRegisterModelOperator(task_id="register", model_name="breast-cancer", model_path=str(model)).execute({})
    publish(hook.session)
    schedule(hook.session)


def publish(session: Session) -> None:
    """Publish the pipeline and make the endpoint follow it."""
    pipeline = BatchPipeline(ENDPOINT, SCORE, description="Scores a folder of patients, ten by default.")
    published = publishing.publish(session, pipeline)
    publishing.make_default(session, ENDPOINT, published.pipeline, "What the schedules run.")


def schedule(session: Session) -> None:
    """Make the three schedules."""
    target = find_target(session, pipeline_endpoint=ENDPOINT)
    every_quarter = ScheduleRecurrence("Minute", 15)
    by_shift = ScheduleRecurrence(
        "Week",
        2,
        "2026-11-01T00:00:00",
        "Pacific Standard Time",
        week_days=["Monday", "Wednesday"],
        time_of_day="18:30",
    )
    arrivals = BlobTrigger(DATASTORE, "arrivals", polling_interval=1, data_path_parameter_name="folder")
    # This one first: it is disabled before it could fire.
    ensure_schedule(session, TAKEN_OVER, target, ScheduleChange(by_shift, experiment_name="scheduled"))
    switch_schedule(session, find_schedule(session, TAKEN_OVER), on=False)
    ensure_schedule(session, ON_ARRIVAL, target, ScheduleChange(blobs=arrivals, experiment_name="arrivals"))
    ensure_schedule(session, ENDPOINT, target, ScheduleChange(every_quarter, experiment_name="scheduled"))


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
