"""What Microsoft's notebooks about pipelines ask of the service: the same calls, in their order and form.

The data and the scripts are ours and small. ``docs/emulator.md`` says which notebooks these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Sdk = Callable[[str], dict[str, Any]]

OPERATIONS = """
from azureml.core.authentication import InteractiveLoginAuthentication
write("hello/hello.py", "import sys; print('HELLO', sys.argv[1:])")
cluster = make_cluster()
def hello(arguments=()):
    step = PythonScriptStep(name="Training_Step", script_name="hello.py", compute_target="cpu",
                            arguments=list(arguments), source_directory="hello")
    return Pipeline(workspace=ws, steps=[step])
pipeline = hello()
published = pipeline.publish(name="stamp-Pipeline", description="stamp-Pipeline")
ids = [each.id for each in PublishedPipeline.get_all(ws)]
# Schedules
recurrence = ScheduleRecurrence(frequency="Day", interval=2, hours=[22], minutes=[30])
schedule = Schedule.create(workspace=ws, name="My_Schedule", pipeline_id=published.id, experiment_name="Schedule_Run",
                           recurrence=recurrence, wait_for_provisioning=True, description="Schedule Run")
of_pipeline = [each.id for each in Schedule.get_all(ws, pipeline_id=published.id) if each.recurrence is not None]
everywhere = [(each.id, each.pipeline_id) for each in Schedule.get_all(ws, active_only=True)]
fetched = Schedule.get(ws, schedule.id)
fetched.disable(wait_for_provisioning=True)
disabled = Schedule.get(ws, schedule.id).status
fetched = Schedule.get(ws, schedule.id)
fetched.enable(wait_for_provisioning=True)
fetched = Schedule.get(ws, schedule.id)
enabled = fetched.status
fetched.update(name="My_Updated_Schedule", description="Updated_Schedule_Run", status="Active",
               wait_for_provisioning=True, recurrence=ScheduleRecurrence(frequency="Hour", interval=2))
updated = Schedule.get(ws, fetched.id)
by_data = Schedule.create(workspace=ws, name="My_Schedule", pipeline_id=published.id, experiment_name="Schedule_Run",
                          datastore=store, wait_for_provisioning=True, description="Schedule Run")
by_data.disable(wait_for_provisioning=True)
report(ids=[published.id in ids, of_pipeline == [schedule.id], (schedule.id, published.id) in everywhere],
       status=[disabled, enabled, Schedule.get(ws, by_data.id).status],
       updated=[updated.name, updated.recurrence.frequency, updated.status, updated.description])
updated.disable()

# Endpoints
endpoint = PipelineEndpoint.publish(workspace=ws, name="PipelineEndpointTest", pipeline=pipeline, description="Test")
by_name = PipelineEndpoint.get(workspace=ws, name="PipelineEndpointTest")
by_id = PipelineEndpoint.get(workspace=ws, id=by_name.id)
listed = [each.name for each in PipelineEndpoint.get_all(workspace=ws, active_only=True)]
default = by_name.get_default_version()
by_name.set_default_version("0")
pipelines = [by_name.get_pipeline("0").id, by_name.get_pipeline().id]
by_name.add(published)
by_name.set_default(published)
versions = [(each.version, each.pipeline.id) for each in by_name.get_all_versions()]
every = by_name.get_all_pipelines(active_only=True)
by_name.set_name(name="NewName")
by_name = PipelineEndpoint.get(workspace=ws, name="NewName")
url = by_name.endpoint
named = url.split("Id", 1)[0] + "Name?name=" + by_name.name
token = InteractiveLoginAuthentication().get_authentication_header()
body = {"ExperimentName": "default_pipeline", "RunSource": "SDK", "ParameterAssignments": {"1": "united", "2": "city"}}
urls = (named + "&pipelineVersion=0", named, url + "/0")
started = [requests.post(each, headers=token, json=body).json()["Id"] for each in urls]
submitted = [by_name.submit("NewName", pipeline_version="0"), by_name.submit("NewName")]
tagged = Experiment(ws, name="submit_from_endpoint").submit(by_name, tags={"endpoint_tag": "1"}, pipeline_version="0")
report(found=[by_id.name, "PipelineEndpointTest" in listed, default, len(set(pipelines))],
       versions=[version for version, _ in versions], published=versions[1][1] == published.id, every=len(every),
       new=by_name.name)
