"""What Microsoft's notebooks about ParallelRunStep ask of the service: the same calls, in their order and form.

The data and the scripts are ours and small. ``docs/emulator.md`` says which notebooks these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Sdk = Callable[[str], dict[str, Any]]

PARALLEL = """
import tempfile
import azureml.core
from azureml.core import Datastore
from azureml.core.runconfig import CondaDependencies, DEFAULT_CPU_IMAGE
from azureml.data.dataset_consumption_config import DatasetConsumptionConfig
import pandas

print(azureml.core.VERSION, ws.name, ws.location, ws.subscription_id, ws.resource_group, sep="\\n")
if "cpu-cluster" not in ws.compute_targets:
    asked = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=4)
    cluster = ComputeTarget.create(ws, "cpu-cluster", asked)
    cluster.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
cluster = ws.compute_targets["cpu-cluster"]
cluster_status = cluster.get_status().serialize()

# A container of samples, as a team keeps them: no key, the account's name only.
account = store.account_name
made = Datastore.register_azure_blob_container(
    ws, datastore_name="filled", container_name="sampledata", account_name=account, account_key=store.account_key,
    create_if_not_exists=True, overwrite=True)
for index in range(7):
    write(f"images/{index}.txt", str(index))
frame = pandas.DataFrame({"store": [1, 1, 2, 2, 3], "brand": list("ababa"), "income": [1.5, 2.5, 3.5, 4.5, 5.5]})
frame.to_csv("sales.csv", index=False)
write("weights/weight.txt", "10")
write("weights/readme.txt", "ten")
made.upload("images", "images", show_progress=False)
made.upload("weights", "weights", show_progress=False)
samples = Datastore.register_azure_blob_container(
    ws, datastore_name="samples", container_name="sampledata", account_name=account, overwrite=True)
samples.download("local", prefix="weights", show_progress=False)
model = Model.register(model_path="local/weights", model_name="weight", tags={"kind": "ten"}, description="a weight",
                       workspace=ws)

images = Dataset.File.from_files(path=samples.path("images"), validate=False)
chosen = PipelineParameter(name="images_param", default_value=images)
consumed = DatasetConsumptionConfig("images_config", chosen).as_mount()
output = PipelineData(name="inferences", datastore=store)
write("Code/images.py", '''
import argparse, os
from azureml.core.model import Model
def init():
    global weight
    print("init", os.environ["AZUREML_BI_OUTPUT_PATH"])
    weight = int(open(os.path.join(Model.get_model_path("weight"), "weight.txt")).read())
def run(mini_batch):
    return [f"{os.path.basename(path)}: {weight * int(open(path).read())}" for path in mini_batch]
''')
needs = CondaDependencies.create(python_version="3.7", conda_packages=["pip==20.2.4"],
                                 pip_packages=["pillow", "azureml-core", "azureml-dataset-runtime[fuse]"])
batch = Environment(name="batch_environment")
batch.python.conda_dependencies = needs
batch.docker.base_image = DEFAULT_CPU_IMAGE
batch.docker.enabled = True
batch.spark.precache_packages = False
common = dict(source_directory="Code", error_threshold=5, output_action="append_row", environment=batch,
              compute_target=cluster, node_count=2)
config = ParallelRunConfig(
    entry_script="images.py", mini_batch_size=PipelineParameter(name="batch_size_param", default_value="5"),
    append_row_file_name="outputs.txt", process_count_per_node=PipelineParameter("process_count_param", 2), **common)
step = ParallelRunStep(name="predict-images", parallel_run_config=config, inputs=[consumed], output=output,
                       allow_reuse=False)
pipeline = Pipeline(workspace=ws, steps=[step])
experiment = Experiment(ws, "public-images")
run = experiment.submit(pipeline)
again = experiment.submit(pipeline, pipeline_parameters={
    "images_param": Dataset.File.from_files(path=samples.path("images/0.txt"), validate=False),
    "batch_size_param": "1", "process_count_param": 1})
print(run, run._repr_html_())

# Rows by the values of columns, and files by the names of folders.
store.upload_files(["./sales.csv"], ".", "sales_data", overwrite=True, show_progress=False)
table = Dataset.Tabular.from_delimited_files(path=(store, "sales_data/*.csv"))
shown = table.to_pandas_dataframe()
by_column = table.partition_by(partition_keys=["store", "brand"], target=(store, "by_column"), name="by-column")
for place in ("user1/winter", "user2/fall", "user2/winter"):
    store.upload("images", f"seasons/{place}", overwrite=True, show_progress=False)
by_folder = Dataset.File.from_files(path=(store, "seasons/*/*/*.txt"), validate=False,
                                    partition_format="seasons/{user}/{season}/{number}.txt")
