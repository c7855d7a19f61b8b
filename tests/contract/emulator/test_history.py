"""Run history, judged by the SDK, and by the models of the client that Microsoft generates from its description."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

LOGGED = """
experiment = Experiment(ws, "logged")
run = experiment.start_logging(snapshot_directory=None, display_name="by hand")
for loss in (0.5, 0.25):
    run.log("loss", loss)
run.log_list("scores", [1, 2, 3])
run.log_row("table", x=1, y="a")
run.log_row("table", x=2, y="b")
run.tag("kind", "test run")
run.add_properties({"azureml.mine": "1"})
write("model.txt", "the model")
run.upload_file("outputs/model.txt", "model.txt")
child = run.child_run("child")
child.log("inner", 1)
child.complete()
running = run.get_status()
run.complete()
model = run.register_model("from-a-run", model_path="outputs/model.txt")
model.download("model-copy")
broken = experiment.start_logging(snapshot_directory=None)
broken.fail("it broke", error_code="Mine")
canceled = experiment.start_logging(snapshot_directory=None)
canceled.cancel()
experiment.tag("team", "batch")
def ids(runs):
    return [entry.id for entry in runs]
report(
    ids={"run": run.id, "child": child.id, "broken": broken.id, "canceled": canceled.id},
    metrics=run.get_metrics(), one=run.get_metrics("loss"), recursive=sorted(run.get_metrics(recursive=True)),
    status=[running, run.get_status(), broken.get_status(), canceled.get_status(), child.get_status()],
    described=[run.display_name, run.get_tags(), run.get_properties(), run.get_file_names(), run.number],
    model=[model.id, model.run_id, next(Path("model-copy").rglob("model.txt")).read_text()],
    error=broken.get_details()["error"]["error"],
    children=ids(run.get_children()), parent=child.parent.id,
    listed=ids(experiment.get_runs()),
    everything=sorted(ids(experiment.get_runs(include_children=True))),
    by_tag=ids(experiment.get_runs(tags={"kind": "test run"})), has_tag=ids(experiment.get_runs(tags="kind")),
    by_property=ids(experiment.get_runs(properties={"azureml.mine": "1"})),
    by_status=ids(Run.list(experiment, status="Failed")),
    experiments=[name for name in ws.experiments if name == "logged"], team=Experiment(ws, "logged").tags,
    anywhere=ws.get_run(run.id).id,
    missing=failure(ws.get_run, "nothing"),
)
run.remove_tags(["kind"])
run.display_name = "renamed"
experiment.remove_tags(["team"])
write("big/a/b.txt", "deep")
many = Experiment(ws, "many-children").start_logging(snapshot_directory=None)
many.upload_folder("outputs/big", "big")
many.download_file("outputs/big/a/b.txt", "back.txt")
children = many.create_children(tag_key="rank", tag_values=["a", "b", "c"])
many.complete()
Experiment(ws, "empty")
empty = Experiment(ws, "never-used")
report(
    untagged=run.get_tags(), renamed=ws.get_run(run.id).display_name, no_team=Experiment(ws, "logged").tags,
    downloaded=Path("back.txt").read_text(), ranks=sorted(child.tags["rank"] for child in children),
    of_many={child.id for child in children} == {each.id for each in many.get_children()},
    token=bool(many._client.run.get_token().token), in_use=failure(Experiment.delete, ws, many.experiment.id),
    deleted=Experiment.delete(ws, empty.id), left="never-used" in ws.experiments,
)
"""

PIPELINE = """
dataset = make_files("history-data", 12)
write("src/score.py", DOUBLE)
run = Experiment(ws, "history").submit(Pipeline(ws, [parallel("score", "src", dataset)]), tags={"key": "one"})
run.tag("later", "two")
run.wait_for_completion(show_output=False)
step = run.find_step_run("score")[0]
report(run=run.id, step=step.id, tags=PipelineRun(ws.experiments["history"], run.id).get_tags(),
       metrics=step.get_metrics())
from azureml.pipeline.core.graph import DataType
statuses = run._pipeline_run_provider.get_node_statuses(run.id)
DataType.create_data_type(ws, "MyType", "mine", is_directory=True)
report(statuses={node == step._node_id: str(told.status_code) for node, told in statuses.items()},
       step_of_node=step._step_run_provider.get_run_id(run.id, step._node_id))
