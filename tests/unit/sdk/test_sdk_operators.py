"""What the operators on this room refuse while a DAG is parsed, and what they show of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, BaseOperator, Context
from airflow.sdk import task

from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.errors import ArgumentError, NotFoundError
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.operators.models import fetched
from airflow_provider_amlbatch.operators.publishing import AzureMLPublishPipelineOperator, AzureMLSubmitPipelineOperator
from airflow_provider_amlbatch.sdk.models import digest_of_path
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Environment, Input, Output, ParallelRun


@pytest.fixture
def pipeline(tmp_path: Path) -> BatchPipeline:
    (tmp_path / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    step = ParallelRun(
        name="score",
        source_directory=tmp_path,
        entry_script="score.py",
        inputs=[Input("rows", path="rows", parameter="rows_data")],
        environment=Environment("env"),
        compute_target="cpu",
        error_threshold=0,
        output=Output("scores"),
    )
    return BatchPipeline("scoring", step)


def test_a_model_behind_a_url_is_fetched_under_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "weights").write_bytes(b"12")
    for url in (folder.as_uri() + "/", (folder / "part" / "weights").as_uri()):
        with fetched(url, None) as path:
            assert tmp_path not in path.parents
            original = folder if url.endswith("/") else folder / "part" / "weights"
            assert digest_of_path(path) == digest_of_path(original)
        assert not path.exists()
    with pytest.raises(ArgumentError, match="does not exist"), fetched((folder / "none").as_uri(), None):
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "other"}, "name='other'"),
        ({"description": "d"}, "description='d'"),
        ({"pipeline": "scoring"}, "pipeline='scoring'"),
        ({"pipeline": 3}, "pipeline=3"),
        ({"pipeline": Path("scoring")}, "pipeline="),
        ({"pipeline": lambda workspace: None}, "name=None"),
        ({"pipeline": lambda workspace: None, "name": "n", "sdk_python": "/usr/bin/python3"}, "sdk_python="),
        ({"validate_with": {"datasets": {"rows_data": "small"}}}, "without endpoint="),
        ({"validate_with": {"rows_data": "small"}, "endpoint": "live"}, "'rows_data': 'small'; give mappings under"),
        ({"validate_with": "small", "endpoint": "live"}, "validate_with='small' is not accepted: give a mapping"),
        (
            {"validate_with": {"datasets": {"row_data": "small"}}, "endpoint": "live"},
            r"datasets names 'row_data'.* its datasets are: rows_data",
        ),
        (
            {"validate_with": {"parameters": {"rows_data": "small"}}, "endpoint": "live"},
            r"parameters names 'rows_data'.* its parameters are: none; its datasets are: rows_data",
        ),
    ],
)
def test_what_could_never_run_is_refused_at_once(
    pipeline: BatchPipeline, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        AzureMLPublishPipelineOperator(task_id="publish", **{"pipeline": pipeline, **arguments})


@pytest.mark.parametrize("argument", ["parameters", "datasets", "data_paths"])
def test_a_submission_with_an_unknown_parameter_is_refused_at_once(pipeline: BatchPipeline, argument: str) -> None:
    given: dict[str, Any] = {argument: {"batch": 5}}
    with pytest.raises(ArgumentError, match=rf"{argument} names 'batch'.* its parameters are: none"):
        AzureMLSubmitPipelineOperator(task_id="submit", experiment_name="e", pipeline=pipeline, **given)


@pytest.mark.parametrize("argument", ["parameters", "datasets", "data_paths", "tags"])
@pytest.mark.parametrize("value", ["nodes=2", ["nodes"], 2])
def test_a_submission_with_what_is_no_mapping_is_refused_at_once(
    pipeline: BatchPipeline, argument: str, value: Any
) -> None:
    given: dict[str, Any] = {argument: value}
    with pytest.raises(ArgumentError, match=rf"^{argument}=.* is not accepted: give a mapping of names to values"):
        AzureMLSubmitPipelineOperator(task_id="submit", experiment_name="e", pipeline=pipeline, **given)


@pytest.fixture
def native_dag() -> Iterator[DAG]:
    """A DAG whose templates give values, as long as tasks are made."""
    with DAG("native", schedule=None, render_template_as_native_obj=True) as dag:
        yield dag


def pulled(value: Any) -> Context:
    """The context of a task for which every other task has returned a value."""
    return cast(Context, {"ti": SimpleNamespace(xcom_pull=lambda **_: value)})


def of_a_task() -> Any:
    @task
    def make() -> None: ...

    return make()


def of_a_template() -> Any:
    return "{{ ti.xcom_pull() }}"


def publisher(**given: Any) -> AzureMLPublishPipelineOperator:
    return AzureMLPublishPipelineOperator(**{"task_id": "publish", "endpoint": "live", **given})


def submitter(**given: Any) -> AzureMLSubmitPipelineOperator:
    return AzureMLSubmitPipelineOperator(**{"task_id": "submit", "experiment_name": "e", **given})


@pytest.mark.usefixtures("native_dag")
@pytest.mark.parametrize("later", [of_a_task, of_a_template])
@pytest.mark.parametrize(
    ("operator", "given", "value", "words"),
    [
        (publisher, lambda later: {"pipeline": later}, 3, "pipeline=3 is not accepted: give a BatchPipeline"),
        (publisher, lambda later: {"pipeline": later}, {"name": "n"}, "BatchPipeline needs 'step'"),
        (publisher, lambda later: {"pipeline": print, "name": later}, None, "name=None is not accepted"),
        (publisher, lambda later: {"endpoint": later, "validate_with": {}}, None, "not accepted without endpoint="),
        (publisher, lambda later: {"validate_with": later}, {"nodes": 2}, "validate_with has 'nodes': 2; give mapp"),
        (publisher, lambda later: {"validate_with": later}, {"parameters": {"n": 2}}, "parameters names 'n', which"),
        (publisher, lambda later: {"validate_with": {"datasets": later}}, {"n": "d"}, "datasets names 'n', which"),
        (publisher, lambda later: {"validate_with": {"datasets": later}}, 2, "validate_with has 'datasets': 2; give"),
        (submitter, lambda later: {"pipeline": later}, 3, "pipeline=3 is not accepted: give a BatchPipeline"),
        (submitter, lambda later: {"parameters": later}, {"n": 2}, "parameters names 'n', which"),
        (submitter, lambda later: {"datasets": later}, {"n": "d"}, "datasets names 'n', which"),
        (submitter, lambda later: {"data_paths": later}, {"n": "s/p"}, "data_paths names 'n', which"),
        (submitter, lambda later: {"tags": later}, ["n"], r"tags=\['n'\] is not accepted: give a mapping"),
    ],
)
def test_what_is_known_only_when_the_task_runs_is_checked_then(
    pipeline: BatchPipeline,
    operator: Callable[..., BaseOperator],
    given: Callable[[Any], dict[str, Any]],
    value: Any,
    words: str,
    later: Callable[[], Any],
) -> None:
    made = operator(**{"pipeline": pipeline, **given(later())})
    made.render_template_fields(pulled(value))
    with pytest.raises(ArgumentError, match=words):
        made.execute(pulled(value))


@pytest.mark.parametrize(
    "value", [{"n": 2}, "{{ n }}"], ids=["text of a mapping", "braces that nothing renders any more"]
)
@pytest.mark.parametrize(
    ("operator", "argument", "words"),
    [
        (publisher, "pipeline", "pipeline=.* is not accepted: give a BatchPipeline"),
        (
            publisher,
            "validate_with",
            "validate_with=.* a template gives one in a DAG with render_template_as_native_obj",
        ),
        (submitter, "pipeline", "pipeline=.* is not accepted: give a BatchPipeline"),
        (submitter, "parameters", "parameters=.* a template gives one in a DAG with render_template_as_native_obj"),
    ],
)
def test_a_template_that_gives_text_is_refused_when_the_task_runs(
    pipeline: BatchPipeline, operator: Callable[..., BaseOperator], argument: str, words: str, value: Any
) -> None:
    made = operator(**{"pipeline": pipeline, argument: of_a_template()})
    made.render_template_fields(pulled(value))
    with pytest.raises(ArgumentError, match=words):
        made.execute(pulled(value))


@pytest.mark.usefixtures("native_dag")
def test_a_mapped_task_takes_the_output_of_another_task(pipeline: BatchPipeline) -> None:
    mapped = AzureMLSubmitPipelineOperator.partial(
        task_id="submit", experiment_name="e", pipeline=pipeline, parameters=of_a_task()
    ).expand(tags=[{"store": "a"}])
    made = mapped.unmap({"tags": {"store": "a"}})
    made.render_template_fields(pulled({"n": 2}))
    with pytest.raises(ArgumentError, match="parameters names 'n', which"):
        made.execute(pulled({"n": 2}))


def build(workspace: Any) -> Any:
    """A function of a user's own."""


