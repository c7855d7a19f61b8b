from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.engine.job import FileInput, TabularInput
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.services import dataflow_blocks
from airflow_provider_amlbatch.emulator.services.dataflow import parse, transform

URI = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/blobs/paths"


def flow(yaml: str) -> str:
    """A definition as the SDK sends it."""
    return json.dumps({"blocks": [], "meta": {"RsDataflow": yaml}})


def locate(root: Path) -> Any:
    return lambda datastore, path: root / datastore / path


def test_files_are_read_in_place_and_share_a_root(tmp_path: Path) -> None:
    yaml = f'paths:\n- pattern: "{URI}/a/**/*.csv"\n- pattern: "{URI}/a/b%20c/d.csv"\n'
    read = parse(flow(yaml)).to_input("in", locate(tmp_path))
    base = tmp_path / "blobs" / "a"
    assert read == FileInput("in", (f"{base}/**/*.csv", f"{base}/b c/d.csv"), root=str(base))


def test_a_single_file_is_its_own_root(tmp_path: Path) -> None:
    file = tmp_path / "blobs" / "one.csv"
    file.parent.mkdir()
    file.touch()
    assert parse(flow(f'paths:\n- file: "{URI}/one.csv"\n')).to_input("in", locate(tmp_path)).root == str(file)


def test_a_partition_format_goes_with_the_files(tmp_path: Path) -> None:
    yaml = f"""
paths:
- pattern: "{URI}/sales/**/*.csv"
transformations:
- extract_columns_from_partition_format:
    path_column: Path
    partition_format: "/{{store}}/{{month:yyyy/MM}}/part.csv"
    ignore_errors: false
"""
    read = parse(flow(yaml)).to_input("in", locate(tmp_path))
    assert read.partition_format == "/{store}/{month:yyyy/MM}/part.csv"
    assert read.root == str(tmp_path / "blobs" / "sales")


def test_rows_keep_the_options_of_their_reader(tmp_path: Path) -> None:
    yaml = f"""
paths:
- pattern: "{URI}/t/*.csv"
transformations:
- read_delimited:
    path_column: Path
    include_path_column: false
    encoding: latin1
    support_multi_line: true
    delimiter: ;
    empty_as_string: true
    partition_size: 20971520
    header: no_header
    infer_column_types: false
- convert_column_types:
  - columns: a
    column_type: string
  - columns: [b, c]
    column_type:
      datetime:
        formats: "%Y-%m-%d"
- keep_columns:
  - a
  - b
"""
    read = parse(flow(yaml)).to_input("in", locate(tmp_path))
    assert isinstance(read, TabularInput)
    assert read.format == "delimited"
    assert read.options == {
        "delimiter": ";",
        "encoding": "latin1",
        "header": "none",
        "support_multi_line": True,
        "empty_as_string": True,
        "infer_column_types": False,
        "column_types": {"a": "string", "b": "datetime", "c": "datetime"},
        "datetime_formats": {"b": ["%Y-%m-%d"], "c": ["%Y-%m-%d"]},
        "columns": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("filter:\n    language: Native", "filter"),
        ("take_random_sample:\n    probability: 0.5", "take_random_sample"),
        ("read_json_lines:\n    invalid_lines: drop", "drop"),
        ("read_delimited:\n    invalid_lines: drop", "drop"),
        ("read_parquet:\n    anything: 1", "anything"),
    ],
)
def test_a_transformation_that_is_not_done_is_refused_by_name(step: str, name: str, tmp_path: Path) -> None:
    kept = parse(flow(f'paths:\n- pattern: "{URI}/a"\ntransformations:\n- {step}\n'))
    with pytest.raises(Unsupported, match=f"'{name}'"):
        kept.to_input("in", locate(tmp_path))


def test_a_script_that_reads_rows_with_the_sdk_may_have_any(tmp_path: Path) -> None:
    steps = "- read_parquet:\n    path_column: Path\n- filter:\n    language: Native\n"
    kept = parse(flow(f'paths:\n- pattern: "{URI}/a"\ntransformations:\n{steps}'))
    assert kept.to_input("in", locate(tmp_path), is_read_by_sdk=True).kind == "tabular"


@pytest.mark.parametrize(
    ("steps", "window"),
    [
        (["skip: 2"], (2, None)),
        (["take: 5"], (0, 5)),
        (["skip: 2", "take: 5"], (2, 7)),
        (["take: 5", "skip: 2"], (2, 5)),
        (["skip: 2", "take: 5", "take: 9", "skip: 1"], (3, 7)),
    ],
)
def test_take_and_skip_leave_a_window(steps: list[str], window: tuple[int, int | None], tmp_path: Path) -> None:
    text = "".join(f"- {step}\n" for step in steps)
    kept = parse(flow(f'paths:\n- pattern: "{URI}/a"\ntransformations:\n{text}'))
    read = kept.to_input("in", locate(tmp_path))
    assert read.window == window
    start, stop = window
    assert list(range(20))[start:stop] == _taken(list(range(20)), steps)


def _taken(rows: list[int], steps: list[str]) -> list[int]:
    for step in steps:
        kind, count = step.split(": ")
        rows = rows[: int(count)] if kind == "take" else rows[int(count) :]
    return rows


@pytest.mark.parametrize(
    "text", ["", "[]", "{", flow("paths: []"), flow("paths:\n- nothing: 1"), flow("- 1"), flow(": :")]
)
def test_what_is_no_definition_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


def _block(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"id": "x", "type": f"Microsoft.DPrep.{kind}", "arguments": arguments, "isEnabled": True}


#: What the SDK writes for ``PipelineData(..).as_dataset().parse_delimited_files()``.
_ENDS_WITH_CSV = {
    "r": [
        "Invoke",
        [
            {"r": ["Identifier", "String_EndsWith"]},
            [
                {
                    "r": [
                        "Invoke",
                        [
                            {"r": ["Identifier", "GetResourceName"]},
                            [{"r": ["RecordField", [{"r": ["Identifier", "row"]}, {"r": ["Value", "Path"]}]]}],
                        ],
                    ]
                },
                {"r": ["Value", ".csv"]},
            ],
        ],
    ]
}


def test_the_older_spelling_means_the_same(tmp_path: Path) -> None:
    columns = {"columns": {"type": 0, "details": {"selectedColumns": ["Path"]}}}
    blocks = [
        _block("ExpressionFilterBlock", expression=_ENDS_WITH_CSV),
        _block("ParseDelimitedBlock", columnHeadersMode=3, fileEncoding=0, separator=";", skipRows=0),
        _block("DropColumnsBlock", **columns),
    ]
    steps = dataflow_blocks.translate(json.dumps({"blocks": blocks}))
    read = transform(parse(flow(f'paths:\n- pattern: "{URI}/out"\n')), steps).to_input("in", locate(tmp_path))
    assert read.patterns == (f"{tmp_path}/blobs/out/**/*.csv",)
    assert isinstance(read, TabularInput)
    assert (read.options["delimiter"], read.options["header"]) == (";", "every_file")


def test_an_older_block_that_is_not_known_is_refused_by_name() -> None:
    other = json.loads(json.dumps(_ENDS_WITH_CSV).replace("String_EndsWith", "String_Contains"))
    for block in (_block("SortBlock"), _block("ExpressionFilterBlock", expression=other)):
        with pytest.raises(Unsupported, match=block["type"].rpartition(".")[2]):
            dataflow_blocks.translate(json.dumps({"blocks": [block]}))
    for text in ("{}", "no", '{"blocks": [1]}'):
        with pytest.raises(BadRequest):
            dataflow_blocks.translate(text)
