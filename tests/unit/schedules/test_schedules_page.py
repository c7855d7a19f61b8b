"""The code on the page about schedules is code: each piece runs, inside a DAG."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.sdk import DAG

PAGE = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_there_is_code() -> None:
    assert len(PIECES) >= 6


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: str(len(piece)))
def test_each_piece_runs(piece: str) -> None:
    with DAG("page", schedule=None):
        exec(compile(piece, "docs/schedules.md", "exec"), {})  # our own page
