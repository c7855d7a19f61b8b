"""Pipelines from submission to outputs, judged by the SDK; predictions are compared with the model's own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import requests

from airflow_provider_amlbatch.emulator.errors import BadRequest
from airflow_provider_amlbatch.emulator.services.submissions import RunCreationInfoWithGraph
from airflow_provider_amlbatch.testing import ServedEmulator

Sdk = Callable[[str], dict[str, Any]]

#: One script, nothing but environment variables: what a team's notebook does.
MAIN_JOB = """
import joblib, numpy
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

features, labels = load_breast_cancer(return_X_y=True)
features = features[:, :4]
model = LogisticRegression(max_iter=500).fit(features, labels)
joblib.dump(model, "model.pkl")
Model.register(ws, "model.pkl", "cancer")

for index, row in enumerate(features[:23]):
    Path("rows").mkdir(exist_ok=True)
    numpy.savetxt(f"rows/{index:03}.csv", row.reshape(1, -1), delimiter=",")
store.upload("rows", "rows", show_progress=False)
dataset = Dataset.File.from_files((store, "rows")).register(ws, "rows", create_new_version=True)

write("src/score.py", '''
import os
import joblib
import numpy
from azureml.core import Model, Run

def init():
    global model
    model = joblib.load(Model.get_model_path("cancer"))
    print("scoring for", Run.get_context().id)

def run(mini_batch):
    rows = numpy.array([numpy.genfromtxt(path, delimiter=",") for path in mini_batch])
    return [f"{os.path.basename(path)}: {label}" for path, label in zip(mini_batch, model.predict(rows))]
''')
write("env.yml", "name: batch\\ndependencies:\\n- python=3.8\\n- pip\\n- pip:\\n  - azureml-core\\n")
environment = Environment.from_conda_specification("batch", "env.yml")
step = parallel(
    "score-rows", "src", dataset, environment=environment, node_count=2,
    output=PipelineData("scores", datastore=store, pipeline_output_name="final"),
    mini_batch_size=PipelineParameter("batch_size", "5"),
    arguments=["--threshold", PipelineParameter("threshold", 0.5)],
)
pipeline = Pipeline(ws, [step])
pipeline.validate()
run = Experiment(ws, "main-job").submit(pipeline)
run.wait_for_completion(show_output=True)
(step_run,) = run.get_children()
published = run.publish_pipeline("scoring", "from a run", "1.0", continue_on_step_failure=False)

header = ws._auth.get_authentication_header()
body = {"ExperimentName": "main-job-rest", "ParameterAssignments": {"batch_size": 3}}
answer = requests.post(published.endpoint, headers=header, json=body)
answer.raise_for_status()
invoked = PipelineRun(ws.experiments["main-job-rest"], answer.json()["Id"])
invoked.wait_for_completion(show_output=False)
(again,) = invoked.find_step_run("score-rows")
given = step_run.get_environment()

