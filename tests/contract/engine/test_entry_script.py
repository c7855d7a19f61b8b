"""What an entry script may rely on, and what may not come out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from engine_bench import Bench

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator.engine.job import FileInput, TabularInput
from airflow_provider_amlbatch.emulator.engine.report import StepReport


def told(bench: Bench, step: StepReport) -> dict[str, Any]:
    """The one JSON line that a script wrote as its row."""
    assert step.status is RunStatus.COMPLETED, bench.log("logs/job_result.txt")
    (row,) = bench.rows()
    content: dict[str, Any] = json.loads(row)
    return content


def test_surroundings(bench: Bench) -> None:
    bench.files(1)
    bench.script("name = 'sibling'", "helpers/names.py")
    bench.script(
        """
        import json, os, sys
        from helpers.names import name

        def init():
            from azureml_user.parallel_run import EntryScript
            script = EntryScript()
            script.logger.info("hello from init")
            print("printed")
            print("complained", file=sys.stderr)

        def run(mini_batch, mini_batch_context):
            from azureml_user.parallel_run import EntryScript
            script = EntryScript()
            return [json.dumps({
                "argv": sys.argv, "cwd": os.getcwd(), "module": __name__, "name": name, "agent": script.agent_name,
                "working_dir": script.working_dir, "output_dir": script.output_dir, "log_dir": script.log_dir,
                "index": mini_batch_context.minibatch_index, "key": mini_batch_context.partition_key_value,
                "env": {k: v for k, v in os.environ.items() if k.startswith(("AZ", "MY_"))},
                "path": [p for p in sys.path if p.endswith("engine")], "files": mini_batch,
            })]
        """,
        "deep/score.py",
    )
    step = bench.step(entry_script="deep/score.py", node_count=2, process_count_per_node=1)
    step = replace(
        step,
        environment={"MY_VARIABLE": "mine", "AZUREML_RUN_ID": "step"},
        arguments=(
            "--output_action",
            "append_row",
            "--output",
            {"output": "scores"},
            "--data",
            {"input": "data"},
            "-x",
        ),
    )
    seen = told(bench, bench.run(step))
    output, data = str(bench.output), str(bench.data)
    assert seen["argv"][1:] == ["--output_action", "append_row", "--output", output, "--data", data, "-x"]
    assert seen["cwd"] == seen["working_dir"]
    assert Path(seen["cwd"]).name == seen["agent"] == "process000"
    assert (seen["module"], seen["name"], seen["path"]) == ("deep.score", "sibling", [])
    assert (seen["output_dir"], seen["index"], seen["key"]) == (output, 0, None)
    assert seen["files"] == [str(bench.data / "00000.txt")]
    environment = seen["env"]
    assert environment["AZUREML_BI_OUTPUT_PATH"] == output
    assert environment["AZUREML_DATAREFERENCE_data"] == data
    assert (environment["MY_VARIABLE"], environment["AZUREML_RUN_ID"]) == ("mine", "step")
    assert environment["AZUREML_NODE_COUNT"] == "2"
    assert len(environment["AZ_BATCH_NODE_LIST"].split(";")) == 2
    assert environment["AZ_BATCH_IS_CURRENT_NODE_MASTER"] == "true"
    assert bench.log("logs/user/stdout/0/process000.stdout.txt") == "printed\n"
    assert bench.log("logs/user/stderr/0/process000.stderr.txt") == "complained\n"
    record = bench.log("logs/user/entry_script_log/0/process000.log.txt").strip().split("|")
    assert (record[1], record[2], record[5], record[6]) == ("EntryScript", "INFO", "init", "hello from init")


@pytest.mark.parametrize("name", ["json.py", "time.py", "random.py", "logging/handlers.py"])
def test_an_entry_script_may_have_the_name_of_a_module_that_is_there_already(bench: Bench, name: str) -> None:
    bench.files(2)
    bench.script("def run(mini_batch):\n    return [__name__] * len(mini_batch)\n", name)
    assert bench.run(bench.step(entry_script=name, error_threshold=0)).status is RunStatus.COMPLETED
    assert bench.rows() == [name[:-3].replace("/", ".")] * 2


def test_functions_are_called_as_often_as_promised(bench: Bench) -> None:
    bench.files(40)
    bench.script(
        f"""
        import os, time
        def note(what):
            with open({str(bench.root)!r} + "/calls", "a") as file:
                file.write(f"{{what}} {{os.getpid()}}\\n")
        def init():
            note("init")
        def run(mini_batch):
            note("run")
            time.sleep(0.05)
            return mini_batch
        def shutdown():
            note("shutdown")
        """
    )
    assert bench.run(bench.step(node_count=2, process_count_per_node=2)).status is RunStatus.COMPLETED
    calls = [line.split() for line in (bench.root / "calls").read_text().splitlines()]
    pids = {pid for what, pid in calls if what == "init"}
    assert len(pids) == 4
    for what, count in (("init", 4), ("run", 20), ("shutdown", 4)):
        assert len([1 for called, _ in calls if called == what]) == count
    assert sorted(path.name for path in (bench.artifacts / "logs/user/stdout").glob("*/*")) == [
        "process000.stdout.txt",
        "process000.stdout.txt",
        "process001.stdout.txt",
        "process001.stdout.txt",
    ]


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("None", "NoneType"),
        ("'text'", "str"),
        ("{'a': 1}", "dict"),
        ("numpy.zeros(2)", "ndarray"),
        ("pandas.Series([1])", "Series"),
        ("(path for path in mini_batch)", "generator"),
    ],
)
def test_other_types_than_list_and_frame_fail_the_mini_batch(bench: Bench, result: str, kind: str) -> None:
    bench.files(1)
    imports = "".join(f"import {name}\n" for name in ("numpy", "pandas") if name in result)
    (bench.source / "score.py").write_text(f"{imports}def run(mini_batch):\n    return {result}\n")
    step = bench.run(bench.step(error_threshold=-1))
    assert step.status is RunStatus.FAILED
    assert "There is no succeeded mini batch item returned from run()." in str(step.error_message)
    errors = bench.log("logs/job_error.*.txt")
    assert "The run() method in the entry script should return a list or a pandas DataFrame" in errors
    assert f"The actual type of output is {kind}." in errors
    assert '"dequeue' not in errors
    assert errors.count("try 3 of 3") == 1


def test_nothing_to_append_fails_but_summary_only_does_not_care(bench: Bench) -> None:
    bench.files(2)
    bench.script("def run(mini_batch):\n    return []\n")
    step = bench.run(bench.step(error_threshold=-1, output_action="summary_only", output_name=None))
    assert step.status is RunStatus.COMPLETED
    assert step.progress is not None
    assert (step.progress.failed_items, step.progress.failed_mini_batches) == (2, 0)
    assert not list(bench.output.iterdir())


def test_rows_of_data_frames(bench: Bench) -> None:
    bench.files(4)
    bench.script(
        """
        import os, pandas
        def run(mini_batch):
            return pandas.DataFrame({"file name": [os.path.basename(p) for p in mini_batch], "text": "a b"})
        """
    )
    bench.script('{"append_row": {"pandas.DataFrame.to_csv": {"sep": ","}}}', "parallel_run_step.settings.json")
    step = bench.step(append_row_file_name="scores.csv", append_row_dataframe_header=True)
    assert bench.run(step).status is RunStatus.COMPLETED
    lines = (bench.output / "scores.csv").read_text().splitlines()
    assert lines[0] == "file name,text"
    assert sorted(lines[1:]) == [f"{number:05d}.txt,a b" for number in range(4)]


def test_partition_key_of_files(bench: Bench) -> None:
    for day in ("2020/01/02", "2020/01/03"):
        for name in "ab":
            path = bench.data / day / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    bench.script(
        """
        def run(mini_batch, context):
            day = context.partition_key_value["day"]
            return [f"{day:%d.%m.%Y} {len(mini_batch)}"] * 2
        """
    )
    source = FileInput(
        "data", (str(bench.data),), root=str(bench.data), partition_format="/{day:yyyy/MM/dd}/{name}.txt"
    )
    assert bench.run(bench.step((source,), partition_keys=("day",))).status is RunStatus.COMPLETED
    assert bench.rows() == ["02.01.2020 2"] * 2 + ["03.01.2020 2"] * 2


def test_rows_of_a_tabular_input_are_the_items(bench: Bench) -> None:
    table = pandas.DataFrame({"n": range(100), "x": [value / 3 for value in range(100)]})
    table.to_csv(bench.data / "table.csv", index=False)
    (bench.data / "header_only.csv").write_text("n,x\n")
    bench.script(
        """
        def run(mini_batch):
            assert len(mini_batch) > 0
            if 50 in set(mini_batch["n"]):
                raise ValueError("fifty")
            return mini_batch[["n", "x"]]
        """
    )
    source = TabularInput("data", (str(bench.data),))
    step = bench.run(bench.step((source,), mini_batch_size=400, run_max_try=2))
    assert step.status is RunStatus.COMPLETED
    assert step.progress is not None
    rows = [line.split(" ") for line in bench.rows()]
    lost = step.progress.failed_items
    assert 0 < lost < 40
    assert (step.progress.total_items, step.progress.succeeded_items) == (100, 100 - lost)
    written = {int(n): float(x) for n, x in rows}
    assert len(written) == len(rows) == 100 - lost
    assert all(written[n] == n / 3 for n in written)
    assert 50 not in written


@pytest.mark.parametrize("kind", ["delimited", "parquet", "files"])
def test_a_mini_batch_knows_how_many_rows_come_before_it(bench: Bench, kind: str) -> None:
    # Each row or file holds its own number, so the number of the first one of a mini-batch is what was counted.
    source: TabularInput | FileInput = FileInput("data", (str(bench.data),))
    if kind == "files":
        bench.files(7)
    else:
        for number in range(3):
            table = pandas.DataFrame({"n": range(40 * number, 40 * number + 40)})
            if kind == "parquet":
                table.to_parquet(bench.data / f"{number}.parquet", row_group_size=9)
            else:
                table.to_csv(bench.data / f"{number}.csv", index=False)
        source = TabularInput("data", (str(bench.data),), "parquet" if kind == "parquet" else "delimited")
    bench.script(
        """
        import time
        def run(mini_batch, context):
            numbers = mini_batch["n"] if hasattr(mini_batch, "columns") else [open(path).read() for path in mini_batch]
            time.sleep(0.01)  # both workers get some
            return [f"{n} {context.global_row_index_lower_bound + place}" for place, n in enumerate(numbers)]
        """
    )
    size = 2 if kind == "files" else 50
    assert bench.run(bench.step((source,), mini_batch_size=size, at_least_once=True)).status is RunStatus.COMPLETED
    rows = [row.split() for row in bench.rows()]
    assert {number for number, _ in rows} == set(map(str, range(7 if kind == "files" else 120)))
    assert all(number == counted for number, counted in rows)


def test_what_a_mini_batch_does_not_have_is_said_and_not_none(bench: Bench) -> None:
    bench.files(1)
    bench.script("def run(mini_batch, context):\n    return [hasattr(context, 'dataset'), context.dataset]\n")
    step = bench.run(bench.step(error_threshold=0, run_max_try=1))
    assert "AttributeError: mini_batch_context.dataset is there only for a step with partition_keys." in str(
        step.error_message
    )


def test_rows_of_a_killed_tabular_mini_batch_count_as_failed(bench: Bench) -> None:
    pandas.DataFrame({"n": range(10)}).to_csv(bench.data / "bad.csv", index=False)
    pandas.DataFrame({"n": [-1] * 5}).to_csv(bench.data / "good.csv", index=False)
    bench.script(
        """
        import os
        def run(mini_batch):
            if mini_batch["n"].max() > 0:
                os._exit(1)
            return mini_batch
        """
    )
    step = bench.run(bench.step((TabularInput("data", (str(bench.data),)),), mini_batch_size=1 << 20))
    assert step.status is RunStatus.COMPLETED
    assert step.progress is not None
    progress = step.progress
    assert (progress.total_items, progress.succeeded_items, progress.failed_items) == (15, 5, 10)


def test_rows_that_cannot_be_read_exceed_a_threshold_of_zero(bench: Bench) -> None:
    pandas.DataFrame({"n": range(10)}).to_csv(bench.data / "good.csv", index=False)
    (bench.data / "torn.csv").write_bytes(b"n\n\xff\xfe\n")
    bench.script("def run(mini_batch):\n    return mini_batch\n")
    source = TabularInput("data", (str(bench.data),))
    step = bench.run(bench.step((source,), mini_batch_size=1 << 20, error_threshold=0, run_max_try=1))
    assert step.status is RunStatus.FAILED
    assert "1 failed items exceed error_threshold=0" in str(step.error_message)
    assert "UnicodeDecodeError" in str(step.error_message)


def test_at_least_once_doubles_rows_on_purpose(bench: Bench) -> None:
    bench.files(20)
    bench.script("import os\ndef run(mini_batch):\n    return [os.path.basename(path) for path in mini_batch]\n")
    step = bench.run(bench.step(at_least_once=True, process_count_per_node=1))
    assert step.status is RunStatus.COMPLETED
    assert step.progress is not None
    assert (step.progress.succeeded_items, step.progress.failed_items) == (20, 0)
    lines = (bench.output / "parallel_run_step.txt").read_text().splitlines()
    assert set(lines) == {f"{number:05d}.txt" for number in range(20)}
    assert len(lines) == step.progress.rows > 20
    assert lines != sorted(lines)


def test_rank_mini_batches_need_no_input(bench: Bench) -> None:
    bench.script("def run(mini_batch, context):\n    return [f'{mini_batch} {context.minibatch_index}']\n")
    step = bench.step(input_names=(), rank_mini_batch_count=3, resource_monitor_interval=0)
    assert bench.run(replace(step, inputs=())).status is RunStatus.COMPLETED
    assert bench.rows() == ["[] 0", "[] 1", "[] 2"]
    assert bench.log("logs/sys/perf/*/*") == ""


def test_a_mini_batch_may_be_larger_than_any_buffer(bench: Bench) -> None:
    (path,) = bench.files(1)
    bench.script("def run(mini_batch):\n    return [open(path).read() for path in mini_batch]\n")
    source = FileInput("data", (str(path),) * 20_000)
    step = bench.run(bench.step((source,), mini_batch_size=10_000))
    assert step.status is RunStatus.COMPLETED
    assert bench.rows() == ["0"] * 20_000