@pytest.mark.parametrize("operator", [publisher, submitter])
def test_a_function_is_not_called_as_if_it_were_a_template(operator: Callable[..., Any]) -> None:
    made = operator(pipeline=build, **({"name": "built"} if operator is publisher else {}))
    made.render_template_fields(pulled(None))
    assert made.pipeline.build is build
    assert str(made.pipeline) == "<function build>"


class Service:
    """A session on a workspace that has a pipeline, and no endpoint yet. What it is asked for is kept.

    :param has: the pipeline.
    """

    settings = ConnectionSettings(subscription_id="s", resource_group="g", workspace_name="w", tenant_id="t")
    studio = "https://studio.test"

    def __init__(self, has: BatchPipeline) -> None:
        self.happen: Callable[[str], None] = lambda asked: None
        self.asked: list[str] = []
        self._published = {"Id": "p", "Name": has.name, "Properties": {"amlbatch.digest": has.digest}}

    def send(self, call: Call[Any]) -> Any:
        """Answer a call; what is to happen in the middle of it happens first."""
        asked = f"{call.method} {call.path.rpartition('{workspace}')[2]}"
        self.asked.append(asked)
        self.happen(asked)
        answers: dict[str, Any] = {
            "GET /Pipelines": [self._published],
            "POST /experiments/scoring-validation/runs:query": {"value": []},
            SUBMITS: {"Id": "trial"},
            "GET /runs/trial": {"runId": "trial", "status": "Running"},
            CANCELS: None,
            CREATES: {"Id": "e", "DefaultVersion": "0", "PipelineVersionList": [{"Version": "0", "PipelineId": "p"}]},
        }
        if asked == LOOKS_FOR_ENDPOINT:
            raise NotFoundError("no such endpoint", status=404)
        return call.read(answers[asked])

    def put_into(self, operator: AzureMLPublishPipelineOperator) -> None:
        """Let an operator work on it."""
        operator.hook = Impatient(session=cast(Session, self))


