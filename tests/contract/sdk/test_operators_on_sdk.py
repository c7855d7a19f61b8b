"""The operators that need the SDK, executed against the emulator, which really runs the scoring script."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import Context
from polling import wait_for

from airflow_provider_amlbatch.aml.history import get_run
from airflow_provider_amlbatch.aml.models import models_of
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo, list_runs_of_pipeline, submit_pipeline
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.models import AzureMLRegisterModelOperator
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator, AzureMLSubmitPipelineOperator
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.errors import SmokeRunError
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)
from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk

GOOD = "def run(mini_batch):\n    return [open(name).read() for name in mini_batch]\n"
BAD = GOOD.replace("return", "raise ValueError('this file is not for me')\n    return")
# Still running when it is killed; nothing waits for its end.
SLOW = "import time\n" + GOOD.replace("return", "time.sleep(120)\n    return")
UPLOAD = """
import pathlib
from azureml.core import Dataset, Workspace

folder = pathlib.Path("rows")
folder.mkdir()
for number in range(3):
    (folder / f"{number}.csv").write_text(str(number))
workspace = Workspace.from_config()
store = workspace.get_default_datastore()
store.upload("rows", "trial-rows", show_progress=False)
Dataset.File.from_files((store, "trial-rows/*.csv")).register(workspace, "small", create_new_version=True)
"""


FETCH = """
import pathlib
from azureml.core import Model, Workspace

print(pathlib.Path(Model(Workspace.from_config(), "from-a-run").download("got")).name)
"""


class Task:
    """Stands for the task instance: names itself, and keeps what is pushed."""

    dag_id, run_id, task_id, map_index, max_tries = "scoring", "manual", "submit", -1, 2
    task = SimpleNamespace(retries=2)

    def __init__(self, try_number: int = 1) -> None:
        self.try_number = try_number
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def connected(emulator: ServedEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)


@pytest.mark.usefixtures("connected")
def test_the_same_content_gives_the_same_version(opened: Session, tmp_path: Path) -> None:
    model = tmp_path / "model.joblib"
    model.write_bytes(b"one")

    def register(path: str = str(model), **more: Any) -> dict[str, Any]:
        operator = AzureMLRegisterModelOperator(
            task_id="register", model_name="by-operator", model_path=path, sdk_python=sys.executable, **more
        )
        return operator.execute(cast(Context, {}))

    first = register(description="Iris", tags={"team": "a"}, properties={"auc": "0.9"})
    assert (first["version"], first["created"]) == (1, True)
    assert register() == {**first, "created": False}
    assert register(always=True)["version"] == 2
    model.write_bytes(b"two")
    assert register()["version"] == 3
    assert register(model.as_uri()) == register()


@pytest.mark.usefixtures("connected")
def test_an_endpoint_follows_only_a_version_whose_trial_run_completes(
    emulator: ServedEmulator, opened: Session, tmp_path: Path
) -> None:
    run_sdk(UPLOAD, emulator.environment)
    source = tmp_path / "scoring"
    source.mkdir()
    (source / "score.py").write_text(GOOD)
    step = ParallelRun(
        name="score-rows",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("rows", dataset="small", parameter="rows_data")],
        environment=Environment("trial", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-trial", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=0,
        run_max_try=1,
        process_count_per_node=1,
        output=Output("predictions"),
    )

    def publisher(script: str) -> AzureMLPublishPipelineOperator:
        (source / "score.py").write_text(script)
        return AzureMLPublishPipelineOperator(
            task_id="publish",
            pipeline=BatchPipeline("tried", step),
            endpoint="tried-live",
            validate_with={"datasets": {"rows_data": "small:1"}},
            poll_interval=0.2,
            sdk_python=sys.executable,
        )

    def publish(script: str) -> dict[str, Any]:
        task = Task()
        published = publisher(script).execute(cast(Context, {"ti": task}))
        (link,) = task.pushed.values()
        assert f"/pipelines/{published['id']}?" in link
        return published

    first = publish(GOOD)
    assert first["created"]
    assert first["pipeline_endpoint"]["version"] == "0"
    trials = [run.id for run in opened.send(list_runs_of_pipeline(first["id"]))]
    assert len(trials) == 1

    failed = set()
    for _ in range(2):  # a retry publishes nothing anew, and tries again
        with pytest.raises(SmokeRunError, match=r"(?s)'tried-live' keeps its default version.*not for me") as caught:
            publish(BAD)
        failed.add(caught.value.run_id)
    assert len(failed) == 2
    endpoint = publishing.find_endpoint(opened, "tried-live")
    assert publishing.is_default(endpoint, first["id"])

    assert publish(GOOD) == {**first, "created": False}
    assert [run.id for run in opened.send(list_runs_of_pipeline(first["id"]))] == trials

    # Who kills the task ends the trial run that it waits for.
    killed = publisher(SLOW)
    known = {pipeline.id for pipeline in killed.hook.list_pipelines()}

    def trials_of_newest() -> list[str]:
        made = {pipeline.id for pipeline in killed.hook.list_pipelines()} - known
        return [run.id for pipeline in made for run in opened.send(list_runs_of_pipeline(pipeline))]

    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(killed.execute, cast(Context, {"ti": Task()}))
        (trial,) = wait_for("trial run", trials_of_newest)
        killed.on_kill()
        with pytest.raises(SmokeRunError, match="'tried-live' keeps its default version"):
            waiting.result(60)
    assert opened.send(get_run(trial)).run_status is RunStatus.CANCELED
    assert publishing.is_default(publishing.find_endpoint(opened, "tried-live"), first["id"])


FUNCTION = """
import json
from types import SimpleNamespace
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator, AzureMLSubmitPipelineOperator
from airflow_provider_amlbatch.sdk import build as sdk_build
from airflow_provider_amlbatch.sdk.spec import BatchPipeline