report(
    predicted=[f"{index:03}.csv: {label}" for index, label in enumerate(model.predict(features[:23]))],
    submitted=lines(step_run, "first"),
    invoked=lines(again, "second"),
    status=[run.get_status(), run.status, step_run.get_status(), invoked.get_status()],
    step=[step_run.name, type(step_run).__name__, step_run.tags["azureml.pipeline"] == run.id],
    files=sorted(step_run.get_file_names()),
    note=step_run.properties["emulator.environment"],
    invoked_properties=invoked.get_properties(),
    environment=[given.name, given.version, given.python.conda_dependencies.get_python_version()],
    definition=step_run.get_details()["runDefinition"],
    logs={name: text for name, text in (
        ("stdout", step_run.get_stdout_log()), ("job", step_run.get_job_log()), ("stderr", step_run.get_stderr_log()))},
    by_name=run.get_pipeline_output("final")._data_reference.path_on_datastore,
    step_id=step_run.id,
    graph=[node.name for node in run.get_graph().module_nodes],
    steps=[step.name for step in run.get_steps()],
    details=sorted(step_run.get_details_with_logs()["logFiles"]),
    endpoint=published.endpoint,
    pipeline_id=published.id,
    runs=[entry.id for entry in PipelineRun.get_pipeline_runs(ws, published.id)],
    invoked_id=invoked.id,
)
"""


@pytest.fixture(scope="module")
def main_job(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(MAIN_JOB)


def test_a_submitted_and_an_invoked_run_predict_what_the_model_predicts(main_job: dict[str, Any]) -> None:
    assert len(main_job["predicted"]) == 23
    assert main_job["submitted"] == main_job["predicted"]
    assert main_job["invoked"] == main_job["predicted"]
    assert main_job["status"] == ["Finished", "Completed", "Finished", "Finished"]


def test_a_step_is_found_with_its_name_tags_logs_and_output(main_job: dict[str, Any]) -> None:
    assert main_job["step"] == ["score-rows", "StepRun", True]
    assert main_job["by_name"] == f"azureml/{main_job['step_id']}/scores"
    assert {"azureml-logs/70_driver_log.txt", "logs/job_result.txt"} <= set(main_job["files"])
    assert {"azureml-logs/70_driver_log.txt", "logs/job_result.txt"} <= set(main_job["details"])
    assert main_job["graph"] == ["score-rows"]
    assert main_job["steps"] == ["score-rows"]
    assert "Starting the parallel step score-rows." in main_job["logs"]["stdout"]
    assert "Completed" in main_job["logs"]["job"]
    assert main_job["logs"]["stderr"] == ""
    assert main_job["runs"] == [main_job["invoked_id"]]


def test_the_substituted_environment_is_said_and_not_hidden(main_job: dict[str, Any]) -> None:
    assert "builds no conda environments" in main_job["note"]
    assert "'batch'" in main_job["note"]
    name, version, python = main_job["environment"]
    assert (name, python) == ("batch", "3.8")
    assert version.startswith("Autosave_20")
    assert main_job["definition"]["target"] == "cpu"
    assert main_job["definition"]["nodeCount"] == 2


def test_a_parameter_travels_as_text_and_keeps_its_default_when_it_is_not_given(main_job: dict[str, Any]) -> None:
    assert main_job["invoked_properties"]["azureml.parameters"] == '{"batch_size": "3", "threshold": "0.5"}'
    assert main_job["invoked_properties"]["azureml.pipelineid"] == main_job["pipeline_id"]


def test_a_bare_request_is_refused_in_azures_shape(emulator: ServedEmulator, main_job: dict[str, Any]) -> None:
    session, endpoint = emulator.session(), main_job["endpoint"]

    def refusal(body: Any, url: str = endpoint) -> tuple[int, str, str]:
        answer = session.post(url, json=body)
        error = answer.json()["Error"]
        assert error["Code"] == answer.json()["error"]["code"]
        return answer.status_code, error["Code"], error["Message"]

    path = {"DataStoreName": "workspaceblobstore", "RelativePath": "rows"}
    status, code, message = refusal({"ExperimentName": "rest", "DataPathAssignments": {"place": path}})
    assert (status, code) == (400, "ParameterNotFound")
    assert "'place'" in message
    assert refusal({})[0] == 400
    assert refusal({"ExperimentName": "rest", "ParameterAssignments": {"batch_size": "many"}})[:2] == (
        400,
        "InvalidParameterValue",
    )
    assert refusal({"ExperimentName": "rest", "ParameterAssignments": {"batch_size": ["1"]}})[0] == 400
    assert refusal({"ExperimentName": "rest"}, endpoint.rpartition("/")[0] + "/nowhere")[0] == 404
    assert requests.post(endpoint, json={}, verify=emulator.ca_bundle, timeout=30).status_code == 401


def test_a_parameter_that_the_pipeline_does_not_declare_is_told_by_the_run(
    emulator: ServedEmulator, main_job: dict[str, Any]
) -> None:
    body = {"ExperimentName": "rest", "ParameterAssignments": {"batchsize": "3", "threshold": "0.1"}}
    answer = emulator.session().post(main_job["endpoint"], json=body).json()
    emulator.services.pipeline_runs.cancel(answer["Id"])
    properties = emulator.services.history.get(answer["Id"]).properties
    assert properties["emulator.ignoredParameters"] == "batchsize"
    assert properties["azureml.parameters"] == '{"batch_size": "5", "threshold": "0.1"}'


def test_of_several_submissions_of_one_run_at_once_only_one_is_taken(
    emulator: ServedEmulator, main_job: dict[str, Any]
) -> None:
    services = emulator.services
    published = services.pipelines.published(main_job["pipeline_id"])
    document = services.pipelines.graph(str(published.graph_id))
    info = RunCreationInfoWithGraph(graph=document.graph, graph_interface=document.interface)
    made = services.pipeline_runs.create(info, "at-once")
    together = Barrier(4)

    def submit(_: int) -> bool:
        together.wait()
        try:
            services.pipeline_runs.submit_saved(made.id)
        except BadRequest:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(submit, range(4))) == [False, False, False, True]
    services.pipeline_runs.cancel(made.id)


REFUSED = """
from azureml.core import ScriptRunConfig
from azureml.pipeline.core import PipelineDraft
from azureml.pipeline.steps import CommandStep

