"""Which models a run scores with: written when it is submitted, read when its results are collected."""

from __future__ import annotations

import pytest
from scripted_service import Asked, ScriptedService

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.aml.models import MODELS, models_of, tags_of


def latest(asked: Asked) -> dict[str, object]:
    assert asked.query == {"name": asked.query["name"], "count": "1"}
    return {"value": [{"id": "iris:12", "name": "iris", "version": 12}] if asked.query["name"] == "iris" else []}


def test_a_name_means_the_latest_version_at_the_submission() -> None:
    service = ScriptedService()
    service.on("GET", r"/modelmanagement/v1\.0\{workspace\}/models", latest)
    tags = tags_of(service.session(), ["iris", "digits:3"])
    assert tags == {MODELS: "iris:12,digits:3"}
    assert models_of(Run(run_id="r", tags={**tags, "team": "a"})) == {"iris": "12", "digits": "3"}
    assert tags_of(service.session(), "iris") == {MODELS: "iris:12"}  # as a template gives one
    with pytest.raises(ArgumentError, match=r"models names 'roses'.*register it first"):
        tags_of(service.session(), ["roses"])


def test_a_run_of_somebody_else_names_no_models() -> None:
    assert tags_of(ScriptedService().session(), []) == {}
    assert models_of(Run(run_id="r", tags={"model": "iris:1"})) == {}
