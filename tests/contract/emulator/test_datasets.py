"""Datasets, judged by the SDK and its native reader, and by what a step is given of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

REGISTER = """
import pandas
from azureml.data.dataset_factory import DataType

for store_name in ("north", "south"):
    for index in range(3):
        rows = f"id,amount\\n{index},{index * 1.5}\\n{index + 10},7\\n"
        write(f"sales/{store_name}/2026/{index + 1:02}/part.csv", rows)
store.upload("sales", "sales", show_progress=False)

files = Dataset.File.from_files((store, "sales/**/*.csv"), partition_format="/{store}/{month:yyyy/MM}/part.csv")
first = files.register(ws, "sales", description="all sales", tags={"area": "both"})
taken = failure(files.register, ws, "sales")
second = files.register(ws, "sales", description="again", create_new_version=True)
table = Dataset.Tabular.from_delimited_files((store, "sales/north/**/*.csv"))
table = table.register(ws, "table")
frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
uploaded = Dataset.Tabular.register_pandas_dataframe(frame, (store, "frames"), "frames")
folder = Dataset.File.upload_directory("sales/north", (store, "uploaded"), overwrite=True)
pandas.DataFrame({"k": [5], "v": ["json"]}).to_json("rows.jsonl", orient="records", lines=True)
store.upload_files(["rows.jsonl"], target_path="json", overwrite=True, show_progress=False)
json_lines = Dataset.Tabular.from_json_lines_files((store, "json/rows.jsonl"))

by_name = Dataset.get_by_name(ws, "sales")
report(
    versions=[first.version, second.version, by_name.version, Dataset.get_by_name(ws, "sales", version=1).description],
    taken=taken,
    described=[by_name.description, by_name.tags, by_name.name, type(by_name).__name__, first.tags],
    paths=by_name.to_path(),
    by_id=Dataset.get_by_id(ws, first.id).to_path() == by_name.to_path(),
    missing=[failure(Dataset.get_by_name, ws, "nothing"), failure(Dataset.get_by_name, ws, "sales", version=9)],
    names=sorted(name for name in ws.datasets if name in ("sales", "table", "frames")),
    table=table.to_pandas_dataframe().sort_values(["id", "amount"]).values.tolist(),
    frame=uploaded.to_pandas_dataframe().values.tolist(),
    folder=len(folder.to_path()),
    json_lines=json_lines.to_pandas_dataframe().values.tolist(),
    downloaded=len(by_name.download("here")),
)
by_name = by_name.add_tags({"more": "1"})
report(tags=Dataset.get_by_name(ws, "sales").tags)
updated = Dataset.get_by_name(ws, "table").update(description="the north")
report(updated=Dataset.get_by_name(ws, "table").description)
Dataset.get_by_name(ws, "frames").unregister_all_versions()
report(unregistered=failure(Dataset.get_by_name, ws, "frames"))
"""

SCORE = """
from azureml.data.dataset_consumption_config import DatasetConsumptionConfig

for index in range(6):
    write(f"parts/{'ab'[index % 2]}/{index}.csv", f"number,word\\n{index},w{index}\\n{index + 100},v{index}\\n")
store.upload("parts", "parts", overwrite=True, show_progress=False)
write("files/score.py", '''
import os
def run(mini_batch, mini_batch_context):
    keys = getattr(mini_batch_context, "partition_key_value", None)
    return [f"{keys} {os.path.basename(path)}" for path in mini_batch]
''')
write("rows/score.py", '''
def run(mini_batch):
    return [f"{number} {word}" for number, word in zip(mini_batch["number"] + 1, mini_batch["word"])]
''')
write("side/score.py", '''
import os, sys
place = sys.argv[sys.argv.index("--side") + 1]
def run(mini_batch):
    return [f"{os.path.basename(path)} {sorted(os.listdir(place))}" for path in mini_batch]
''')

files = Dataset.File.from_files((store, "parts/**/*.csv"))
keyed = Dataset.File.from_files((store, "parts/**/*.csv"), partition_format="/{letter}/{number}.csv")
table = Dataset.Tabular.from_delimited_files((store, "parts/**/*.csv"))
parameter = PipelineParameter("which", Dataset.File.from_files((store, "parts/a/*.csv")))
which = DatasetConsumptionConfig("which_files", parameter)

