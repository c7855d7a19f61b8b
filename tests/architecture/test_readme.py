"""The code in the README is code that runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


def test_the_dag_to_copy_is_the_one_that_the_tests_run():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert block == (REPOSITORY / "dags" / "batch_scoring_in_one_call.py").read_text()


def test_every_class_in_the_table_exists():
    named = re.findall(r"^\| `([\w.]+)`(?:, `(\w+)`)?", README, re.MULTILINE)
    assert len(named) > 5
    for path, second in named:
        module, _, name = path.rpartition(".")
        found = importlib.import_module(f"airflow_provider_amlbatch.{module}")
        assert hasattr(found, name), path
        assert not second or hasattr(found, second), second
