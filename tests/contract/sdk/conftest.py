"""A session on the served emulator, and a home folder for the SDK's caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.testing import ServedEmulator


@pytest.fixture
def opened(emulator: ServedEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The session of the emulator's connection."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