def score(name, source, inputs, **more):
    return parallel(name, source, inputs, output=PipelineData("scores", datastore=store), **more)

plain = score("plain", "files", [files.as_named_input("in")])
partitioned = score("keyed", "files", [keyed.as_named_input("in")], mini_batch_size=None, partition_keys=["letter"])
tabular = score("tabular", "rows", [table.as_named_input("in")], mini_batch_size="1MB")
chosen = score("chosen", "files", [which])
side_input = Dataset.File.from_files((store, "parts/b/*.csv")).as_named_input("side").as_mount()
beside = score("beside", "side", [Dataset.File.from_files((store, "parts/a/0.csv")).as_named_input("in")],
               side_inputs=[side_input], arguments=["--side", side_input])

run = submit([plain, partitioned, tabular, chosen, beside], "datasets")
other = submit([chosen], "datasets", pipeline_parameters={"which": Dataset.File.from_files((store, "parts/b/*.csv"))})
run.wait_for_completion(show_output=False)
other.wait_for_completion(show_output=False)
report(
    scores={step.name: lines(step, step.name) for step in run.get_children()},
    chosen=lines(other.find_step_run("chosen")[0], "other"),
    input_names=run.find_step_run("tabular")[0].get_details()["inputDatasets"][0]["consumptionDetails"]["inputName"],
)
published = Pipeline(ws, [chosen]).publish("datasets", "")
saved = Dataset.File.from_files((store, "parts/b/3.csv"))
header = ws._auth.get_authentication_header()
saved_id = saved.register(ws, "rest-dataset", create_new_version=True)._registration
def invoke(reference):
    body = {"ExperimentName": "datasets", "DataSetDefinitionValueAssignments": {"which": reference}}
    return requests.post(published.endpoint, headers=header, json=body)
started = invoke({"DataSetReference": {"Id": saved_id.registered_id, "Version": "1"}})
by_rest = PipelineRun(ws.experiments["datasets"], started.json()["Id"])
by_rest.wait_for_completion(show_output=False)
answer = invoke({"SavedDataSetReference": {"Id": "nothing"}})
report(by_rest=lines(by_rest.find_step_run("chosen")[0], "rest"),
       refused=[answer.status_code, answer.json()["Error"]["Code"]])
"""

PATHS = """
from azureml.data.datapath import DataPath, DataPathComputeBinding
from azureml.data.data_reference import DataReference

write("seen/one.txt", "1")
write("other/two.txt", "2")
store.upload("seen", "seen", overwrite=True, show_progress=False)
store.upload("other", "other", overwrite=True, show_progress=False)
write("show/show.py", "import os, sys; print('SEEN', sorted(os.listdir(sys.argv[2])))")
parameter = PipelineParameter("place", DataPath(store, "seen"))
binding = (parameter, DataPathComputeBinding(mode="mount"))
step = PythonScriptStep("show.py", "show", ["--place", binding], inputs=[binding], compute_target=make_cluster(),
                        source_directory="show", allow_reuse=False)
reference = DataReference(store, "fixed", path_on_datastore="other", mode="mount")
fixed = PythonScriptStep("show.py", "fixed", ["--place", reference], inputs=[reference],
                         compute_target=make_cluster(), source_directory="show", allow_reuse=False)
def seen(run, name):
    run.wait_for_completion(show_output=False)
    (line,) = [line for line in run.find_step_run(name)[0].get_stdout_log().splitlines() if "SEEN" in line]
    return line
write("placed/placed.py", '''
import os, sys
with open("made/here/out.txt", "w") as file:
    file.write("written")
print("SEEN", sorted(os.listdir("data/in")), os.listdir(sys.argv[2]))
''')
given = Dataset.File.from_files((store, "other/**")).as_named_input("given")
made = PipelineData("made", datastore=store, output_mode="upload", output_path_on_compute="made/here")
def placed(name, path):
    mounted = given.as_mount(path)
    return PythonScriptStep("placed.py", name, ["--given", mounted], inputs=[mounted], outputs=[made],
                            compute_target=make_cluster(), source_directory="placed", allow_reuse=False)