write("Code/income.py", '''
def run(mini_batch, mini_batch_context):
    mini_batch["total"] = mini_batch["income"].sum()
    return mini_batch
''')
write("Code/sizes.py", '''
import os
import pandas
def init():
    pass
def run(mini_batch, mini_batch_context):
    keys = mini_batch_context.partition_key_value
    frame = pandas.DataFrame({"name": mini_batch})
    frame["name"] = frame["name"].map(os.path.basename)
    frame["user"], frame["total"] = keys["user"], len(frame)
    return frame
''')
def keyed(name, script, data, keys):
    out = PipelineData(name="inferences", datastore=store)
    config = ParallelRunConfig(entry_script=script, partition_keys=keys, append_row_file_name="outputs.txt",
                               run_invocation_timeout=600, **common)
    return ParallelRunStep(name=name, inputs=[data.as_named_input(name)], output=out, parallel_run_config=config,
                           allow_reuse=False)
partitions = Experiment(ws, "public-partitions").submit(Pipeline(workspace=ws, steps=[
    keyed("income", "income.py", by_column, ["store", "brand"]), keyed("sizes", "sizes.py", by_folder, ["user"])]))

# Rows of a registered table; the result is found by walking.
made.upload_files(["sales.csv"], target_path="tables", show_progress=False)
rows = Dataset.Tabular.from_delimited_files(path=samples.path("tables/"), validate=False)
rows = rows.register(ws, "sales_rows", create_new_version=True).as_named_input("sales_rows")
write("Code/rows.py", '''
import argparse
def init():
    global factor
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    factor = parser.parse_known_args()[0].factor
def run(mini_batch):
    mini_batch["income"] *= factor
    return mini_batch
''')
tabular = Experiment(ws, "public-rows").submit(Pipeline(workspace=ws, steps=[ParallelRunStep(
    name="example-rows", inputs=[rows], output=PipelineData(name="inferences", datastore=store),
    arguments=["--factor", "2"], allow_reuse=True, parallel_run_config=ParallelRunConfig(
        entry_script="rows.py", mini_batch_size="5MB", append_row_file_name="outputs.txt", run_invocation_timeout=600,
        **common))]))

for each in (run, again, partitions, tabular):
    each.wait_for_completion(show_output=each is run)

def result(run, step_name, delimiter):
    data = run.find_step_run(step_name)[0].get_output_data(output.name)
    folder = tempfile.mkdtemp()
    data.download(local_path=folder)
    path = os.path.join(folder, data.path_on_datastore, config.append_row_file_name)
    return pandas.read_csv(path, delimiter=delimiter, header=None)

def walked(run):
    next(run.get_children()).get_output_data("inferences").download(local_path="walked")
    (path,) = [os.path.join(root, name) for root, _, names in os.walk("walked") for name in names
               if name.endswith("outputs.txt")]
    return pandas.read_csv(path, delimiter=" ", header=None)

report(
    cluster=cluster_status, model=[model.version, model.tags, model.description],
    images=sorted(result(run, step.name, ":").values.tolist()),
    single=result(again, step.name, ":").values.tolist(),
    keys=[by_column.partition_keys, by_folder.partition_keys], shown=shown.values.tolist(),
    income=sorted(result(partitions, "income", " ").values.tolist(), key=str),
    sizes=sorted(result(partitions, "sizes", " ").values.tolist()),
    rows=sorted(walked(tabular).values.tolist()),
)
"""


@pytest.fixture(scope="module")
def told(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(PARALLEL)


def test_images_are_scored_with_the_registered_model_and_again_with_other_parameters(told: dict[str, Any]) -> None:
    assert told["images"] == [[f"{index}.txt", 10 * index] for index in range(7)]
    assert told["single"] == [["0.txt", 0]]
    assert told["model"] == [1, {"kind": "ten"}, "a weight"]
    assert told["cluster"]["scaleSettings"]["maxNodeCount"] == 4


def test_rows_of_a_registered_table_are_scored(told: dict[str, Any]) -> None:
    assert told["rows"] == [[1, "a", 3.0], [1, "b", 5.0], [2, "a", 7.0], [2, "b", 9.0], [3, "a", 11.0]]


def test_partitions_are_those_of_the_columns_and_of_the_folders(told: dict[str, Any]) -> None:
    assert told["keys"] == [["store", "brand"], ["user", "season", "number"]]
    sales = [[1, "a", 1.5], [1, "b", 2.5], [2, "a", 3.5], [2, "b", 4.5], [3, "a", 5.5]]
    assert told["shown"] == sales
    # The keys are columns again, at the end.
    assert told["income"] == [[income, store, brand, income] for store, brand, income in sales]
    files = [f"{index}.txt" for index in range(7)]
    counts = [[name, "user1", 7] for name in files] + 2 * [[name, "user2", 14] for name in files]
    assert told["sizes"] == sorted(counts)
