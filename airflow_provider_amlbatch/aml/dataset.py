"""Datasets (``/dataset/v1.0``): registered, versioned references to data."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_amlbatch.aml.call import WORKSPACE, Call
from airflow_provider_amlbatch.aml.wire import Camel


class DatasetDefinition(Camel):
    """One version of a dataset. ``version_id`` is a number, written as a text."""

    dataset_id: str | None = None
    version_id: str | None = None
    saved_dataset_id: str | None = None
    dataflow: str | None = None
    properties: dict[str, Any] = {}


class Dataset(Camel):
    """A registered dataset with the version that was asked for."""

    dataset_id: str
    name: str | None = None
    description: str | None = None
    dataset_type: str | None = None
    tags: dict[str, str] | None = None
    latest: DatasetDefinition | None = None


_BASE = f"/dataset/v1.0{WORKSPACE}/datasets"


def get_dataset(name: str, version: str | None = None) -> Call[Dataset]:
    """Find a dataset by name, at a version or at its latest."""
    path = f"{_BASE}/query/name={quote(name, safe='')}"
    params = {"includeLatestDefinition": True, "versionId": version}
    return Call("GET", "api", path, Dataset.model_validate, params)