absolute = failure(submit, placed("absolute", "/data/in"), "paths")
relative = submit(placed("relative", "data/in"), "paths")
default = submit([step, fixed], "paths")
other = submit([step], "paths", pipeline_parameters={"place": DataPath(store, "other")})
report(seen=[seen(default, "show"), seen(default, "fixed"), seen(other, "show")], absolute=absolute,
       relative=seen(relative, "relative"))
relative.find_step_run("relative")[0].get_output_data("made").download("made-here")
report(made=[path.read_text() for path in Path("made-here").rglob("out.txt")])
"""

OUTPUTS = """
from azureml.data import OutputFileDatasetConfig

write("make/make.py", '''
import os, sys
os.makedirs(sys.argv[2], exist_ok=True)
for index in range(3):
    with open(os.path.join(sys.argv[2], f"{index}.csv"), "w") as file:
        print("n,w", f"{index},a", f"{index + 10},b", sep=chr(10), file=file)
''')
write("rows/score.py", '''
def run(mini_batch):
    return [f"{n} {w}" for n, w in zip(mini_batch["n"], mini_batch["w"])]
''')
def make(name, target, **more):
    return PythonScriptStep("make.py", name, ["--target", target], compute_target=make_cluster(),
                            source_directory="make", allow_reuse=False, **more)

table = OutputFileDatasetConfig("made").read_delimited_files().register_on_complete("made-table")
first = parallel("first", "rows", [table.as_input("batch")], mini_batch_size="1MB")
first.run_after(make("one", table))
data = PipelineData("data", datastore=store).as_dataset()
second = parallel("second", "rows", [data.parse_delimited_files()], mini_batch_size="1MB")
write("late/late.py", '''
from azureml.core import Dataset, Run
made = Dataset.get_by_name(Run.get_context().experiment.workspace, "made-table")
print("SEEN", sorted(map(int, made.to_pandas_dataframe()["n"])))
''')
late = PythonScriptStep("late.py", "late", compute_target=make_cluster(), source_directory="late", allow_reuse=False)
late.run_after(first)
run = submit([first, second, late, make("two", data, outputs=[data])], "outputs")
run.wait_for_completion(show_output=False)
frame = Dataset.get_by_name(ws, "made-table").to_pandas_dataframe()
report(scores={name: lines(run.find_step_run(name)[0], name) for name in ("first", "second")},
       late=[line for line in run.find_step_run("late")[0].get_stdout_log().splitlines() if "SEEN" in line],
       registered=sorted(" ".join(map(str, row)) for row in frame.values.tolist()))
"""

PARTS = """
import pandas

for index in range(3):
    rows = "".join(f"{10 * index + number},w{number},{number / 2}\\n" for number in range(4))
    write(f"whole/{index}.csv", "id,word,part\\n" + rows)
    pandas.DataFrame({"id": [index, index + 10], "word": ["x", "y"]}).to_parquet(f"whole/{index}.parquet")
    write(f"whole/{index}.jsonl", json.dumps({"id": index, "word": "z"}) + "\\n")
