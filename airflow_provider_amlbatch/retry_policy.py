"""Which failures a retry of the task may help with. For Airflow 3.3 and later; earlier ones have no retry policies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule

from airflow_provider_amlbatch.aml import errors
from airflow_provider_amlbatch.results.errors import DownloadError, FormatError, ReconciliationError
from airflow_provider_amlbatch.sdk.errors import SmokeRunError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The delay doubles with each try, up to so many times the first one.
MOST = 32

_PASSING = (
    (errors.ThrottledError, "the service is throttling"),
    (errors.ServiceUnavailableError, "the service fails"),
    (errors.UnreachableError, "the service cannot be reached"),
    (errors.UnexpectedReplyError, "the service gave an answer that cannot be read"),
    (errors.AmbiguousSubmissionError, "the next try looks for the run before it submits"),
)
_LASTING = (
    (errors.ConnectionSettingsError, "the connection has to be corrected"),
    (errors.AuthenticationError, "the identity is refused"),
    (errors.PermissionDeniedError, "the identity lacks a role"),
    (errors.ValidationError, "the service refuses the request as wrong"),
    (errors.ArgumentError, "an argument has to be corrected"),
    (errors.RunReusedError, "a new run would take over the old output again"),
    (SmokeRunError, "the definition has to be corrected"),
    (FormatError, "the same rows would be read again"),
    (ReconciliationError, "the same rows would be compared again"),
)


class AzureMLRetryPolicy(ExceptionRetryPolicy):
    """Retry what may pass, later each time, and fail at once what a person has to mend.

    Throttling (429), failures of the service (5xx), lost answers and broken downloads are retried after ``delay``,
    which doubles with each try up to :data:`MOST` times; never sooner than the service's ``Retry-After`` asks. Refused
    identities and wrong requests, arguments, connections and results fail at once. All else, a failed run first of
    all, is left to the task's ``retries`` and ``retry_delay``. The policy never adds tries to ``retries``.

    :param delay: how long to wait after the first try.
    """

    def __init__(self, delay: timedelta = timedelta(minutes=1)) -> None:
        if delay <= timedelta(0):
            raise errors.ArgumentError(f"delay is {delay}; it must be a timedelta above 0.")
        passing = [RetryRule(kind, RetryAction.RETRY, delay, reason) for kind, reason in _PASSING]
        # Its subclasses tell of blobs that are missing or changed, which is another matter.
        broken = RetryRule(DownloadError, RetryAction.RETRY, delay, "a download broke", match_subclasses=False)
        lasting = [RetryRule(kind, RetryAction.FAIL, reason=reason) for kind, reason in _LASTING]
        super().__init__([*passing, broken, *lasting])

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about a failure.

        :param exception: what the task raised.
        :param try_number: 1 for the first try.
        """
        decision = super().evaluate(exception, try_number, max_tries, context)
        if decision.retry_delay is None:
            return decision
        asked_for = timedelta(seconds=getattr(exception, "retry_after", None) or 0.0)
        own = decision.retry_delay * min(MOST, 2 ** (max(1, try_number) - 1))
        return replace(decision, retry_delay=max(own, asked_for))