def build(workspace):
    return sdk_build.build(BatchPipeline.from_json(json.loads({spec!r})), workspace)

def done(operator):
    task = SimpleNamespace(
        dag_id="d", run_id="r", task_id=operator.task_id, map_index=-1, try_number=1, max_tries=0, task=operator,
        xcom_push=lambda **_: None,
    )
    operator.render_template_fields({"ti": task})  # as Airflow does before it executes a task
    return operator.execute({"ti": task})

published = done(AzureMLPublishPipelineOperator(task_id="publish", pipeline=build, name="of-a-function"))
submitted = done(AzureMLSubmitPipelineOperator(
    task_id="submit", pipeline=build, experiment_name="of-a-function", wait_for_completion=False
))
print(json.dumps([published["name"], published["created"], submitted]))
"""


def test_what_a_function_builds_is_published_and_submitted(
    emulator: ServedEmulator, opened: Session, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(GOOD)
    step = ParallelRun(
        name="score-rows",
        source_directory=tmp_path,
        entry_script="score.py",
        inputs=[Input("rows", path="nothing-here/*.csv")],
        environment=Environment("trial", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-trial", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=0,
        output=Output("predictions"),
    )
    spec = json.dumps(BatchPipeline("of-a-function", step).to_json())
    ended = run_sdk(FUNCTION.replace("{spec!r}", repr(spec)), emulator.environment)
    name, created, run_id = json.loads(ended.stdout.splitlines()[-1])
    assert (name, created) == ("of-a-function", True)
    assert opened.send(get_run(run_id)).run_id == run_id


@pytest.mark.usefixtures("connected")
def test_a_retry_adopts_the_submitted_run_and_its_outputs_make_one_model(
    emulator: ServedEmulator, opened: Session, tmp_path: Path
) -> None:
    run_sdk(UPLOAD.replace("trial-rows", "submit-rows").replace('"small"', '"submitted"'), emulator.environment)
    (tmp_path / "score.py").write_text(GOOD)
    step = ParallelRun(
        name="score-rows",
        source_directory=tmp_path,
        entry_script="score.py",
        inputs=[Input("rows", path="nothing-here/*.csv", parameter="rows_data")],
        environment=Environment("trial", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-trial", "STANDARD_D2_V2", max_nodes=1),
        mini_batch_size=Parameter("batch", "1"),
        error_threshold=0,
        output=Output("predictions"),
    )

    def submit(try_number: int, python: str) -> tuple[str, Task]:
        task = Task(try_number)
        operator = AzureMLSubmitPipelineOperator(
            task_id="submit",
            experiment_name="operators",
            pipeline=BatchPipeline("submitted", step),
            parameters={"batch": 2},
            datasets={"rows_data": "submitted:1"},
            models=["chosen-by-hand:7"],
            poll_interval=0.2,
            sdk_python=python,
        )
        return operator.execute(cast(Context, {"ti": task})), task

    run_id, task = submit(1, sys.executable)
    assert task.pushed["run_id"] == run_id
    assert any(f"/runs/{run_id}?" in str(value) for value in task.pushed.values())
    assert submit(2, "/no/such/python")[0] == run_id
    hook = AzureMLBatchHook(session=opened)
    assert models_of(hook.get_run(run_id)) == {"chosen-by-hand": "7"}
    place = hook.step_output(run_id)
    scored_rows = hook.container_client(place.datastore).download_blob(f"{place.path}/parallel_run_step.txt")
    assert sorted(scored_rows.readall().decode().split()) == ["0", "1", "2"]  # of the dataset, not of the default

    # What a run has written can be registered as a model, once.
    (scored,) = hook.children(run_id)
    registered = []
    for python in (sys.executable, "/no/such/python"):
        operator = AzureMLRegisterModelOperator(
            task_id="register",
            model_name="from-a-run",
            model_path="logs/job_result.txt",
            run_id=scored.run_id,
            sdk_python=python,
        )
        registered.append(operator.execute(cast(Context, {})))
    assert registered[0]["created"]
    assert registered[1] == {**registered[0], "created": False}
    fetched = run_sdk(FETCH, emulator.environment, cwd=tmp_path)
    assert fetched.stdout.splitlines()[-1] == "job_result.txt"


@pytest.mark.usefixtures("connected")
def test_a_dataset_without_a_version_is_the_latest_at_each_run(
    emulator: ServedEmulator, opened: Session, tmp_path: Path
) -> None:
    source = tmp_path / "scoring"
    source.mkdir()
    (source / "score.py").write_text(GOOD)
    run_sdk(UPLOAD.replace('"small"', '"growing"').replace("trial-rows", "growing-1"), emulator.environment)
    step = ParallelRun(
        name="score-rows",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("rows", dataset="growing")],
        environment=Environment("trial", pip_packages=["azureml-core", "azureml-dataset-runtime[fuse]"]),
        compute_target=Compute("cpu-trial", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=0,
        process_count_per_node=1,
        output=Output("predictions"),
    )
    published = publishing.publish(opened, BatchPipeline("growing", step), python=sys.executable)
    hook = AzureMLBatchHook(session=opened)

    def rows() -> list[str]:
        info = PipelineSubmissionInfo(experiment_name="growing")
        run_id = opened.send(submit_pipeline(published.pipeline.id, info)).id
        hook.conclude(hook.wait(run_id, 0.2))
        place = hook.step_output(run_id)
        blob = hook.container_client(place.datastore).download_blob(f"{place.path}/parallel_run_step.txt")
        return sorted(blob.readall().decode().split())

    assert rows() == ["0", "1", "2"]
    more = UPLOAD.replace('"small"', '"growing"').replace("trial-rows", "growing-2").replace("range(3)", "range(5)")
    run_sdk(more, emulator.environment)
    assert rows() == ["0", "1", "2", "3", "4"]
