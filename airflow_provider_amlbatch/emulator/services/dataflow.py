"""Dataset definitions as the SDK writes them: a small YAML document inside a JSON string.

The blobs of a datastore are plain files, so an input is read in place: a definition becomes local paths and options.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import yaml

from airflow_provider_amlbatch.emulator.engine.job import FileInput, Input, TabularInput
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported

#: Maps a datastore's name and a path on it to the place on this machine.
Locate = Callable[[str, str], Path]

_LOCATION = re.compile(r"^azureml://.*?/?datastores/(?P<datastore>[^/]+)/paths/?(?P<path>.*)$", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?]")

#: The reader's words for headers, and the engine's.
_HEADERS = {
    "no_header": "none",
    "from_first_file": "first_file",
    "all_files_same_headers": "every_file",
    "all_files_different_headers": "every_file",
}

#: The reader's names of column types, and the engine's.
_TYPES = {"string": "string", "boolean": "boolean", "int": "integer", "float": "decimal", "datetime": "datetime"}

#: What makes rows of files, and of which kind.
_READERS: dict[str, Literal["delimited", "parquet", "json_lines"]] = {
    "read_delimited": "delimited",
    "read_parquet": "parquet",
    "read_json_lines": "json_lines",
}

#: Options of readers that are known besides those of one reader.
_READER_OPTIONS = {"path_column", "include_path_column", "invalid_lines", "partition_size"}


@dataclass(frozen=True)
class Dataflow:
    """A definition, read.

    :param locations: pairs of datastore and path or glob on it.
    :param format: ``file``, or how the rows are written.
    :param options: how to read the rows.
    """

    locations: tuple[tuple[str, str], ...]
    format: Literal["file", "delimited", "parquet", "json_lines"] = "file"
    options: dict[str, Any] = field(default_factory=dict)
    partition_format: str | None = None
    window: tuple[int, int | None] | None = None
    unsupported: str | None = None

    def to_input(self, name: str, locate: Locate, *, is_read_by_sdk: bool = False) -> Input:
        """The input of a step.

        :param is_read_by_sdk: whether rows are read by the step's own script, with the SDK's reader, which can do all.
        :raises Unsupported: if something is done to the data that the emulator does not do.
        """
        if self.unsupported is not None and not (is_read_by_sdk and self.format != "file"):
            raise Unsupported(self.unsupported)
        patterns = tuple(str(locate(datastore, path)) for datastore, path in self.locations)
        root = common_root(patterns)
        if self.format == "file":
            return FileInput(name, patterns, root, self.partition_format, self.window)
        options = self.options
        if options.get("path_column"):
            datastores = {str(locate(datastore, "")).rstrip("/"): datastore for datastore, _ in self.locations}
            options = options | {"path_prefixes": datastores}
        return TabularInput(name, patterns, self.format, options, root, self.partition_format, self.window)


def parse(text: str) -> Dataflow:
    """Read a definition.

    :param text: ``{"blocks": [], "meta": {"RsDataflow": "<YAML>"}}``, or the YAML itself.
    :raises BadRequest: if it is not a definition.
    :raises Unsupported: if it reads what the emulator does not have.
    """
    document = _document(text)
    locations = tuple(_location(entry) for entry in document.get("paths") or ())
    if not locations:
        raise BadRequest("The dataset definition names no paths.", code="InvalidDataset")
    return transform(Dataflow(locations), document.get("transformations") or [])


def transform(dataflow: Dataflow, steps: list[Any]) -> Dataflow:
    """Apply transformations, in their order.

    One that is not done is noted: a dataset may be kept, and read by the SDK, although no step can be given it.
    """
    for step in steps:
        try:
            if not isinstance(step, dict) or len(step) != 1:
                raise Unsupported(f"The emulator does not know the dataset transformation {step!r}.")
            ((kind, value),) = step.items()
            dataflow = _apply(dataflow, kind, value)
        except Unsupported as refusal:
            dataflow = replace(dataflow, unsupported=dataflow.unsupported or refusal.message)
            if isinstance(step, dict) and str(next(iter(step))) in _READERS:
                dataflow = replace(dataflow, format=_READERS[str(next(iter(step)))])
    return dataflow


def folder_definition(datastore_uri: str, path: str, steps: list[Any]) -> str:
    """Write the definition of a dataset over all files of a folder.

    :param datastore_uri: ``azureml://.../datastores/<name>``.
    :param steps: transformations.
    """
    document: dict[str, Any] = {
        "type": "mltable",
        "paths": [{"pattern": f"{datastore_uri}/paths/{path.strip('/')}/**"}],
    }
    if steps:
        document["transformations"] = steps
    return json.dumps({"blocks": [], "meta": {"RsDataflow": yaml.safe_dump(document, sort_keys=False)}})


def is_tabular(steps: list[Any]) -> bool:
    """Whether transformations make rows out of files."""
    return any(isinstance(step, dict) and next(iter(step), "").startswith("read_") for step in steps)


def refuse_parts(inputs: tuple[Input, ...], input_names: tuple[str, ...]) -> None:
    """Refuse a part of the files of a dataset where a step is given their folder.

    :param input_names: the inputs that are cut into mini-batches instead.
    :raises Unsupported: if there is one.
    """
    for item in inputs:
        if item.kind == "file" and item.window is not None and item.name not in input_names:
            raise Unsupported(
                f"The input {item.name!r} is a part of the files of a dataset, and the emulator gives a step their "
                "folder with all of them: take() and skip() work for what a parallel step cuts into mini-batches."
            )


def common_root(patterns: tuple[str, ...]) -> str:
    """The folder that a step sees as the input: the file itself for a single file, else what all patterns share."""
    if len(patterns) == 1 and Path(patterns[0]).is_file():
        return patterns[0]
    folders = [_folder_of(pattern) for pattern in patterns]
    return os.path.commonpath(folders)


def _folder_of(pattern: str) -> str:
    wildcard = _WILDCARD.search(pattern)
    if wildcard is not None:
        return pattern[: wildcard.start()].rpartition("/")[0]
    return str(Path(pattern).parent) if Path(pattern).is_file() else pattern


def _document(text: str) -> dict[str, Any]:
    try:
        if text.lstrip().startswith("{"):
            text = json.loads(text)["meta"]["RsDataflow"]
        document = yaml.safe_load(text)
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict):
        raise BadRequest(
            "The dataset definition cannot be read: the emulator takes what azureml-dataprep 4 and later write.",
            code="InvalidDataset",
        )
    return document


def _location(entry: Any) -> tuple[str, str]:
    value = next((entry[kind] for kind in ("pattern", "file", "folder") if kind in entry), None)
    if not isinstance(value, str):
        raise BadRequest(f"The dataset path {entry!r} is not a pattern, a file or a folder.", code="InvalidDataset")
    match = _LOCATION.match(value)
    if match is None:
        raise Unsupported(f"The emulator reads datasets from its own datastores only, not from {value!r}.")
    return match["datastore"], unquote(match["path"]).strip("/")


def _apply(dataflow: Dataflow, kind: str, value: Any) -> Dataflow:
    if kind == "extract_columns_from_partition_format":
        return replace(dataflow, partition_format=value["partition_format"])
    if kind == "skip":
        start, stop = dataflow.window or (0, None)
        return replace(dataflow, window=(start + int(value), stop))
    if kind == "take":
        start, stop = dataflow.window or (0, None)
        return replace(dataflow, window=(start, start + int(value) if stop is None else min(stop, start + int(value))))
    if kind == "keep_files_ending_with" and dataflow.format == "file":
        ends = ((datastore, f"{path.rstrip('/')}/**/*{value}") for datastore, path in dataflow.locations)
        return replace(dataflow, locations=tuple(ends))
    # Of files that were counted off already, or of which rows of which would count, nothing tells here.
    is_whole = dataflow.format == "file" and dataflow.window is None
    if kind == "read_delimited" and is_whole:
        return _read_as(dataflow, "delimited", _delimited(value))
    if kind == "read_parquet" and is_whole:
        return _read_as(dataflow, "parquet", _checked(value, "Parquet files", set()))
    if kind == "read_json_lines" and is_whole:
        options = _checked(value, "JSON lines", {"encoding"})
        return _read_as(dataflow, "json_lines", {"encoding": "utf8"} | options)
    if dataflow.format != "file":
        if kind == "keep_columns":
            kept = dataflow.options.get("columns")
            return _with(dataflow, columns=[name for name in _names(value) if kept is None or name in kept])
        if kind == "drop_columns":
            return _with(dataflow, dropped_columns=[*dataflow.options.get("dropped_columns", ()), *_names(value)])
        if kind == "convert_column_types":
            types = dataflow.options.get("column_types", {}) | _types(value)
            formats = dataflow.options.get("datetime_formats", {}) | _datetime_formats(value)
            return _with(dataflow, column_types=types, datetime_formats=formats)
    raise Unsupported(
        f"The emulator does not do the dataset transformation {kind!r} of a {dataflow.format} dataset: "
        "make the dataset without it, or do it in the script."
    )


def _read_as(
    dataflow: Dataflow, kind: Literal["delimited", "parquet", "json_lines"], options: dict[str, Any]
) -> Dataflow:
    return replace(dataflow, format=kind, options=options)


def _with(dataflow: Dataflow, **options: Any) -> Dataflow:
    return replace(dataflow, options=dataflow.options | options)


def _delimited(value: dict[str, Any]) -> dict[str, Any]:
    known = {"delimiter", "encoding", "header", "support_multi_line", "empty_as_string", "infer_column_types"}
    value = _checked(value, "delimited files", known)
    path_column = {"path_column": value["path_column"]} if "path_column" in value else {}
    return path_column | {
        "delimiter": value.get("delimiter", ","),
        "encoding": value.get("encoding", "utf8"),
        "header": _HEADERS.get(value.get("header", "all_files_same_headers"), "every_file"),
        "support_multi_line": bool(value.get("support_multi_line", False)),
        "empty_as_string": bool(value.get("empty_as_string", False)),
        "infer_column_types": bool(value.get("infer_column_types", False)),
    }


def _checked(value: dict[str, Any], what: str, known: set[str]) -> dict[str, Any]:
    """The options of a reader that count.

    :raises Unsupported: for one that would make a difference here and is not done.
    """
    unknown = sorted(set(value) - known - _READER_OPTIONS)
    if unknown:
        raise Unsupported(f"The emulator does not know the option {unknown[0]!r} of {what}.")
    if value.get("invalid_lines", "error") != "error":
        raise Unsupported(f"The emulator does not do invalid_lines={value['invalid_lines']!r} of {what}.")
    options = {name: option for name, option in value.items() if name in known}
    return options | ({"path_column": value.get("path_column", "Path")} if value.get("include_path_column") else {})


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(name) for name in value]


def _types(conversions: list[dict[str, Any]]) -> dict[str, Any]:
    """Column name to the name of its type."""

    def kind(given: Any) -> str:
        name = str(next(iter(given))) if isinstance(given, dict) else str(given)
        if name not in _TYPES:
            raise Unsupported(f"The emulator does not know the column type {name!r}; it knows {', '.join(_TYPES)}.")
        return _TYPES[name]

    return {name: kind(entry["column_type"]) for entry in conversions for name in _names(entry["columns"])}


def _datetime_formats(conversions: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Column name to the ways in which its times are written, for those that say so."""
    given = [(entry, entry["column_type"]) for entry in conversions if isinstance(entry["column_type"], dict)]
    return {
        name: _names(kind["datetime"]["formats"])
        for entry, kind in given
        if isinstance(kind.get("datetime"), dict) and kind["datetime"].get("formats")
        for name in _names(entry["columns"])
    }
