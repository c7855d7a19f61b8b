"""What teams have in notebooks: images through a published pipeline, and rows by partition key; all through the SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

IMAGES = """
import numpy
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.datastore import Datastore
from azureml.data.dataset_consumption_config import DatasetConsumptionConfig

# Small grey images (PGM), bright on one side; the model knows where to draw the line.
generator = numpy.random.default_rng(7)
sides = {}
for index in range(12):
    image = generator.integers(0, 100, (8, 8))
    sides[f"{index}.pgm"] = side = ("left", "right")[index % 2]
    image[:, :4] += 100 * (side == "left")
    image[:, 4:] += 100 * (side == "right")
    write(f"images/{index}.pgm", "P2 8 8 255 " + " ".join(str(value) for value in image.ravel()))
store.upload("images", "images", overwrite=True, show_progress=False)
Path("models").mkdir()
numpy.save("models/line.npy", numpy.array([0.0]))
write("models/sides.txt", "right left")
Model.register(ws, model_path="models/", model_name="sides", tags={"kind": "line"})

write("Code/digits.py", '''
import argparse, os
import numpy
from azureml.core import Model

def init():
    global line, names, prefix
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--prefix", default="")
    known, _ = parser.parse_known_args()
    folder = Model.get_model_path(known.model_name)
    line, prefix = numpy.load(os.path.join(folder, "line.npy"))[0], known.prefix
    names = open(os.path.join(folder, "sides.txt")).read().split()

def run(mini_batch):
    print(f"run method start: {__file__}, run({len(mini_batch)} images)")
    results = []
    for path in mini_batch:
        image = numpy.array(open(path).read().split()[4:], dtype=float).reshape(8, 8)
        is_left = image[:, :4].mean() - image[:, 4:].mean() > line
        results.append(f"{prefix}{os.path.basename(path)}: {names[int(is_left)]}")
    return results
''')

cluster = make_cluster("cpu-cluster", 4)
batch_env = Environment(name="predict_environment")
batch_env.python.conda_dependencies = CondaDependencies.create(
    python_version="3.11", conda_packages=["pip"], pip_packages=["numpy", "azureml-core"])
batch_env.docker.base_image = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"

batch_size = PipelineParameter(name="batch_size_param", default_value="5")
processes = PipelineParameter(name="process_count_param", default_value=2)
images = Dataset.File.from_files((store, "images/*.pgm"), validate=False)
images = images.register(ws, "images", create_new_version=True)
chosen = DatasetConsumptionConfig("images", PipelineParameter("images_param", default_value=images)).as_mount()
output = PipelineData(name="inferences", datastore=store)
config = ParallelRunConfig(
    source_directory="Code", entry_script="digits.py", mini_batch_size=batch_size, error_threshold=10,
    output_action="append_row", append_row_file_name="sides.txt", environment=batch_env, compute_target=cluster,
    process_count_per_node=processes, node_count=2, run_invocation_timeout=600)
step = ParallelRunStep(
    name="predict-sides", parallel_run_config=config, inputs=[chosen], output=output, allow_reuse=False,
    arguments=["--model_name", "sides", "--prefix", PipelineParameter("prefix_param", default_value="")])
pipeline = Pipeline(workspace=ws, steps=[step])
assert pipeline.validate() == []
experiment = Experiment(ws, "images")

def predictions(run, folder):
    step_run = run.find_step_run("predict-sides")[0]
    step_run.get_output_data("inferences").download(local_path=folder)
    (path,) = Path(folder).rglob("sides.txt")
    return dict(line.split(": ") for line in path.read_text().splitlines())

run = experiment.submit(pipeline)
status = run.wait_for_completion(show_output=True)
metrics = run.find_step_run("predict-sides")[0].get_metrics()
again = experiment.submit(pipeline, pipeline_parameters={
    "batch_size_param": "2", "prefix_param": "p-",
    "images_param": Dataset.File.from_files((store, "images/1*.pgm"))})
again.wait_for_completion(show_output=False)

published = run.publish_pipeline(name="sides", description="left or right", version="1.0")
answer = requests.post(
    PublishedPipeline.get(ws, published.id).endpoint, headers=ws._auth.get_authentication_header(),
    json={"ExperimentName": "images", "ParameterAssignments": {"process_count_param": 1, "prefix_param": "rest-"}})
by_rest = PipelineRun(experiment, answer.json()["Id"])
by_rest.wait_for_completion(show_output=False)
schedule = Schedule.create(
    ws, name="hourly", pipeline_id=published.id, experiment_name="images",
    recurrence=ScheduleRecurrence(frequency="Hour", interval=1), wait_for_provisioning=True,
    pipeline_parameters={"prefix_param": "scheduled-"})
deadline = time.time() + 90
while schedule.get_last_pipeline_run() is None and time.time() < deadline:
    time.sleep(0.2)