tagged.wait_for_completion(show_output=False)
experiment = ws.experiments["default_pipeline"]
report(tags=tagged.get_tags(), statuses=[PipelineRun(experiment, each).get_status() for each in started])

# Schedules that fire at once; and expressions, which the emulator refuses.
labeled = hello(["--label", PipelineParameter("label", "none")]).publish("labeled", "")
hourly = Schedule.create(ws, name="hourly", pipeline_id=labeled.id, experiment_name="hourly",
                         recurrence=ScheduleRecurrence(frequency="Hour", interval=1),
                         pipeline_parameters={"label": "x"}, wait_for_provisioning=True)
deadline = time.time() + 60
while hourly.get_last_pipeline_run() is None and time.time() < deadline:
    time.sleep(0.2)  # between two looks: the SDK cannot wait for a schedule to fire
hourly.disable(wait_for_provisioning=True)
fired = hourly.get_last_pipeline_run()
fired.wait_for_completion(show_output=False)
log = fired.find_step_run("Training_Step")[0].get_stdout_log()
report(fired=[fired.id] == [each.id for each in hourly.get_pipeline_runs()],
       hello=[line for line in log.splitlines() if "HELLO" in line],
       expression=failure(Schedule.create, ws, name="expression", pipeline_id=labeled.id, experiment_name="e",
                          pipeline_parameters={"label": "@formatDateTime(utcNow(),'yyyy-MM-dd')"},
                          recurrence=ScheduleRecurrence(frequency="Minute", interval=15)))
"""

DATA = """
from datetime import datetime
from azureml.core import Datastore
from azureml.core.authentication import InteractiveLoginAuthentication
from azureml.core.compute_target import ComputeTargetException
from azureml.core.runconfig import CondaDependencies, DEFAULT_CPU_IMAGE, RunConfiguration
from azureml.data import OutputFileDatasetConfig
from azureml.data.data_reference import DataReference
from azureml.data.datapath import DataPath, DataPathComputeBinding
from azureml.data.dataset_consumption_config import DatasetConsumptionConfig

try:
    cluster = AmlCompute(ws, "cpu-cluster")
except ComputeTargetException:
    asked = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=1, max_nodes=4)
    cluster = ComputeTarget.create(ws, "cpu-cluster", asked)
    cluster.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
cluster = AmlCompute(ws, "cpu-cluster")
blobs = Datastore(ws, "workspaceblobstore")
auth = InteractiveLoginAuthentication()
token = auth.get_authentication_header()
def post(url, **body):
    answer = requests.post(url, headers=token, json=dict(RunSource="SDK", **body))
    answer.raise_for_status()
    return answer.json().get("Id")

# Three scripts, each in a folder of its own, that hand files on; published twice, and run by REST.
write("news.txt", "1 2 3")
placed = blobs.upload_files(["./news.txt"], target_path="news", overwrite=True)
news = Dataset.File.from_files(placed).as_named_input("test_data")
STEP = '''
import argparse, os
parser = argparse.ArgumentParser()
for name in ("--first", "--second", "--output", "--number"):
    parser.add_argument(name)
args = parser.parse_args()
def read(path):
    paths = [path] if os.path.isfile(path) else [os.path.join(path, name) for name in os.listdir(path)]
    return [word for each in paths for word in open(each).read().split()]
words = [word for place in (args.first, args.second) if place for word in read(place)]
if args.output:
    os.makedirs(args.output, exist_ok=True)
    with open(os.path.join(args.output, "words.txt"), "w") as file:
        file.write(" ".join([*words, args.number or ""]))
print("WORDS", *words, args.number)
'''
for name in ("train", "extract", "compare"):
    write(f"{name}/{name}.py", STEP)
first, second = OutputFileDatasetConfig(name="processed_data1"), OutputFileDatasetConfig(name="processed_data2")
third = OutputFileDatasetConfig(name="processed_data3").register_on_complete("compare_result")
number = PipelineParameter(name="pipeline_arg", default_value=10)
train = PythonScriptStep(script_name="train.py", arguments=["--first", news.as_mount(), "--output", first],
                         compute_target=cluster, source_directory="train")
