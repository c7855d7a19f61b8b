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
#: How the SDK's own reader takes texts for truth values; any other text is no value.
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "T", "1", "Yes", "YES", "Y"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "F", "0", "No", "NO", "N"), False),
}


def read(source: dict[str, Any], parts: list[dict[str, Any]]) -> Any:
    """Read the parts of a mini-batch into one DataFrame.

    Columns of the path come last, as in a dataset that ``partition_by`` made, but in delimited text they come first.

    :param source: the input as the job describes it: ``format`` and ``options``.
    """
    import pandas

    frames = [_part(source, part) for part in parts]
    if not frames:
        return pandas.DataFrame()
    frame = frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)
    return frame.reset_index(drop=True)


def count(source: dict[str, Any], parts: list[dict[str, Any]]) -> int:
    """Count the rows of the parts of a mini-batch."""
    if source["format"] != "parquet":
        return len(read(source, parts))
    from pyarrow import parquet

    def length(part: dict[str, Any]) -> int:
        if "rows" in part:
            return int(part["rows"][1]) - int(part["rows"][0])
        metadata = parquet.ParquetFile(part["path"]).metadata
        return sum(metadata.row_group(group).num_rows for group in part["row_groups"])

    return sum(length(part) for part in parts)


def value(encoded: Any) -> Any:
    """Read a value of a path: text, or a time."""
    return datetime.fromisoformat(encoded["datetime"]) if isinstance(encoded, dict) else encoded


def _part(source: dict[str, Any], part: dict[str, Any]) -> Any:
    options = source["options"]
    frame = _rows(source["format"], part, options)
    if "rows" in part:
        frame = frame.iloc[slice(*part["rows"])].copy()
    frame = _with_columns(frame, part["columns"], source["format"] != "delimited")
    if options.get("path_column"):
        frame.insert(0, options["path_column"], _named(part["path"], options["path_prefixes"]))
    frame = _converted(frame, options)
    # The order stays that of the file, and a name that is not there is no error.
    kept, dropped = options.get("columns"), options.get("dropped_columns", ())
    return frame[[name for name in frame.columns if (kept is None or name in kept) and name not in dropped]]


def _named(path: str, prefixes: dict[str, str]) -> str:
    """Say where a file lies, as the SDK's own reader does: by datastore and path."""
    folder = max((prefix for prefix in prefixes if path.startswith(prefix + "/")), key=len)
    return f"{prefixes[folder]}{path[len(folder) :]}"


def _rows(kind: str, part: dict[str, Any], options: dict[str, Any]) -> Any:
    if kind == "parquet":
        from pyarrow import parquet

        file = parquet.ParquetFile(part["path"])
        return file.read_row_groups(part["row_groups"]).to_pandas()
    with open(part["path"], "rb") as file:
        file.seek(part["start"])
        content = file.read(part["end"] - part["start"])
    return _json_lines(content, options) if kind == "json_lines" else _delimited(content, part, options)


def _json_lines(content: bytes, options: dict[str, Any]) -> Any:
    import pandas

    text = content.decode(_encoding(options)).lstrip("\ufeff")
    # Not pandas.read_json: it makes numbers and times of texts that look like them.
    frame = pandas.DataFrame([json.loads(line) for line in text.split("\n") if line.strip()])
    for name in frame.columns[frame.dtypes == "object"]:
        frame[name] = frame[name].where(frame[name].notna(), None)
    return frame


def _delimited(content: bytes, part: dict[str, Any], options: dict[str, Any]) -> Any:
    import pandas

    as_text = options.get("empty_as_string", False)
    settings = {
        "sep": options.get("delimiter", ","),
        "header": None,
        "skiprows": 1 if part["has_header"] else 0,
        "na_filter": not as_text,
    }
    if options.get("infer_column_types") is False:
        settings.update(dtype=str, keep_default_na=False, na_values=[""])  # "NA" and "null" are texts
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
    """Give columns their types as the SDK's own reader does: what cannot be read is missing, and no error.

    A column of whole numbers is ``int64``, and ``float64`` where one is missing; one of truth values is ``bool``, and
    ``object`` with None where one is missing.
    """
    formats = options.get("datetime_formats") or {}
    convert = {"integer": _integers, "decimal": _decimals, "boolean": _booleans, "string": _texts}
    for name, kind in (options.get("column_types") or {}).items():
        if name not in frame:
            continue
        if kind == "datetime":
            frame[name] = _times(frame[name], formats.get(name) or [])
        else:
            frame[name] = convert[kind](frame[name])
    return frame


def _texts(values: Any) -> Any:
    return values.map(str, na_action="ignore")


def _decimals(values: Any) -> Any:
    import pandas

    return pandas.to_numeric(values, errors="coerce").astype("float64")


def _integers(values: Any) -> Any:
    """Read whole numbers; of others, such as ``4.7``, the part before the point counts."""
    import numpy
    import pandas

    numbers = pandas.to_numeric(values, errors="coerce")
    if numbers.isna().any() or numbers.abs().max() >= 2**63:
        return numpy.trunc(numbers.astype("float64")).clip(-(2.0**63), 2.0**63) + 0.0  # no -0.0
    return numbers.astype("int64")


def _booleans(values: Any) -> Any:
    """Read truth values."""
    import pandas

    found = [_BOOLEANS.get(str(text).strip()) for text in values]
    return pandas.Series(found, index=values.index, dtype="object" if None in found else "bool")


def _times(texts: Any, formats: list[str]) -> Any:
    """Read times, each in the first format that fits."""
    import pandas

    if pandas.api.types.is_datetime64_any_dtype(texts):
        return texts
    if not formats:
        times = pandas.to_datetime(texts, errors="coerce")
    else:
        texts = _texts(texts)
        times, *others = (pandas.to_datetime(texts, format=form, errors="coerce") for form in formats)
        for other in others:
            times = times.fillna(other)
    return times.where(times.between(pandas.Timestamp.min, pandas.Timestamp.max)).astype("datetime64[ns]")


@lru_cache(maxsize=256)
def _names(path: str, delimiter: str, encoding: str) -> tuple[str, ...]:
    """The names of the header; one without a name is called by its place, and one that comes again by a count."""
    import pandas

    try:
        row = pandas.read_csv(
            path, sep=delimiter, encoding=encoding, nrows=1, header=None, dtype=str, keep_default_na=False
        )
    except pandas.errors.EmptyDataError:
        return ()
    names: list[str] = []
    repeated = 0
    for place, text in enumerate(row.iloc[0], start=1):
        name = text or f"Column{place}"
        if name in names:
            repeated += 1  # of all names together, as the SDK's own reader counts
            name = f"{name}_{repeated}"
        names.append(name)
    return tuple(names)


def _with_columns(frame: Any, columns: dict[str, Any], are_last: bool) -> Any:
    if not columns:
        return frame
    frame = frame.assign(**{name: value(encoded) for name, encoded in columns.items()})
    return frame if are_last else frame[[*columns, *(name for name in frame.columns if name not in columns)]]


def _encoding(options: dict[str, Any]) -> str:
    name = str(options.get("encoding") or "utf8").lower()
    return codecs.lookup(_ENCODINGS.get(name, name)).name