dataset = make_files("refused-data", 2)
write("src/score.py", DOUBLE)
cluster = make_cluster()
image = Environment("image")
image.docker.base_image = None
image.docker.base_dockerfile = "FROM scratch"
elsewhere = Environment("elsewhere")
elsewhere.python.user_managed_dependencies = True
elsewhere.python.interpreter_path = "/nowhere/python"
shell = ScriptRunConfig("src", command=["echo", "1"], compute_target=cluster)
command = CommandStep(name="shell", runconfig=shell.run_config, source_directory="src", command="echo 1")
many = PipelineParameter("nodes", 9)
def script(**settings):
    from azureml.core.runconfig import RunConfiguration
    configuration = RunConfiguration()
    for name, value in settings.items():
        setattr(configuration, name, value)
    return PythonScriptStep("score.py", "script", compute_target=cluster, source_directory="src",
                            runconfig=configuration)
sampled = Dataset.Tabular.from_delimited_files((store, "refused-data/*.csv"), header=False).take_sample(0.5)
report(
    command=failure(submit, command, "refused"),
    image=failure(submit, parallel("image", "src", dataset, environment=image), "refused"),
    interpreter=failure(submit, parallel("elsewhere", "src", dataset, environment=elsewhere), "refused"),
    nodes=failure(submit, parallel("many", "src", dataset, node_count=many), "refused"),
    sampled=failure(submit, parallel("sampled", "src", sampled, mini_batch_size="1MB"), "refused"),
    mpi=failure(submit, script(communicator="OpenMpi"), "refused"),
    two=failure(submit, script(node_count=2), "refused"),
    draft=failure(PipelineDraft.create, ws, Pipeline(ws, [parallel("draft", "src", dataset)]), name="draft",
                  experiment_name="refused"),
)
"""


def test_what_the_emulator_does_not_do_is_refused_by_name_and_with_advice(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(REFUSED)
    assert "is a CommandStep" in told["command"]
    assert "builds no images" in told["image"]
    assert "interpreter_path" in told["image"]
    assert "'elsewhere' names the interpreter '/nowhere/python'" in told["interpreter"]
    assert "needs 9 nodes of 'cpu', which has at most 2" in told["nodes"]
    assert "'take_random_sample'" in told["sampled"]
    assert "communicator='OpenMpi'" in told["mpi"]
    assert "node_count=2" in told["two"]
    assert "no pipeline drafts" in told["draft"]