extract = PythonScriptStep(script_name="extract.py", arguments=["--first", first.as_input(), "--output", second],
                           compute_target=cluster, source_directory="extract")
compare = PythonScriptStep(
    script_name="compare.py", compute_target=cluster, source_directory="compare",
    arguments=["--first", first.as_input(), "--second", second.as_input(), "--output", third, "--number", number])
pipeline = Pipeline(workspace=ws, steps=[compare])
published = pipeline.publish(name="My_New_Pipeline", description="mine", continue_on_step_failure=True)
chain = Experiment(ws, "Pipeline_experiment").submit(pipeline)
published_again = chain.publish_pipeline(name="My_New_Pipeline2", description="mine", version="0.1",
                                         continue_on_step_failure=True)
chain.wait_for_completion()
rest_id = post(PublishedPipeline.get(ws, published.id).endpoint, ExperimentName="My_Pipeline1",
               ParameterAssignments={"pipeline_arg": 45})
by_rest = PipelineRun(ws.experiments["My_Pipeline1"], rest_id)
by_rest.wait_for_completion()
words = Path(Dataset.get_by_name(ws, "compare_result").download("compared")[0]).read_text()
report(chain=words, listed=sorted(each.name for each in PublishedPipeline.get_all(ws)), version=published_again.version)

# References to data, and PipelineData between steps, with a run configuration.
settings = RunConfiguration()
settings.environment.docker.enabled = True
settings.environment.docker.base_image = DEFAULT_CPU_IMAGE
settings.environment.python.user_managed_dependencies = False
settings.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["scikit-learn"])
fixed = DataReference(datastore=blobs, data_reference_name="test_data", path_on_datastore="news/news.txt")
path = DataPath(datastore=blobs, path_on_datastore="news/news.txt")
path = PipelineParameter(name="compare_data", default_value=path)
bound = (path, DataPathComputeBinding(mode="mount"))
one, two = PipelineData("processed_data1", datastore=blobs), PipelineData("processed_data2", datastore=blobs)
def script(name, arguments, **more):
    return PythonScriptStep(script_name=f"{name}.py", compute_target=cluster, source_directory=name,
                            arguments=arguments, **more)
steps = [script("train", ["--first", fixed, "--output", one], inputs=[fixed], outputs=[one], runconfig=settings),
         script("compare", ["--first", bound, "--second", one, "--output", two], inputs=[bound, one], outputs=[two])]
depends = Experiment(ws, "Data_dependency").submit(Pipeline(workspace=ws, steps=steps[1:]))

# A path and a text as parameters: the default, the SDK, REST, and a schedule that watches a folder.
for place in ("sample1", "sample2", "sample3"):
    write(f"{place}/text.txt", place)
    blobs.upload(place, place, show_progress=False)
write("show/show.py", '''
import os, sys
text, place = sys.argv[2], sys.argv[4]
print("SEEN", text, [open(os.path.join(place, name)).read() for name in os.listdir(place)])
''')
path = PipelineParameter(name="input_datapath", default_value=DataPath(datastore=blobs, path_on_datastore="sample1"))
bound = (path, DataPathComputeBinding(mode="mount"))
text = PipelineParameter(name="input_string", default_value="string1")
show = PythonScriptStep(name="show_step", script_name="show.py", compute_target=cluster, source_directory="show",
                        arguments=["--arg1", text, "--arg2", bound], inputs=[bound])
pipeline = Pipeline(workspace=ws, steps=[show])
experiment = Experiment(ws, "showcasing-datapath")
runs = [experiment.submit(pipeline), experiment.submit(pipeline, pipeline_parameters={
    "input_datapath": DataPath(datastore=blobs, path_on_datastore="sample2"), "input_string": "string2"})]
shown = pipeline.publish(name="DataPath_Pipeline", description="paths", continue_on_step_failure=True)
runs.append(PipelineRun(ws.experiments["showcasing-datapath"], post(
    shown.endpoint, ExperimentName="showcasing-datapath", ParameterAssignments={"input_string": "string3"},
    DataPathAssignments={"input_datapath": {"DataStoreName": blobs.name, "RelativePath": "sample3"}})))
