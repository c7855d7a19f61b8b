"""Azure's ``partition_format``: the columns that a path carries, such as ``/{store}/{day:yyyy/MM/dd}/*.csv``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_amlbatch.emulator.engine.paths import InputError

_COLUMN = re.compile(r"\{([^{}:]+)(?::([^{}]+))?\}|(\*\*|\*)")
_TIME = re.compile("yyyy|MM|dd|HH|mm|ss")
_TIME_UNITS = ("yyyy", "MM", "dd", "HH", "mm", "ss")


@dataclass(frozen=True)
class PartitionFormat:
    """A parsed template.

    :param columns: the names of the columns, in the order of the template.
    """

    template: str
    columns: tuple[str, ...]
    _pattern: re.Pattern[str]
    _times: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, template: str) -> PartitionFormat:
        """Parse a template. It describes the end of the path, from the first column on."""
        times: dict[str, tuple[str, ...]] = {}
        columns: list[str] = []

        def translate(match: re.Match[str]) -> str:
            name, time_format, wildcard = match.groups()
            if wildcard:
                return ".*" if wildcard == "**" else "[^/]*"
            columns.append(name)
            if time_format is None:
                return f"(?P<c{len(columns) - 1}>[^/]+)"
            times[name] = tuple(_TIME.findall(time_format))
            parts = _TIME.split(time_format)
            digits = [rf"\d{{{len(unit)}}}" for unit in times[name]] + [""]
            inner = "".join(re.escape(part) + digit for part, digit in zip(parts, digits, strict=True))
            return f"(?P<c{len(columns) - 1}>{inner})"

        pattern, position = "", 0
        for match in _COLUMN.finditer(template.lstrip("/")):
            pattern += re.escape(template.lstrip("/")[position : match.start()]) + translate(match)
            position = match.end()
        pattern += re.escape(template.lstrip("/")[position:])
        return cls(template, tuple(columns), re.compile(rf"(?:.*/)?{pattern}"), times)

    def values(self, path: str) -> dict[str, Any]:
        """Read the columns off a path.

        :returns: a string a column, or an object ``{"datetime": ISO text}`` for a column with a time format.
        :raises InputError: if the path does not have this form.
        """
        match = self._pattern.fullmatch(path)
        if match is None:
            raise InputError(f"The path {path!r} does not match the partition_format {self.template!r}.")
        return {name: self._value(name, match[f"c{index}"]) for index, name in enumerate(self.columns)}

    def _value(self, name: str, text: str) -> Any:
        if name not in self._times:
            return text
        digits = iter(re.sub(r"\D", "", text))
        numbers = {unit: int("".join(next(digits) for _ in unit)) for unit in self._times[name]}
        defaults = {"yyyy": 1, "MM": 1, "dd": 1}
        return {"datetime": datetime(*(numbers.get(unit, defaults.get(unit, 0)) for unit in _TIME_UNITS)).isoformat()}  # type: ignore[arg-type]
