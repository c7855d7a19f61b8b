"""What stands in the emulator when its pages are photographed: a script for the official SDK.

It makes a model, a daily pipeline of three steps with a schedule, a job that fails, and one that is still going on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from azureml.core import Dataset, Environment, Experiment, Model, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.pipeline.core import (
    Pipeline,
    PipelineData,
    PipelineEndpoint,
    PipelineParameter,
    Schedule,
    ScheduleRecurrence,
)
from azureml.pipeline.core.schedule import TimeZone
from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep, PythonScriptStep

SCRIPTS = {
    "prepare.py": """
import os
from pathlib import Path
source, target = (Path(os.environ["AZUREML_DATAREFERENCE_" + name]) for name in ("readings", "clean"))
target.mkdir(parents=True, exist_ok=True)
for path in sorted(source.rglob("*.csv")):
    (target / path.name).write_text(path.read_text().strip() + "\\n")
print("prepared", len(list(target.iterdir())), "files")
""",
    "score.py": """
import os, random, sys, time

PACE = float(sys.argv[sys.argv.index("--pace") + 1])

def run(mini_batch):
    time.sleep(PACE * random.uniform(0.4, 1.6))
    readings = {os.path.basename(path): float(open(path).read()) for path in mini_batch}
    return [f"{name},{amount ** 0.5:.3f}" for name, amount in readings.items() if amount % 40 != 17]
""",
    "score_strictly.py": """
import os

def read(path):
    amount = float(open(path).read())
    if amount % 7 == 6:
        raise ValueError(f"the reading {amount:g} of {os.path.basename(path)} is out of range")
    return amount

def run(mini_batch):
    return [read(path) for path in mini_batch]
""",
    "summarise.py": """
import sys
from pathlib import Path
source, target = map(Path, sys.argv[1:3])
lines = [line for path in source.rglob("*.txt") for line in path.read_text().splitlines()]
scores = [float(line.rsplit(",", 1)[1]) for line in lines]
target.mkdir(parents=True, exist_ok=True)
mean = sum(scores) / len(scores)
(target / "summary.csv").write_text(f"stores,mean,highest\\n{len(scores)},{mean:.3f},{max(scores):.3f}\\n")
""",
}


def main(folder: Path) -> None:
    """Make everything; return while the last run is going on."""
    source = folder / "src"
    readings = folder / "readings"
    for place in (source, readings):
        place.mkdir(parents=True, exist_ok=True)
    for name, text in SCRIPTS.items():
        (source / name).write_text(text)
    for index in range(300):
        (readings / f"store-{index:03}.csv").write_text(f"{index}\n")
    (folder / "model.json").write_text('{"exponent": 0.5}')

    ws = Workspace.from_config()
    store = ws.get_default_datastore()
    store.upload(str(readings), "readings", overwrite=True, show_progress=False)
    data = Dataset.File.from_files((store, "readings")).register(ws, "store-readings", create_new_version=True)
    for quality in ("0.81", "0.87"):
        Model.register(ws, str(folder / "model.json"), "demand", tags={"auc": quality}, description="Demand by store")
    settings = AmlCompute.provisioning_configuration(vm_size="STANDARD_DS2_V2", max_nodes=4)
    cluster = ComputeTarget.create(ws, "cpu-cluster", settings)

    def parallel(name: str, file: str, data: object, target: PipelineData, arguments: list[object]) -> ParallelRunStep:
        config = ParallelRunConfig(
            environment=Environment("any"),
            entry_script=file,
            source_directory=str(source),
            compute_target=cluster,
            mini_batch_size=PipelineParameter("batch_size", "3"),
            error_threshold=10,
            output_action="append_row",
            node_count=1,
            process_count_per_node=2,
        )
        return ParallelRunStep(name, config, inputs=[data], output=target, arguments=arguments, allow_reuse=False)

    def script(name: str, file: str, source_data: object, target: PipelineData) -> PythonScriptStep:
        return PythonScriptStep(
            file, name, [source_data, target], cluster, source_directory=str(source), inputs=[source_data],
            outputs=[target], allow_reuse=False,
        )  # fmt: skip

    pace = PipelineParameter("pace", 0)
    clean, scores, summary = (PipelineData(name, datastore=store) for name in ("clean", "scores", "summary"))
    clean = clean.as_dataset()
    steps = [
        script("prepare", "prepare.py", data.as_named_input("readings").as_mount(), clean),
        parallel("score", "score.py", clean, scores, ["--pace", pace]),
        script("summarise", "summarise.py", scores, summary),
    ]
    daily = Pipeline(ws, steps)
    done = Experiment(ws, "daily-demand").submit(daily, tags={"day": "2026-11-20"})
    done.wait_for_completion(show_output=False)
    published = daily.publish("daily-demand", "Scores yesterday's readings of every store.", version="1")
    PipelineEndpoint.publish(ws, name="demand", pipeline=published, description="What the nightly DAG calls.")
    recurrence = ScheduleRecurrence(
        "Day", 1, hours=[6, 18], minutes=[30], time_zone=TimeZone.WEuropeStandardTime, start_time="2026-10-20T00:00:00"
    )
    Schedule.create(ws, "twice-a-day", published.id, "daily-demand", recurrence, description="Before each shift")

    strict = parallel("score-strictly", "score_strictly.py", data.as_named_input("readings"), scores, [])
    failed = Experiment(ws, "quality-gate").submit(Pipeline(ws, [strict]))
    failed.wait_for_completion(show_output=False, raise_on_error=False)

    going_on = published.submit(ws, "daily-demand", pipeline_parameters={"pace": 0.5, "batch_size": "2"})
    while all(step.status != "Running" for step in going_on.find_step_run("score")):
        time.sleep(1)
    print("PAGES", failed.id, going_on.id, published.id)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
