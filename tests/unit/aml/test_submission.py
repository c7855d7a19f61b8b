"""Exactly once: what is looked up, what is adopted, what is submitted again, and when to give up."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_service import Asked, Reply, ScriptedService

from airflow_provider_amlbatch.aml import errors, pipelines
from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.submission import Submission, SubmissionKey, adoptable, submit_once

KEY = SubmissionKey.of("dag", "run", "task", -1, generation="1", labels={"airflow_task_id": "task"})
SUBMIT = r"/pipelines/v1.0\{workspace\}/PipelineRuns/PipelineSubmit/p1"
QUERY = r"/history/v1.0\{workspace\}/experiments/e%20x/runs:query"
LISTING = r"/pipelines/v1.0\{workspace\}/PipelineRuns/Pipeline/p1"


class Service(ScriptedService):
    """Accepts submissions, and shows them after ``lag`` look-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[dict[str, Any]] = []
        self.troubles: list[tuple[bool, Any]] = []  # (whether the run is created, what is answered)
        self.lag = 0
        self.on("POST", SUBMIT, self.submit)
        self.on("POST", QUERY, self.query)
        self.on("GET", LISTING, lambda _: [] if self.lag else [self._entity(run) for run in self.runs])
        self.on("GET", r".*/runs/[^/]+", lambda asked: next(r for r in self.runs if asked.path.endswith(r["runId"])))

    def submit(self, asked: Asked) -> Any:
        created, trouble = self.troubles.pop(0) if self.troubles else (True, None)
        run = {
            "runId": f"run-{len(self.runs) + 1}",
            "status": "Running",
            "tags": asked.body["tags"],
            "properties": asked.body["Properties"],
        }
        if created:
            self.runs.append(run)
        if isinstance(trouble, Exception):
            raise trouble
        return trouble or self._entity(run)

    def query(self, asked: Asked) -> Any:
        assert asked.body["filter"] == f"tags/amlbatch_key eq '{KEY.value}'"
        if self.lag:
            self.lag -= 1
            return {"value": []}
        return {"value": [run for run in self.runs if run["tags"].get("amlbatch_key") == KEY.value]}

    @staticmethod
    def _entity(run: dict[str, Any]) -> dict[str, Any]:
        return {"Id": run["runId"], "tags": run["tags"], "Properties": run["properties"]}


@pytest.fixture
def service() -> Service:
    return Service()


def submit(service: Service, key: SubmissionKey = KEY) -> Submission:
    info = PipelineSubmissionInfo(experiment_name="e x", tags={"team": "a"})
    make = lambda body: pipelines.submit_pipeline("p1", body)  # noqa: E731
    return submit_once(service.session(), make, info, key, "p1", sleep=service.sleep)


def test_first_submission_carries_the_key_twice(service: Service) -> None:
    assert submit(service) == Submission("run-1", adopted=False)
    (asked,) = service.calls("POST", SUBMIT)
    assert asked.body["tags"] == {"team": "a", **KEY.tags}
    assert asked.body["Properties"] == KEY.tags
    assert KEY.tags["airflow_task_id"] == "task"


def test_second_submission_adopts(service: Service) -> None:
    submit(service)
    assert submit(service) == Submission("run-1", adopted=True)
    assert len(service.runs) == 1


@pytest.mark.parametrize(
    "answer",
    [Reply(500, {}), Reply(503, {}), Reply(504, {}), requests.ConnectionError("reset"), Reply(text='{"Id": "ru')],
    ids=["500", "503", "504", "reset", "truncated"],
)
@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("lag", [0, 3])
def test_a_lost_answer_makes_one_run(service: Service, answer: Any, created: bool, lag: int) -> None:
    service.troubles = [(created, answer)]
    service.lag = lag + 1  # the look-up before the submission sees nothing anyway
    submission = submit(service)
    assert submission.run_id == "run-1"
    assert submission.adopted == created
    assert len(service.runs) == 1