store.upload("whole", "whole", overwrite=True, show_progress=False)
write("whole-rows/score.py", '''
def run(mini_batch):
    assert len(mini_batch) <= 3, "the file was not cut"
    return [repr(row) for row in mini_batch.astype(str).values.tolist()]
''')
write("whole-files/score.py", '''
import os
def run(mini_batch):
    return [os.path.basename(path) for path in mini_batch]
''')
write("read/read.py", '''
from azureml.core import Run
print("SEEN", Run.get_context().input_datasets["rows"].to_pandas_dataframe()["id"].tolist())
''')
table = Dataset.Tabular.from_delimited_files((store, "whole/*.csv"))
told = Dataset.Tabular.from_delimited_files((store, "whole/*.csv"), include_path=True, partition_format="/{file}.csv")
tables = {
    "take": table.take(5), "skip": table.skip(9), "middle": table.skip(3).take(6).skip(1),
    "drop": table.drop_columns(["word", "absent"]), "keep": table.keep_columns(["part", "id"]).take(2),
    "path": told.skip(2).take(4),
    "parquet": Dataset.Tabular.from_parquet_files((store, "whole/*.parquet"), include_path=True).skip(1),
    "json": Dataset.Tabular.from_json_lines_files((store, "whole/*.jsonl"), include_path=True).take(2),
}
tables = {name: data.register(ws, f"whole-{name}", create_new_version=True) for name, data in tables.items()}
files = Dataset.File.from_files((store, "whole/*.csv"))
inputs = [data.as_named_input(name) for name, data in tables.items()]
some = [files.take(2).as_named_input("first"), files.skip(1).take(1).as_named_input("second")]
steps = [parallel("rows", "whole-rows", inputs, mini_batch_size="25"), parallel("files", "whole-files", some)]
filtered = table.filter((table["id"] > 2) & (table["part"] < 1)).register(ws, "filtered", create_new_version=True)
rows = filtered.as_named_input("rows")
steps.append(PythonScriptStep("read.py", "read", inputs=[rows], compute_target=make_cluster(), source_directory="read",
                              allow_reuse=False))