class Impatient(AzureMLBatchHook):
    """Waits for no run."""

    def wait(self, run_id: str, *_: Any) -> RunOutcome:
        """Say that nobody was to wait."""
        raise AssertionError(f"The task waits for {run_id}.")


LOOKS_FOR_ENDPOINT = "GET /PipelineEndpoints/Name"
SUBMITS = "POST /PipelineRuns/PipelineSubmit/p"
CANCELS = "DELETE /PipelineRuns/trial/Execution"
CREATES = "POST /PipelineEndpoints/Create"
RUNNING = cast(Context, {"ti": SimpleNamespace(xcom_push=lambda **_: None)})


@pytest.mark.usefixtures("native_dag")
def test_a_definition_and_a_trial_that_another_task_gives_are_taken(pipeline: BatchPipeline) -> None:
    returned = {"make": pipeline.to_json(), "decide": None}
    ti = SimpleNamespace(xcom_pull=lambda task_ids, **_: returned[task_ids], xcom_push=lambda **_: None)
    service = Service(pipeline)
    made = publisher(pipeline=of_a_task(), validate_with="{{ ti.xcom_pull('decide') }}")
    service.put_into(made)
    made.render_template_fields(cast(Context, {"ti": ti}))
    published = made.execute(cast(Context, {"ti": ti}))
    assert (published["id"], published["pipeline_endpoint"]["version"]) == ("p", "0")
    assert SUBMITS not in service.asked


def test_a_task_that_is_killed_before_its_trial_run_starts_none(pipeline: BatchPipeline) -> None:
    service, made = Service(pipeline), publisher(pipeline=pipeline, validate_with={})
    service.put_into(made)
    # As Airflow does on SIGTERM: it calls on_kill() in the middle of execute(), and lets that go on.
    service.happen = lambda asked: made.on_kill() if asked == LOOKS_FOR_ENDPOINT else None
    with pytest.raises(AirflowException, match="killed"):
        made.execute(RUNNING)
    assert LOOKS_FOR_ENDPOINT in service.asked
    assert not {SUBMITS, CREATES} & set(service.asked)


def test_a_task_that_is_killed_while_its_trial_run_is_started_cancels_it(
    pipeline: BatchPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", '{"conn_type": "azureml"}')  # on_kill itself cannot look for it
    service, made = Service(pipeline), publisher(pipeline=pipeline, validate_with={})
    service.put_into(made)
    service.happen = lambda asked: made.on_kill() if asked == SUBMITS else None
    with pytest.raises(AirflowException, match="killed"):
        made.execute(RUNNING)
    assert service.asked[-1] == CANCELS
    assert CREATES not in service.asked


def test_the_json_form_is_taken_and_templated(pipeline: BatchPipeline) -> None:
    data = pipeline.to_json()
    data["step"]["compute_target"] = "{{ var_of_cluster }}"
    operator = AzureMLPublishPipelineOperator(task_id="publish", pipeline=json.loads(json.dumps(data)))
    operator.render_template_fields({"var_of_cluster": "gpu"})  # type: ignore[typeddict-unknown-key]
    assert isinstance(operator.pipeline, dict)
    assert BatchPipeline.from_json(operator.pipeline).step.compute_target == "gpu"
