"""What runs under the scoring interpreter needs nothing but a Python, which may be an old one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from airflow_provider_amlbatch.emulator import engine

FOLDER = Path(engine.__file__).parent
FILES = ("worker.py", "records.py", "context.py", "launcher.py", "resources/azureml_user/parallel_run.py")


@pytest.mark.parametrize("name", FILES)
def test_syntax_is_that_of_python_3_8(name: str) -> None:
    ast.parse((FOLDER / name).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("name", FILES)
def test_only_the_standard_library_is_imported_at_the_top(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {module.split(".")[0] for module in imported} <= set(sys.stdlib_module_names)