run = submit(steps, "parts")
refused = {
    "filter": failure(submit, parallel("filter", "whole-rows", filtered), "parts"),
    "sample": failure(submit, parallel("sample", "whole-rows", table.random_split(0.5, seed=1)[0]), "parts"),
    "mounted": failure(submit, parallel("mounted", "whole-files", files, side_inputs=[
        files.take(1).as_named_input("side").as_mount()]), "parts"),
}
run.wait_for_completion(show_output=False)
report(
    seen={step.name: lines(step, step.name) for step in run.get_children() if step.name != "read"},
    judged={name: [repr(row) for row in data.to_pandas_dataframe().astype(str).values.tolist()]
            for name, data in tables.items()},
    read=[line for line in run.find_step_run("read")[0].get_stdout_log().splitlines() if "SEEN" in line],
    filtered=filtered.to_pandas_dataframe()["id"].tolist(), refused=refused,
)
"""

Sdk = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def registered(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(REGISTER)


def test_a_name_has_versions_and_is_not_taken_twice(registered: dict[str, Any]) -> None:
    assert registered["versions"] == [1, 2, 2, "all sales"]
    assert "already a dataset registered" in registered["taken"]
    assert registered["described"] == ["again", {}, "sales", "FileDataset", {"area": "both"}]
    assert registered["tags"] == {"more": "1"}
    assert registered["updated"] == "the north"
    assert registered["names"] == ["frames", "sales", "table"]


def test_what_is_not_there_is_said_in_the_sdks_own_words(registered: dict[str, Any]) -> None:
    assert 'Cannot find dataset registered with name "nothing"' in registered["missing"][0]
    assert "(version: 9)" in registered["missing"][1]
    assert "Cannot find dataset" in registered["unregistered"]


def test_the_native_reader_reads_what_lies_in_the_datastore(registered: dict[str, Any]) -> None:
    assert registered["paths"] == [
        f"/{store}/2026/{month:02}/part.csv" for store in ("north", "south") for month in (1, 2, 3)
    ]
    assert registered["by_id"] is True
    assert registered["downloaded"] == 6
    assert registered["table"] == [[0, 0.0], [1, 1.5], [2, 3.0], [10, 7.0], [11, 7.0], [12, 7.0]]
    assert registered["frame"] == [[1, "x"], [2, "y"], [3, "z"]]
    assert registered["folder"] == 3
    assert registered["json_lines"] == [[5, "json"]]


@pytest.fixture(scope="module")
def scored(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(SCORE)


def test_a_step_is_given_files_keys_rows_and_side_inputs(scored: dict[str, Any]) -> None:
    scores = scored["scores"]
    assert scores["plain"] == [f"None {number}.csv" for number in range(6)]
    assert scores["keyed"] == sorted(f"{{'letter': '{'ab'[number % 2]}'}} {number}.csv" for number in range(6))
    rows = [(number, f"w{number}") for number in range(6)] + [(number + 100, f"v{number}") for number in range(6)]
    assert scores["tabular"] == sorted(f"{number + 1} {word}" for number, word in rows)
    assert scores["beside"] == ["0.csv ['1.csv', '3.csv', '5.csv']"]
    assert scored["input_names"] == "in"


def test_a_dataset_parameter_is_chosen_at_submission_and_over_rest(scored: dict[str, Any]) -> None:
    assert scored["scores"]["chosen"] == ["None 0.csv", "None 2.csv", "None 4.csv"]
    assert scored["chosen"] == ["None 1.csv", "None 3.csv", "None 5.csv"]
    assert scored["by_rest"] == ["None 3.csv"]
    assert scored["refused"] == [400, "GraphDatasetNotFound"]


def test_the_output_of_a_step_is_read_as_rows_by_the_next(pipeline_sdk: Sdk) -> None:
    told = pipeline_sdk(OUTPUTS)
    rows = ["0 a", "1 a", "10 b", "11 b", "12 b", "2 a"]
    assert told["scores"] == {"first": rows, "second": rows}
    assert told["registered"] == rows
    # It is there for the step after, long before the run ends.
    assert [line.rpartition("SEEN ")[2] for line in told["late"]] == ["[0, 1, 2, 10, 11, 12]"]


@pytest.fixture(scope="module")
def parts(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(PARTS)


def test_parts_of_a_dataset_are_what_the_sdks_own_reader_makes_of_them(parts: dict[str, Any]) -> None:
    seen, judged = parts["seen"], parts["judged"]
    lengths = {"take": 5, "skip": 3, "middle": 5, "drop": 12, "keep": 2, "path": 4, "parquet": 5, "json": 2}
    assert {name: len(rows) for name, rows in judged.items()} == lengths
    assert seen["rows"] == sorted(row for rows in judged.values() for row in rows)
    assert seen["files"] == ["0.csv", "1.csv", "1.csv"]


def test_a_script_may_read_what_a_parallel_step_is_refused_by_name(parts: dict[str, Any]) -> None:
    assert parts["filtered"] == [10, 11, 20, 21]
    assert [line.rpartition("SEEN ")[2] for line in parts["read"]] == ["[10, 11, 20, 21]"]
    assert "'filter'" in parts["refused"]["filter"]
    assert "'sample'" in parts["refused"]["sample"]
    assert "take() and skip() work for" in parts["refused"]["mounted"]


@pytest.fixture(scope="module")
def reached(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(PATHS)


def test_data_paths_and_data_references_reach_a_script(reached: dict[str, Any]) -> None:
    assert [line.rpartition("SEEN ")[2] for line in reached["seen"]] == ["['one.txt']", "['two.txt']", "['two.txt']"]


def test_a_script_finds_its_data_where_it_asks_for_it_below_its_folder(reached: dict[str, Any]) -> None:
    assert reached["relative"].rpartition("SEEN ")[2] == "['two.txt'] ['two.txt']"
    assert reached["made"] == ["written"]
    assert "path_on_compute='/data/in'" in reached["absolute"]


def test_a_definition_that_the_emulator_cannot_read_is_refused_by_name(emulator: ServedEmulator) -> None:
    base = f"{emulator.url}/dataset/v1.0{emulator.scope}"
    session = emulator.session()

    def refusal(flow: str) -> str:
        answer = session.post(f"{base}/saveddatasets", json={"datasetType": "file", "dataflowJson": flow})
        assert answer.status_code == 400
        return str(answer.json()["error"]["message"])

    assert "cannot be read" in refusal("not a definition")
    assert "names no paths" in refusal("type: mltable\n")
    assert "https://elsewhere" in refusal("paths:\n- file: https://elsewhere/a.csv\n")
    assert session.get(f"{base}/saveddatasets/nothing").status_code == 404
    assert session.get(f"{emulator.url}/data/v1.0{emulator.scope}/dataversion/asset/versions/1").status_code == 404
