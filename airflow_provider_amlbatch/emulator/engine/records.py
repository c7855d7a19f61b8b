"""Reading a mini-batch of rows as a DataFrame. Runs in the worker, under the scoring interpreter: standard library, and
pandas (pyarrow for Parquet) once a mini-batch of rows arrives.
"""

from __future__ import annotations

import codecs
import io
import json
from datetime import datetime
from functools import lru_cache
from typing import Any

_ENCODINGS = {"utf8bom": "utf-8-sig", "windows1252": "cp1252", "iso88591": "latin-1"}
_TYPES = {"string": "object", "boolean": "boolean", "decimal": "float64", "integer": "Int64"}


def read(source: dict[str, Any], parts: list[dict[str, Any]]) -> Any:
    """Read the parts of a mini-batch into one DataFrame.

    Columns of the path come last, as a partitioned dataset gives them.

    :param source: the input as the job describes it: ``format`` and ``options``.
    """
    import pandas

    frames = [_with_columns(_part(source, part), part["columns"]) for part in parts]
    if not frames:
        return pandas.DataFrame()
    frame = frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)
    return frame.reset_index(drop=True)


def value(encoded: Any) -> Any:
    """Read a value of a path: text, or a time."""
    return datetime.fromisoformat(encoded["datetime"]) if isinstance(encoded, dict) else encoded


def _part(source: dict[str, Any], part: dict[str, Any]) -> Any:
    options = source["options"]
    if source["format"] == "parquet":
        from pyarrow import parquet

        table = parquet.ParquetFile(part["path"]).read_row_groups(part["row_groups"], columns=options.get("columns"))
        return _converted(table.to_pandas(), options)
    with open(part["path"], "rb") as file:
        file.seek(part["start"])
        content = file.read(part["end"] - part["start"])
    frame = _json_lines(content, options) if source["format"] == "json_lines" else _delimited(content, part, options)
    frame = _converted(frame, options)
    return frame[options["columns"]] if options.get("columns") else frame


def _json_lines(content: bytes, options: dict[str, Any]) -> Any:
    import pandas

    text = content.decode(_encoding(options)).lstrip("\ufeff")
    # Not pandas.read_json: it makes numbers and times of texts that look like them.
    return pandas.DataFrame([json.loads(line) for line in text.split("\n") if line.strip()])


def _delimited(content: bytes, part: dict[str, Any], options: dict[str, Any]) -> Any:
    import pandas

    settings = {
        "sep": options.get("delimiter", ","),
        "header": None,
        "skiprows": 1 if part["has_header"] else 0,
        "keep_default_na": not options.get("empty_as_string", False),
        "na_filter": not options.get("empty_as_string", False),
    }
    if options.get("infer_column_types") is False:
        settings["dtype"] = str
    names = None
    if part["names_from"] is not None:
        names = _names(part["names_from"], settings["sep"], _encoding(options))
    text = content.decode(_encoding(options)).lstrip("\ufeff")
    try:
        frame = pandas.read_csv(io.StringIO(text), names=names, index_col=False, **settings)
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame(columns=list(names or []))
    if names is None:
        frame.columns = [f"Column{number}" for number in range(1, frame.shape[1] + 1)]
    return frame


def _converted(frame: Any, options: dict[str, Any]) -> Any:
    formats = options.get("datetime_formats") or {}
    for name, kind in (options.get("column_types") or {}).items():
        if name not in frame:
            continue
        if kind == "datetime":
            frame[name] = _times(frame[name], formats.get(name) or [])
        elif kind == "string":
            frame[name] = frame[name].map(str, na_action="ignore")
        else:
            frame[name] = frame[name].astype(_TYPES[kind])
    return frame


def _times(texts: Any, formats: list[str]) -> Any:
    """Read times, each in the first format that fits."""
    import pandas

    if not formats or pandas.api.types.is_datetime64_any_dtype(texts):
        return pandas.to_datetime(texts, errors="coerce")
    texts = texts.map(str, na_action="ignore")
    times, *others = (pandas.to_datetime(texts, format=form, errors="coerce") for form in formats)
    for other in others:
        times = times.fillna(other)
    return times


@lru_cache(maxsize=256)
def _names(path: str, delimiter: str, encoding: str) -> tuple[str, ...]:
    import pandas

    return tuple(pandas.read_csv(path, sep=delimiter, encoding=encoding, nrows=0, index_col=False).columns)


def _with_columns(frame: Any, columns: dict[str, Any]) -> Any:
    return frame.assign(**{name: value(encoded) for name, encoded in columns.items()}) if columns else frame


def _encoding(options: dict[str, Any]) -> str:
    name = str(options.get("encoding") or "utf8").lower()
    return codecs.lookup(_ENCODINGS.get(name, name)).name
