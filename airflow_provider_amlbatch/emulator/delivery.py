"""How unreliable parallel steps are, on purpose: what Azure does not promise can be tested."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from airflow_provider_amlbatch.aml.wire import Camel


class Delivery(Camel):
    """What becomes of the mini-batches and rows of the steps that are submitted from now on.

    :param at_least_once: one mini-batch of five is delivered twice, all of them in any order.
    :param lose_every: one line of so many is lost when the output is collated; 0 for none.
    """

    model_config = ConfigDict(extra="forbid")

    at_least_once: bool = False
    lose_every: int = Field(default=0, ge=0)
