"""The table of operations in the documentation is what its generator makes of the route table now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_table_of_operations_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_coverage", _DOCS / "generate_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    page = generator.PAGE.read_text()
    assert generator.page() == page, "run: python docs/generate_coverage.py"
    assert page.count("| `arm.get_workspace` | `GET /{WS}` |") == 1


def test_the_tests_that_are_named_exist() -> None:
    named = {file for files in json.loads((_DOCS / "tested_operations.json").read_text()).values() for file in files}
    there = {path.name for path in (_DOCS.parent / "tests" / "contract").rglob("test_*.py")}
    assert named
    assert named <= there
