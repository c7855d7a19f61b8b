"""What a submission hands to a pipeline: checked against what the pipeline declares, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_amlbatch.aml import dataset
from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.pipelines import (
    DataPath,
    DataSetDefinitionValue,
    GraphInterface,
    PipelineSubmissionInfo,
    PublishedPipeline,
    RegisteredDataSetReference,
    SavedDataSetReference,
)
from airflow_provider_amlbatch.aml.session import Session

_INTEGER, _DOUBLE, _BOOL = "0", "1", "2"
_DATA_PATH_KEYS = {"datastore", "path"}
_DATASET_KEYS = {"name", "version", "id", "saved_id"}


def assignments(parameters: Mapping[str, Any] | None) -> dict[str, str]:
    """Write parameter values as the wire wants them: texts.

    :raises ArgumentError: if a value is neither text, number nor truth value.
    """
    return {name: _value(name, value) for name, value in (parameters or {}).items()}


def _value(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise ArgumentError(
        f"parameters[{name!r}] is {value!r}, a {type(value).__name__}; a pipeline parameter is a text, a number or a "
        "truth value."
    )


def data_path(name: str, value: Any) -> DataPath:
    """Read a place on a datastore: ``"datastore/folder/.."`` or ``{"datastore": .., "path": ..}``.

    :raises ArgumentError: if it is neither.
    """
    if isinstance(value, str) and "/" in value.strip("/"):
        store, path = value.strip("/").split("/", 1)
        return DataPath(data_store_name=store, relative_path=path)
    if isinstance(value, Mapping) and set(value) == _DATA_PATH_KEYS:
        return DataPath(data_store_name=str(value["datastore"]), relative_path=str(value["path"]))
    raise ArgumentError(f"data_paths[{name!r}] is {value!r}; give 'datastore/path' or {{'datastore': .., 'path': ..}}.")


def dataset_value(session: Session, name: str, value: Any) -> DataSetDefinitionValue:
    """Read a dataset: ``"name"``, ``"name:version"``, ``{"name": .., "version": ..}``, ``{"id": .., "version": ..}`` or
    ``{"saved_id": ..}``. A name is looked up, because the wire knows datasets by id.

    :raises ArgumentError: if it is none of these.
    """
    if isinstance(value, str) and value:
        found, _, tail = value.partition(":")
        value = {"name": found, "version": tail or None}
    keys = set(value) if isinstance(value, Mapping) else set()
    if not keys or keys - _DATASET_KEYS or len(keys & {"name", "id", "saved_id"}) != 1:
        raise ArgumentError(
            f"datasets[{name!r}] is {value!r}; give 'name', 'name:version', {{'name': .., 'version': ..}}, "
            "{'id': .., 'version': ..} or {'saved_id': ..}."
        )
    if "saved_id" in keys:
        return DataSetDefinitionValue(saved_data_set_reference=SavedDataSetReference(id=str(value["saved_id"])))
    version = None if value.get("version") is None else str(value["version"])
    if "id" in keys:
        reference = RegisteredDataSetReference(id=str(value["id"]), version=version)
    else:
        registered = session.send(dataset.get_dataset(str(value["name"]), version))
        latest = registered.latest.version_id if registered.latest else None
        reference = RegisteredDataSetReference(
            id=registered.dataset_id, name=registered.name, version=version or latest
        )
    return DataSetDefinitionValue(data_set_reference=reference)


def split_paths(
    interface: GraphInterface, paths: Mapping[str, DataPath]
) -> tuple[dict[str, DataPath], dict[str, DataSetDefinitionValue]]:
    """Send each path the way its parameter takes it: as a data path, or as the literal value of a dataset.

    Inferred: the SDK never hands a path to a dataset parameter, but the wire has a form for it. A data path under the
    name of a dataset parameter might be ignored, and the run would score the default.
    """
    taken = {str(item.get("Name") or item.get("name")) for item in interface.data_path_parameters}
    return (
        {name: path for name, path in paths.items() if name in taken},
        {name: DataSetDefinitionValue(literal_value=path) for name, path in paths.items() if name not in taken},
    )


def assigned(
    session: Session,
    pipeline: PublishedPipeline,
    interface: GraphInterface,
    *,
    parameters: Mapping[str, Any] | None,
    datasets: Mapping[str, Any] | None,
    data_paths: Mapping[str, Any] | None,
) -> PipelineSubmissionInfo:
    """Check what is handed to a published pipeline, and write it as the body of a submission wants it.

    :raises ArgumentError: if a value is malformed, or the pipeline declares no such parameter.
    """
    values = assignments(parameters)
    paths = {name: data_path(name, value) for name, value in (data_paths or {}).items()}
    check(pipeline, interface, parameters=values, datasets=datasets or {}, data_paths=paths)
    found = {name: dataset_value(session, name, value) for name, value in (datasets or {}).items()}
    paths, literals = split_paths(interface, paths)
    return PipelineSubmissionInfo(
        parameter_assignments=values,
        data_path_assignments=paths or None,
        data_set_definition_value_assignments={**found, **literals} or None,
    )


def check(
    pipeline: PublishedPipeline,
    interface: GraphInterface,
    *,
    parameters: Mapping[str, str],
    datasets: Iterable[str],
    data_paths: Iterable[str],
) -> None:
    """Refuse what the pipeline does not declare: the service might ignore it without a word.

    :raises ArgumentError: naming the argument and listing what is declared.
    """
    types = {parameter.name: parameter.type for parameter in interface.parameters}
    for_data = set(pipeline.data_set_definition_value_assignments) | _data_names(interface)
    plain = (set(types) | set(pipeline.parameter_assignments)) - for_data
    for argument, given, declared in (
        ("parameters", parameters, plain),
        ("datasets", datasets, for_data),
        ("data_paths", data_paths, for_data),
    ):
        for name in given:
            if name not in declared:
                raise ArgumentError(_unknown(argument, name, plain, for_data, pipeline))
    for name, value in parameters.items():
        _check_type(name, value, types.get(name))


def _data_names(interface: GraphInterface) -> set[str]:
    described = [*interface.data_path_parameters, *interface.data_path_parameter_list]
    return {str(item.get("Name") or item.get("name")) for item in described}


def _unknown(argument: str, name: str, plain: set[str], for_data: set[str], pipeline: PublishedPipeline) -> str:
    return (
        f"{argument} names {name!r}, which pipeline {pipeline.name!r} ({pipeline.id}) does not declare there; "
        f"its parameters are: {', '.join(sorted(plain)) or 'none'}; "
        f"its datasets and data paths are: {', '.join(sorted(for_data)) or 'none'}."
    )


def _check_type(name: str, value: str, kind: str | None) -> None:
    # A Python truth value is declared as an integer by the SDK.
    truth = value.lower() in ("true", "false")
    try:
        if kind == _INTEGER and not truth:
            int(value)
        elif kind == _DOUBLE:
            float(value)
        elif kind == _BOOL and not truth:
            raise ValueError
    except ValueError:
        wanted = {_INTEGER: "a whole number", _DOUBLE: "a number", _BOOL: "True or False"}[str(kind)]
        raise ArgumentError(f"parameters[{name!r}] is {value!r}; the pipeline declares it as {wanted}.") from None
