"""What is wrong with a collect task is told when its DAG is parsed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.operators.results import AzureMLCollectResultsOperator
from airflow_provider_amlbatch.results.errors import FormatError
from airflow_provider_amlbatch.results.format import ResultFormat


def collect(**options: Any) -> AzureMLCollectResultsOperator:
    return AzureMLCollectResultsOperator(task_id="collect", run_id="run", destination="/x/t.parquet", **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"on_extra": "error"}, "needs input_path"),
        ({"on_extra": "fail", "keep": "first"}, "on_extra must be one of warn, error, not 'fail'"),
        ({"keep": "frist"}, "keep must be one of all, first, last, error, not 'frist'"),
        ({"match": "nmae", "input_path": "a/"}, "match must be one of name, stem, path, not 'nmae'"),
        ({"require_complete": 95}, "a fraction, not 95"),
        ({"header": True}, "need kind"),
        ({"dtypes": {"a": "int64"}}, "need kind"),
        ({"kind": "rows", "delimiter": "::"}, "one ASCII character, not '::'"),
        ({"columns": ["a", "a"]}, "distinct names"),
        ({"columns": ["a", "b"], "dtypes": {"c": "int64"}}, "names the column 'c'"),
    ],
)
def test_arguments_that_do_not_go_together(options: dict[str, Any], told: str) -> None:
    with pytest.raises(FormatError, match=told):
        collect(**options)


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({}, None),
        ({"columns": ["file", "label"]}, ResultFormat.lines(":", ["file", "label"])),
        ({"kind": "rows", "columns": ["a"]}, ResultFormat.rows(" ", ["a"])),
        ({"kind": "csv"}, ResultFormat.csv(",")),
        ({"kind": "csv", "header": False, "delimiter": ";"}, ResultFormat.csv(";", header=False)),
    ],
)
def test_the_format_that_is_said(options: dict[str, Any], form: ResultFormat | None) -> None:
    assert collect(**options).result_format() == form