watching = Schedule.create(workspace=ws, name="Datastore_trigger", pipeline_id=shown.id, experiment_name="Scheduled",
                           datastore=blobs, wait_for_provisioning=True, description="watches",
                           path_on_datastore="watched", data_path_parameter_name="input_datapath")
watching.disable()

# Datasets as parameters, of files and of rows, read in the script through the run.
write("one.csv", "a,b\\n4,x\\n")
write("two.csv", "a,b\\n2,y\\n3,z\\n")
blobs.upload_files(["one.csv", "two.csv"], target_path="tables", overwrite=True, show_progress=False)
def both(name):
    return (Dataset.File.from_files((blobs, f"tables/{name}.csv")),
            Dataset.Tabular.from_delimited_files((blobs, f"tables/{name}.csv")))
(file_one, rows_one), (file_two, rows_two) = both("one"), both("two")
file_consumed = DatasetConsumptionConfig("file_dataset", PipelineParameter("file_param", file_one)).as_mount()
rows_consumed = DatasetConsumptionConfig("tabular_dataset", PipelineParameter("tabular_param", rows_one))
write("datasets/read.py", '''
from azureml.core import Run
with open(Run.get_context().input_datasets["file_dataset"]) as file:
    lines = file.read().split()
frame = Run.get_context().input_datasets["tabular_dataset"].to_pandas_dataframe()
print("SEEN", lines, frame.values.tolist())
''')
read = PythonScriptStep(name="read_step", script_name="read.py", compute_target=cluster, source_directory="datasets",
                        arguments=["--param1", file_consumed, "--param2", rows_consumed],
                        inputs=[file_consumed, rows_consumed])
pipeline = Pipeline(workspace=ws, steps=[read])
experiment = Experiment(ws, "showcasing-dataset")
given = {"file_param": file_two, "tabular_param": rows_two}
reads = [experiment.submit(pipeline), experiment.submit(pipeline, pipeline_parameters=given)]
published = pipeline.publish(name="Dataset_Pipeline", description="sets", continue_on_step_failure=True)
reads.append(published.submit(ws, experiment_name="published", pipeline_parameters=given))
reads.append(PipelineRun(ws.experiments["published"], post(
    published.endpoint, ExperimentName="published", DataSetDefinitionValueAssignments={
        "file_param": {"SavedDataSetReference": {"Id": file_two.id}},
        "tabular_param": {"SavedDataSetReference": {"Id": rows_two.id}}})))

def seen(run, name):
    run.wait_for_completion()
    log = run.find_step_run(name)[0].get_stdout_log()
    return [line.rpartition("SEEN ")[2] for line in log.splitlines() if "SEEN" in line]

depends.wait_for_completion()
log = depends.find_step_run("compare.py")[0].get_stdout_log()
report(depends=[line.partition("WORDS ")[2] for line in log.splitlines() if "WORDS" in line],
       paths=[seen(run, "show_step") for run in runs], reads=[seen(run, "read_step") for run in reads],
       watching=[Schedule.get(ws, watching.id).status])

# Files through a parallel step between two scripts; the result is found in the step's details.
split, moved, joined = (OutputFileDatasetConfig(name=name) for name in ("split", "moved", "joined"))
write("film/split.py", '''
import os, sys
for number in range(5):
    open(os.path.join(sys.argv[4], f"{number}.txt"), "w").write(str(number))
''')
write("film/join.py", '''
import os, sys
paths = [os.path.join(sys.argv[2], name) for name in os.listdir(sys.argv[2]) if name.endswith(".txt")]
open(os.path.join(sys.argv[4], "all.txt"), "w").write(" ".join(sorted(open(path).read() for path in paths)))
''')
write("film/transform.py", '''
import argparse, os
def init():
    global args
    parser = argparse.ArgumentParser()
    parser.add_argument("--style")
    args, _ = parser.parse_known_args()
def run(mini_batch):
    for path in mini_batch:
        place = os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], os.path.basename(path))
        open(place, "w").write(args.style + open(path).read())
    return mini_batch
''')
needs = CondaDependencies.create(python_version="3.8", conda_packages=["pip==20.2.4"])
needs.add_channel("conda-forge")
needs.add_conda_package("ffmpeg==4.0.2")
settings = RunConfiguration(conda_dependencies=needs)
settings.environment.docker.base_image = "pytorch/pytorch"
settings.environment.spark.precache_packages = False
video = Dataset.File.from_files((blobs, "news/news.txt"))
splitting = PythonScriptStep(name="split video", script_name="split.py", compute_target=cluster, runconfig=settings,
                             arguments=["--input", video.as_mount(), "--output", split], source_directory="film")
