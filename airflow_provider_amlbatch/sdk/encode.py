"""Definitions as JSON, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_amlbatch.sdk import source
from airflow_provider_amlbatch.sdk.errors import SpecError
from airflow_provider_amlbatch.sdk.spec import (
    BatchPipeline,
    Compute,
    Environment,
    Input,
    Output,
    ParallelRun,
    Parameter,
)

T = TypeVar("T")
#: Raised when another release builds something else from the same definition, so that everything is published anew.
_FORMAT = 1
_PARAMETER_KEYS = {"parameter", "default"}


def to_json(pipeline: BatchPipeline) -> dict[str, Any]:
    """Write a pipeline as JSON-safe values. What has its default value is left out."""
    data = _object(pipeline)
    if pipeline.step.arguments:
        data["step"]["arguments"] = [_argument(word) for word in pipeline.step.arguments]
    return data


def from_json(data: Mapping[str, Any]) -> BatchPipeline:
    """Read what :func:`to_json` wrote.

    :raises SpecError: if a value breaks a rule or a key is not known.
    """
    values = _mapping("BatchPipeline", data)
    if "step" in values:
        values["step"] = _step(_mapping("step", values["step"]))
    return _make(BatchPipeline, values)


def digest(pipeline: BatchPipeline) -> str:
    """Compute SHA-256 over the definition and the content of what it refers to on this machine."""
    data = {**to_json(pipeline), "format": _FORMAT}
    data["step"]["source_directory"] = source.digest(Path(pipeline.step.source_directory))
    conda_file = pipeline.step.environment.conda_file
    if conda_file is not None:
        data["step"]["environment"]["conda_file"] = source.file_digest(Path(conda_file))
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _object(value: Any) -> dict[str, Any]:
    return {
        attribute.name: _value(item)
        for attribute in fields(value)
        if (item := getattr(value, attribute.name)) != _default(attribute)
    }


def _default(attribute: Any) -> Any:
    return attribute.default_factory() if attribute.default_factory is not MISSING else attribute.default


def _value(value: Any) -> Any:
    if isinstance(value, Parameter):
        return {"parameter": value.name, "default": value.default}
    if is_dataclass(value):
        return _object(value)
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _argument(word: Any) -> Any:
    return {"side_input": word.name} if isinstance(word, Input) else _value(word)


def _step(values: dict[str, Any]) -> ParallelRun:
    for key in ("inputs", "side_inputs"):
        values[key] = [_make(Input, _mapping(key, item)) for item in _list(key, values.get(key, []))]
    if values.get("output") is not None:
        values["output"] = _make(Output, _mapping("output", values["output"]))
    if "environment" in values:
        values["environment"] = _make(Environment, _mapping("environment", values["environment"]))
    if isinstance(values.get("compute_target"), Mapping):
        values["compute_target"] = _make(Compute, dict(values["compute_target"]))
    sides = {data.name: data for data in values["side_inputs"]}
    values["arguments"] = [_word(item, sides) for item in _list("arguments", values.get("arguments", []))]
    values |= {key: _parameter(value) for key, value in values.items() if key != "environment_variables"}
    return _make(ParallelRun, values)


def _parameter(item: Any) -> Any:
    if isinstance(item, Mapping) and set(item) == _PARAMETER_KEYS:
        return Parameter(item["parameter"], item["default"])
    return item


def _word(item: Any, sides: Mapping[str, Input]) -> Any:
    if isinstance(item, Mapping) and set(item) == {"side_input"}:
        if item["side_input"] not in sides:
            raise SpecError(f"arguments names the side input {item['side_input']!r}; side_inputs has {sorted(sides)}.")
        return sides[item["side_input"]]
    return _parameter(item)


def _list(where: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise SpecError(f"{where}={value!r} is not accepted: give a list.")
    return value


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{where}={value!r} is not accepted: give a JSON object.")
    return dict(value)


def _make(kind: type[T], values: dict[str, Any]) -> T:
    known = {attribute.name: attribute for attribute in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SpecError(f"{kind.__name__} has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}.")
    missing = [
        name
        for name, attribute in known.items()
        if name not in values and attribute.default is MISSING and attribute.default_factory is MISSING
    ]
    if missing:
        raise SpecError(f"{kind.__name__} needs {', '.join(map(repr, missing))}.")
    return kind(**values)