"""

Sdk = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def logged(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(LOGGED)


@pytest.fixture(scope="module")
def pipeline(pipeline_sdk: Sdk) -> dict[str, Any]:
    return pipeline_sdk(PIPELINE)


class History:
    """Run history over bare REST."""

    def __init__(self, emulator: ServedEmulator) -> None:
        self._base = f"{emulator.url}/history/v1.0{emulator.scope}"
        self._session = emulator.session()

    def call(self, method: str, path: str, body: Any = None, status: int = 200, **query: Any) -> Any:
        answer = self._session.request(method, self._base + path, json=body, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def query(self, experiment: str, **params: Any) -> list[str]:
        """Ids of the runs that a query finds, page by page."""
        return [run["runId"] for page in self.pages(experiment, **params) for run in page]

    def pages(self, experiment: str, **params: Any) -> Iterator[list[dict[str, Any]]]:
        token = None
        while True:
            page = self.call("POST", f"/experiments/{experiment}/runs:query", params | {"continuationToken": token})
            yield page["value"]
            token = page["continuationToken"]
            if token is None:
                return


@pytest.fixture(scope="module")
def history(emulator: ServedEmulator) -> History:
    made = History(emulator)
    made.call("POST", "/experiments/many")
    for number in range(25):
        tags = {"parity": "odd" if number % 2 else "even", "number": str(number)}
        made.call("PATCH", f"/experiments/many/runs/run-{number:02}", {"runId": f"run-{number:02}", "tags": tags})
    return made


@pytest.fixture(scope="module")
def judge() -> Callable[[str, Any], Any]:
    """Read a reply with the generated models, and refuse names that they do not know.

    The package around them does not import here, so the file is loaded by its path.
    """
    package = Path(next(iter(importlib.util.find_spec("azure.ai").submodule_search_locations)))  # type: ignore
    folder = package / "ml" / "_restclient" / "runhistory" / "models"
    parent = types.ModuleType("generated")
    parent.__path__ = [str(folder)]
    sys.modules["generated"] = parent
    spec = importlib.util.spec_from_file_location("generated._models_py3", folder / "_models_py3.py")
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    sys.modules["generated._models_py3"] = models
    spec.loader.exec_module(models)
    from msrest import Deserializer

    classes: dict[str, Any] = {name: value for name, value in vars(models).items() if isinstance(value, type)}
    deserialize: Callable[[str, Any], Any] = Deserializer(classes)  # type: ignore[no-untyped-call]

    def read(kind: str, document: Any) -> Any:
        known = {entry["key"] for entry in classes[kind]._attribute_map.values()}
        assert set(document) <= known, f"{kind} has no {sorted(set(document) - known)}"
        return deserialize(kind, document)

    return read


def test_an_interactive_run_keeps_what_it_logs(logged: dict[str, Any]) -> None:
    assert logged["metrics"] == {"loss": [0.5, 0.25], "scores": [1, 2, 3], "table": {"x": [1, 2], "y": ["a", "b"]}}
    assert logged["one"] == {"loss": [0.5, 0.25]}
    assert logged["status"] == ["Running", "Completed", "Failed", "Canceled", "Completed"]
    assert logged["described"][:4] == ["by hand", {"kind": "test run"}, {"azureml.mine": "1"}, ["outputs/model.txt"]]
    assert logged["model"] == ["from-a-run:1", logged["ids"]["run"], "the model"]
    assert logged["error"]["code"] == "Mine"
    assert logged["error"]["message"] == "it broke"
    assert logged["untagged"] == {}
    assert logged["renamed"] == "renamed"


def test_children_files_and_experiments_come_and_go(logged: dict[str, Any]) -> None:
    assert logged["ranks"] == ["a", "b", "c"]
    assert logged["of_many"] is True
    assert logged["downloaded"] == "deep"
    assert logged["token"] is True
    assert logged["no_team"] == {}
    assert "has had runs" in logged["in_use"]
    assert logged["left"] is False


def test_runs_are_found_by_tags_properties_status_and_parent(logged: dict[str, Any]) -> None:
    ids = logged["ids"]
    assert logged["children"] == [ids["child"]]
    assert logged["parent"] == ids["run"]
    assert logged["listed"] == [ids["canceled"], ids["broken"], ids["run"]]
    assert logged["everything"] == sorted(ids.values())
    assert logged["by_tag"] == logged["has_tag"] == logged["by_property"] == [ids["run"]]
    assert logged["by_status"] == [ids["broken"]]
    assert logged["anywhere"] == ids["run"]
    assert logged["experiments"] == ["logged"]
    assert logged["team"] == {"team": "batch"}
    assert "nothing" in logged["missing"]


def test_a_pipeline_run_shows_its_tags_and_its_steps_metrics(pipeline: dict[str, Any]) -> None:
    assert pipeline["tags"]["key"] == "one"
    assert pipeline["tags"]["later"] == "two"
    assert pipeline["metrics"]["Total Items"] == 12
    assert pipeline["metrics"]["Total MiniBatches"] == 3
    assert pipeline["metrics"]["Failed Items"] == 0
    assert pipeline["statuses"] == {"true": "Finished"}
    assert pipeline["step_of_node"] == pipeline["step"]


def test_queries_filter_order_and_page_without_gaps_or_repetitions(history: History) -> None:
    everything = [f"run-{number:02}" for number in range(25)]
    for size in (1, 4, 24, 25, 26):
        pages = list(history.pages("many", top=size, orderBy="RunId"))
        assert [run["runId"] for page in pages for run in page] == everything
        assert len(pages) == -(-25 // size)
    assert history.query("many", orderBy="RunId desc", top=7) == everything[::-1]
    assert history.query("many", orderby="CreatedUtc desc", top=7) == everything[::-1]
    assert history.query("many", filter="tags/parity eq 'odd'", orderBy="RunId", top=5) == everything[1::2]
    assert history.query("many", filter="RunId eq 'run-03' or RunId eq run-20", orderBy="RunId") == ["run-03", "run-20"]
    assert history.query("many", filter="tags/parity eq 'even' and tags/number eq '8'") == ["run-08"]
    assert history.query("many", filter="ParentRunId ne null") == []


def test_a_page_goes_on_behind_its_last_run_when_newer_ones_arrive(history: History) -> None:
    history.call("POST", "/experiments/growing")
    for number in range(4):
        history.call("PATCH", f"/experiments/growing/runs/grow-{number}", {})
    pages = history.pages("growing", top=2)
    first = [run["runId"] for run in next(pages)]
    history.call("PATCH", "/experiments/growing/runs/grow-9", {})
    assert first == ["grow-3", "grow-2"]
    assert [run["runId"] for run in next(pages)] == ["grow-1", "grow-0"]


def test_many_runs_of_any_experiment_are_told_at_once(history: History, pipeline: dict[str, Any]) -> None:
    wanted = {"a": "run-01", "b": pipeline["run"], "c": "nothing", "d": pipeline["step"]}
    body = {"requests": {key: {"runId": run_id, "selectRunMetadata": True} for key, run_id in wanted.items()}}
    told = history.call("POST", "/batchrundata", body)
    assert {key: entry["runMetadata"]["runId"] for key, entry in told["successfulResults"].items()} == {
        key: run_id for key, run_id in wanted.items() if key != "c"
    }
    assert told["successfulResults"]["b"]["runMetadata"]["status"] == "Completed"
    assert "nothing" in told["failedResults"]["c"]["error"]["message"]
    single = history.call("POST", "/rundata", {"runId": pipeline["run"], "selectRunMetadata": True})
    assert single == told["successfulResults"]["b"]


def test_replies_are_what_the_generated_client_expects(
    history: History, judge: Callable[[str, Any], Any], pipeline: dict[str, Any], logged: dict[str, Any]
) -> None:
    path = f"/experiments/history/runs/{pipeline['run']}"
    run = judge("Run", history.call("GET", path))
    assert (run.run_id, run.status, run.run_type) == (pipeline["run"], "Completed", "azureml.PipelineRun")
    assert run.created_utc <= run.start_time_utc <= run.end_time_utc
    assert run.data_container_id == f"dcid.{pipeline['run']}"
    (child,) = judge("PaginatedRunList", history.call("GET", path + "/children")).value
    assert (child.run_id, child.parent_run_id, child.tags["azureml.pipeline"]) == (
        pipeline["step"],
        pipeline["run"],
        pipeline["run"],
    )
    step = f"/experiments/history/runs/{pipeline['step']}"
    details = judge("RunDetails", history.call("GET", step + "/details"))
    assert "azureml-logs/70_driver_log.txt" in details.log_files
    assert details.job_cost.charged_node_utilization_seconds > 0
    broken = judge("RunDetails", history.call("GET", f"/experiments/logged/runs/{logged['ids']['broken']}/details"))
    assert broken.error.error.message == "it broke"
    many = judge("PaginatedRunList", history.call("POST", "/experiments/many/runs:query", {"top": 3}))
    assert len(many.value) == 3
    assert many.continuation_token
    judge("Experiment", history.call("GET", "/experiments/history"))
    body = {"requests": {"k": {"runId": pipeline["run"], "selectRunMetadata": True}}}
    batch = judge("BatchResult1", history.call("POST", "/batchrundata", body))
    assert batch.successful_results["k"].run_metadata.status == "Completed"
    refusal = judge("ErrorResponse", _history_part(history.call("GET", "/experiments/nowhere", status=404)))
    assert "nowhere" in refusal.error.message


def _history_part(body: dict[str, Any]) -> dict[str, Any]:
    # One body serves several kinds of clients; history's are the names in this envelope.
    return {name: body[name] for name in ("error", "correlation", "environment", "location") if name in body}


def test_all_routes_to_a_run_show_the_same_run(history: History, pipeline: dict[str, Any]) -> None:
    run = history.call("GET", f"/runs/{pipeline['run']}")
    assert run == history.call("GET", f"/experiments/history/runs/{pipeline['run']}")
    assert run == history.call("GET", f"/experimentids/{run['experimentId']}/runs/{pipeline['run']}")
    history.call("GET", f"/experiments/many/runs/{pipeline['run']}", status=404)


def test_what_cannot_be_is_refused(history: History, pipeline: dict[str, Any]) -> None:
    refuse = "/experiments/many/runs:query"
    assert "cannot be read" in history.call("POST", refuse, {"filter": "RunId eq"}, 400)["error"]["message"]
    assert "token" in history.call("POST", refuse, {"continuationToken": "%%%"}, 400)["error"]["message"]
    assert "order" in history.call("POST", refuse, {"orderBy": "a b c"}, 400)["error"]["message"]
    path = f"/experiments/history/runs/{pipeline['run']}"
    change = {"properties": {"azureml.runsource": "other"}}
    assert "is set already" in history.call("PATCH", path, change, 409)["error"]["message"]
    history.call("POST", "/experiments/%20bad", status=400)