def test_a_lost_answer_is_looked_for_twice_also_beside_an_older_run(service: Service) -> None:
    older = SubmissionKey(KEY.value, "before it was cleared", KEY.labels)
    submit(service, older)
    service.troubles = [(True, Reply(500, {}))]
    shown = list(service.runs)
    service.on("POST", QUERY, lambda _: {"value": shown})  # the index never shows the new one
    assert submit(service) == Submission("run-2", adopted=True)
    assert len(service.runs) == 2


@pytest.mark.parametrize("answer", [Reply(429, {}), Reply(400, {"Error": {"Code": "Disabled"}})])
def test_a_refusal_is_not_a_lost_answer(service: Service, answer: Reply) -> None:
    service.troubles = [(False, answer)] * 9
    with pytest.raises(errors.ServiceError):
        submit(service)
    assert service.runs == []
    assert len(service.calls("POST", QUERY)) == 1


def test_lost_for_good_is_an_error(service: Service) -> None:
    service.troubles = [(False, Reply(500, {}))] * 9
    with pytest.raises(errors.ServiceUnavailableError):
        submit(service)
    assert len(service.calls("POST", SUBMIT)) == 3


def test_a_look_up_that_fails_forbids_a_second_submission(service: Service) -> None:
    service.troubles = [(True, Reply(500, {}))]
    looked_up = []

    def query(asked: Asked) -> Any:
        looked_up.append(asked)
        return {"value": []} if len(looked_up) == 1 else Reply(503, {})

    service.on("POST", QUERY, query)
    with pytest.raises(errors.AmbiguousSubmissionError):
        submit(service)
    assert len(service.runs) == 1
    service.on("POST", QUERY, service.query)
    assert submit(service) == Submission("run-1", adopted=True)  # what the task's retry does


def test_a_refused_query_falls_back_to_the_pipelines_runs(service: Service) -> None:
    submit(service)
    service.on("POST", QUERY, lambda _: Reply(400, {}))
    assert submit(service) == Submission("run-1", adopted=True)


def test_no_experiment_means_no_run(service: Service) -> None:
    service.on("POST", QUERY, lambda _: Reply(404, {}))
    assert submit(service) == Submission("run-1", adopted=False)


def run(status: str, key: SubmissionKey = KEY, minute: int = 0) -> Run:
    at = f"2026-11-21T00:{minute:02}:00Z"
    return Run(run_id=f"{status}-{minute}", status=status, tags=dict(key.tags), created_utc=at)


OTHER_GENERATION = SubmissionKey(KEY.value, "2")


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        ([], None),
        ([run("Running")], "Running-0"),
        ([run("SomethingNew")], "SomethingNew-0"),
        ([run("Finalizing")], "Finalizing-0"),
        ([run("Completed")], "Completed-0"),
        ([run("Failed")], None),
        ([run("Canceled")], None),
        ([run("CancelRequested")], None),
        ([run("Failed", minute=2), run("Completed", minute=1)], "Completed-1"),
        ([run("Completed", minute=2), run("Queued", minute=1)], "Queued-1"),
        ([run("Running", minute=1), run("Running", minute=2)], "Running-2"),
        ([run("Completed", OTHER_GENERATION), run("Running", OTHER_GENERATION)], None),
        ([run("Running", SubmissionKey("else", "1"))], None),
    ],
)
def test_what_is_adopted(runs: list[Run], chosen: str | None) -> None:
    found = adoptable(runs, KEY)
    assert (found and found.run_id) == chosen


_answers = st.sampled_from([Reply(500, {}), requests.ConnectionError("reset"), Reply(text="{"), None])


@settings(max_examples=75, deadline=None)
@given(st.lists(st.tuples(st.booleans(), _answers), max_size=8), st.integers(1, 4))
def test_whatever_gets_lost_and_however_often_a_task_comes_back_there_is_one_run(
    troubles: list[tuple[bool, Any]], tries: int
) -> None:
    service = Service()
    # A proper answer means that there is a run.
    service.troubles = [(created or answer is None, answer) for created, answer in troubles]
    for _ in range(tries):
        try:
            assert submit(service).run_id == "run-1"
        except errors.AzureMLBatchError:
            assert service.runs == []
    assert len(service.runs) <= 1