schedule.disable(wait_for_provisioning=True)
scheduled = schedule.get_last_pipeline_run()
scheduled.wait_for_completion(show_output=False)
report(
    status=status, truth=sides, submitted=predictions(run, "submitted"), again=predictions(again, "again"),
    rest=predictions(by_rest, "rest"), scheduled=predictions(scheduled, "scheduled"), active=schedule.status,
    metrics={name: value for name, value in metrics.items()},
)
"""

ROWS = """
import numpy, pandas
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
import joblib

data = load_iris(as_frame=True)
frame = data.frame.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "."))
truth = [data.target_names[index] for index in frame.pop("target")]
frame["variety"] = truth
tree = DecisionTreeClassifier(random_state=0).fit(frame.iloc[:, :4].to_numpy(), truth)
joblib.dump(tree, "iris_model.pkl")
Model.register(ws, model_path="iris_model.pkl", model_name="iris-prs")
frame["row"] = range(len(frame))
Path("iris").mkdir()
for start in range(0, 150, 50):
    frame[start : start + 50].sample(frac=1, random_state=start).to_csv(f"iris/iris-{start}.csv", index=False)
store.upload("iris", "iris", overwrite=True, show_progress=False)
table = Dataset.Tabular.from_delimited_files((store, "iris/*.csv"))
by_variety = table.partition_by(["variety"], target=(store, "iris-by-variety"), name="iris-by-variety",
                                show_progress=False)

write("Code/iris_score.py", '''
import argparse
import joblib
import pandas
from azureml.core.model import Model

def init():
    global model
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", dest="model_name", required=True)
    args, _ = parser.parse_known_args()
    model = joblib.load(Model.get_model_path(args.model_name))

def run(input_data):
    assert isinstance(input_data, pandas.DataFrame)
    features = input_data.iloc[:, :4]
    input_data["Prediction"] = model.predict(features.to_numpy())
    return input_data[["row", "sepal.length", "variety", "Prediction"]]
''')
write("Code/total.py", '''
def run(input_data, mini_batch_context):
    key = mini_batch_context.partition_key_value
    assert set(input_data["variety"]) == {key["variety"]}
    input_data["total"] = input_data["petal.width"].sum()
    return input_data[["variety", "row", "total"]].head(1)
''')

def step(name, script, dataset, **settings):
    environment = Environment.from_conda_specification("iris", "conda.yml")
    config = ParallelRunConfig(
        source_directory="Code", entry_script=script, error_threshold=-1 if "partition_keys" in settings else 0,
        output_action="append_row", environment=environment, compute_target=make_cluster(), node_count=2,
        run_invocation_timeout=600, **settings)
    return ParallelRunStep(
        name=name, inputs=[dataset.as_named_input("iris")], output=PipelineData(name="out", datastore=store),
        parallel_run_config=config, arguments=["--model", "iris-prs"], allow_reuse=False)

write("conda.yml", "name: iris\\ndependencies:\\n- pip:\\n  - scikit-learn\\n  - pandas\\n")
pipeline = Pipeline(ws, [step("example-iris", "iris_score.py", table, mini_batch_size="1KB"),
                         step("total-by-key", "total.py", by_variety, partition_keys=["variety"])])
run = Experiment(ws, "iris").submit(pipeline)
run.wait_for_completion(show_output=True)

def rows(name):
    run.find_step_run(name)[0].get_output_data("out").download(name)
    (path,) = Path(name).rglob("parallel_run_step.txt")
    return pandas.read_csv(path, delimiter=" ", header=None)

scored, totals = rows("example-iris").sort_values(0), rows("total-by-key").sort_values(0)
report(
    predicted=scored[3].tolist(), direct=tree.predict(frame.iloc[:, :4].to_numpy()).tolist(),
    carried=numpy.allclose(scored[1], frame["sepal.length"]), rows=scored[0].tolist(),
    totals=totals.set_index(0)[2].to_dict(), direct_totals=frame.groupby("variety")["petal.width"].sum().to_dict(),
    mini_batches=run.find_step_run("example-iris")[0].get_metrics()["Total MiniBatches"],
)
"""

Sdk = Callable[[str], dict[str, Any]]


def test_images_through_a_published_and_scheduled_pipeline(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(IMAGES)
    truth = told["truth"]
    assert told["status"] == "Finished"
    assert told["submitted"] == truth
    assert told["again"] == {f"p-{name}": truth[name] for name in ("1.pgm", "10.pgm", "11.pgm")}
    assert told["rest"] == {f"rest-{name}": side for name, side in truth.items()}
    assert told["scheduled"] == {f"scheduled-{name}": side for name, side in truth.items()}
    assert told["active"] == "Disabled"
    assert (told["metrics"]["Total MiniBatches"], told["metrics"]["Total Items"]) == (3, 12)
    assert told["metrics"]["Failed Items"] == 0


def test_rows_as_frames_and_by_partition_key(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(ROWS)
    assert told["predicted"] == told["direct"]
    assert told["rows"] == list(range(150))
    assert told["carried"] is True
    assert told["mini_batches"] > 3
    assert told["totals"] == pytest.approx(told["direct_totals"])
