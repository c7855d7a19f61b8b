"""What the retry policy decides, for errors as the services cause them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from airflow.sdk import DAG, BaseOperator, ExceptionRetryPolicy, RetryAction
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_amlbatch.aml import errors
from airflow_provider_amlbatch.results.errors import (
    BadRows,
    BlobChanged,
    DownloadError,
    DuplicateKeys,
    IncompleteResult,
)
from airflow_provider_amlbatch.retry_policy import AzureMLRetryPolicy
from airflow_provider_amlbatch.sdk.errors import SmokeRunError, SpecError

MINUTE = timedelta(minutes=1)


@dataclass
class Answer:
    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""


def answered(status: int, **headers: str) -> Exception:
    return errors.from_response(Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}), asked="GET /runs")


def decide(error: BaseException, try_number: int = 1, policy: ExceptionRetryPolicy | None = None):
    return (policy or AzureMLRetryPolicy()).evaluate(error, try_number, max_tries=5)


@pytest.mark.parametrize(
    "error",
    [
        *(answered(status) for status in (408, 429, 500, 502, 503, 504)),
        errors.UnreachableError("no answer"),
        errors.NotSentError("no connection"),
        errors.UnexpectedReplyError("cut short"),
        errors.AmbiguousSubmissionError("nobody can tell"),
        DownloadError("broke six times"),
    ],
    ids=str,
)
def test_what_may_pass_is_retried_with_a_delay(error):
    decision = decide(error)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, MINUTE)
    assert decision.reason


@pytest.mark.parametrize(
    "error",
    [
        *(answered(status) for status in (400, 401, 403, 405, 422)),
        errors.ArgumentError("wrong"),
        SpecError("wrong"),
        errors.ConnectionSettingsError("wrong"),
        errors.RunReusedError("reused", run_id="r"),
        SmokeRunError("failed", run_id="r"),
        DuplicateKeys("twice"),
        IncompleteResult("too few"),
    ],
    ids=str,
)
def test_what_a_person_has_to_mend_fails_at_once(error):
    assert decide(error).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "error",
    [
        answered(404),
        answered(409),
        errors.RunFailedError("failed", run_id="r"),
        errors.RunCanceledError("canceled", run_id="r"),
        errors.RunTimeoutError("too long", run_id="r"),
        BlobChanged("changed"),
        ValueError("somebody else's"),
    ],
    ids=repr,
)
def test_all_else_is_left_to_the_task(error):
    assert decide(error).action is RetryAction.DEFAULT


def test_every_delay_is_longer_than_the_one_before_up_to_a_limit():
    delays = [decide(answered(503), n).retry_delay / MINUTE for n in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 32, 32, 32]
    own = AzureMLRetryPolicy(delay=timedelta(seconds=10))
    assert decide(answered(503), 3, own).retry_delay == timedelta(seconds=40)


def test_the_service_may_ask_for_a_longer_delay_and_not_for_a_shorter_one():
    assert decide(answered(429, retry_after="600")).retry_delay == timedelta(minutes=10)
    assert decide(answered(429, retry_after="1")).retry_delay == MINUTE


@pytest.mark.parametrize("delay", [timedelta(0), -MINUTE])
def test_a_delay_of_nothing_is_refused(delay):
    with pytest.raises(errors.ArgumentError, match="delay"):
        AzureMLRetryPolicy(delay=delay)


def test_the_policy_survives_the_serialization_of_rules():
    again = ExceptionRetryPolicy.deserialize(AzureMLRetryPolicy().serialize())
    for error in (answered(429), answered(401), BadRows("bad", []), answered(404)):
        assert decide(error, policy=again).action is decide(error).action


def test_a_dag_with_the_policy_can_be_serialized():
    with DAG("d", schedule=None) as dag:
        BaseOperator(task_id="t", retry_policy=AzureMLRetryPolicy())
    restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert restored.get_task("t").has_retry_policy
