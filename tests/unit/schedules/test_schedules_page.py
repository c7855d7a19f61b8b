"""The code on the page about schedules is code: each piece runs, inside a DAG."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow_names import AIRFLOW_VERSION

PAGE = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_there_is_code() -> None:
    assert len(PIECES) >= 6


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: str(len(piece)))
def test_each_piece_runs(piece: str) -> None:
    if "EventTrigger" in piece and AIRFLOW_VERSION < (3, 3):
        pytest.skip("asset watchers keep their position from Airflow 3.3 on")
    with DAG("page", schedule=None):
        exec(compile(piece, "docs/schedules.md", "exec"), {})  # our own page
