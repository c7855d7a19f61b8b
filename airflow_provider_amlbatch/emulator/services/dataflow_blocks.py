"""The older spelling of transformations, in which the SDK still writes what is done to a step's output.

``{"blocks": [{"type": "Microsoft.DPrep.ParseDelimitedBlock", "arguments": {...}}, ...]}`` becomes the list of
transformations that definitions of datasets have now.
"""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported

_PREFIX = "Microsoft.DPrep."
_HEADERS = {0: "no_header", 1: "from_first_file", 2: "all_files_different_headers", 3: "all_files_same_headers"}

#: The column that the reader adds and the SDK drops again; here it is not added in the first place.
_PATH = "Path"


def translate(text: str) -> list[Any]:
    """Read transformations.

    :raises BadRequest: if the text is not in this form.
    :raises Unsupported: if a block is not known.
    """
    try:
        blocks = json.loads(text)["blocks"]
        return [step for block in blocks for step in _block(block["type"].removeprefix(_PREFIX), block["arguments"])]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadRequest("The transformations of an output cannot be read.", code="InvalidDataset") from None


def _block(kind: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    if kind == "ParseDelimitedBlock" and not arguments.get("skipRows") and not arguments.get("fileEncoding"):
        return [
            {
                "read_delimited": {
                    "delimiter": arguments.get("separator", ","),
                    "header": _HEADERS[arguments.get("columnHeadersMode", 3)],
                    "support_multi_line": bool(arguments.get("handleQuotedLineBreaks")),
                    "encoding": "utf8",
                    "infer_column_types": False,
                }
            }
        ]
    if kind == "ReadParquetFileBlock":
        return [{"read_parquet": {"include_path_column": False}}]
    if kind == "DropColumnsBlock" and _columns(arguments) == [_PATH]:
        return []
    if kind == "KeepColumnsBlock":
        return [{"keep_columns": [name for name in _columns(arguments) if name != _PATH]}]
    if kind == "ExpressionFilterBlock":
        suffix = _suffix(arguments.get("expression"))
        if suffix is not None:
            return [{"keep_files_ending_with": suffix}]
    raise Unsupported(f"The emulator does not do {kind} with {json.dumps(arguments)[:200]} to a step's output.")


def _columns(arguments: dict[str, Any]) -> list[str]:
    return [str(name) for name in arguments["columns"]["details"]["selectedColumns"]]


def _suffix(expression: Any) -> str | None:
    """The end that file names must have, if that is what an expression says."""
    words = [word for word in json.dumps(expression).split('"') if word.strip("[]{}:, ")]
    expected = ["r", "Invoke", "r", "Identifier", "String_EndsWith", "r", "Invoke", "r", "Identifier"]
    expected += ["GetResourceName", "r", "RecordField", "r", "Identifier", "row", "r", "Value", _PATH, "r", "Value"]
    return words[-1] if words[:-1] == expected else None