joining = PythonScriptStep(name="stitch", script_name="join.py", compute_target=cluster, runconfig=settings,
                           arguments=["--images", moved.as_input(), "--output", joined], source_directory="film")
environment = Environment(name="style")
environment.python.conda_dependencies = needs
config = ParallelRunConfig(
    environment=environment, entry_script="transform.py", output_action="summary_only", mini_batch_size="1",
    error_threshold=1, source_directory="film", compute_target=cluster, process_count_per_node=2,
    node_count=PipelineParameter(name="nodecount", default_value=2))
style = PipelineParameter(name="style", default_value="mosaic")
transform = ParallelRunStep(name="transform-" + datetime.now().strftime("%Y%m%d%H%M"), inputs=[split], output=moved,
                            arguments=["--style", style], parallel_run_config=config, allow_reuse=False)
pipeline = Pipeline(workspace=ws, steps=[joining])
problems = pipeline.validate()
film = Experiment(ws, "film").submit(pipeline)
film.wait_for_completion(show_output=True)
published = pipeline.publish(name="film", description="film")
candy = PipelineRun(ws.experiments["film"], post(published.endpoint, ExperimentName="film", ParameterAssignments={
    "style": "candy", "NodeCount": 3}))
candy.wait_for_completion()
def download(run, folder):
    run.find_step_run(joining.name)[0].get_details()["outputDatasets"][0]["dataset"].download(folder)
    (path,) = Path(folder).rglob("all.txt")
    return path.read_text()
report(problems=problems, film=download(film, "film-mosaic"), candy=download(candy, "film-candy"))
"""


@pytest.fixture(scope="module")
def operated(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(OPERATIONS)


def test_a_schedule_of_a_published_pipeline_is_made_found_disabled_enabled_and_changed(
    operated: dict[str, Any],
) -> None:
    assert operated["ids"] == [True, True, True]
    assert operated["status"] == ["Disabled", "Active", "Disabled"]
    assert operated["updated"] == ["My_Updated_Schedule", "Hour", "Active", "Updated_Schedule_Run"]


def test_a_schedule_without_a_start_fires_at_once_and_expressions_are_refused(operated: dict[str, Any]) -> None:
    assert operated["fired"] is True
    assert operated["hello"] == ["HELLO ['--label', 'x']"]
    assert "does not evaluate expressions: the parameter 'label'" in operated["expression"]


def test_an_endpoint_is_found_renamed_and_run_by_id_and_name(operated: dict[str, Any]) -> None:
    assert operated["found"] == ["PipelineEndpointTest", True, "0", 1]
    assert operated["versions"] == ["0", "1"]
    assert operated["published"] is True
    assert operated["every"] == 2
    assert operated["new"] == "NewName"
    assert operated["tags"] == {"endpoint_tag": "1"}
    # The notebook sends parameters that its pipeline does not have.
    assert operated["statuses"] == ["Finished"] * 3


@pytest.mark.slow
def test_data_paths_datasets_and_outputs_go_through_pipelines(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(DATA)
    # Three steps hand words on: 1 2 3, then those again, then both and the parameter; the last run was given 45.
    assert told["chain"].split() == [*"123", *"123", "45"]
    assert {"My_New_Pipeline", "My_New_Pipeline2"} <= set(told["listed"])
    assert told["version"] == "0.1"
    assert told["depends"] == ["1 2 3 1 2 3 None"]
    assert told["paths"] == [[f"string{number} ['sample{number}']"] for number in (1, 2, 3)]
    first, second = "['a,b', '4,x'] [[4, 'x']]", "['a,b', '2,y', '3,z'] [[2, 'y'], [3, 'z']]"
    assert told["reads"] == [[first], [second], [second], [second]]
    assert told["watching"] == ["Disabled"]
    assert told["problems"] == []
    assert told["film"] == " ".join(f"mosaic{number}" for number in range(5))
    assert told["candy"] == " ".join(f"candy{number}" for number in range(5))
