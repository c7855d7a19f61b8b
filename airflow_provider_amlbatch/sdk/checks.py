"""The rules that Azure ML applies to single values of a definition, with messages that name the argument."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from airflow_provider_amlbatch.sdk.errors import SpecError

#: Step names: 3 to 32 lowercase letters, digits or dashes; a letter first.
STEP_NAME = re.compile(r"[a-z][a-z0-9-]{2,31}")
#: Names of inputs and outputs: they become environment variables on the compute.
PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"\d+([kKmMgG][bB])?")
_UNIT = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_NOT_IN_FILE_NAME = frozenset('~"#%&*:<>?/\\{|}')

#: Options that the step itself puts on the command line of the entry script.
RESERVED_ARGUMENTS = frozenset(
    {
        "mini_batch_size",
        "error_threshold",
        "allowed_failed_count",
        "allowed_failed_percent",
        "output",
        "output_action",
        "logging_level",
        "process_count_per_node",
        "run_invocation_timeout",
        "run_max_try",
        "append_row_file_name",
        "partition_keys",
    }
)


def refuse(argument: str, given: object, needed: str) -> SpecError:
    """Say which argument is wrong, what was given and what would do."""
    return SpecError(f"{argument}={given!r} is not accepted: {needed}.")


def text(argument: str, value: object) -> None:
    """Require a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise refuse(argument, value, "give a non-empty string")


def named(argument: str, value: object, pattern: re.Pattern[str], needed: str) -> None:
    """Require a name that matches a pattern as a whole."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise refuse(argument, value, needed)


def integer(argument: str, value: object, minimum: int) -> None:
    """Require a plain integer; ``True`` is not one, and neither is a Parameter."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise refuse(argument, value, f"give a plain int of {minimum} or more, it cannot be a Parameter")


def positive(argument: str, value: object) -> None:
    """Require an integer above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refuse(argument, value, "give an int of 1 or more, or a Parameter with such a default")


def percent(argument: str, value: object) -> None:
    """Require a number from 0 to 100."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise refuse(argument, value, "give a number from 0 to 100, it cannot be a Parameter")


def one_of(argument: str, value: object, choices: Collection[str]) -> None:
    """Require one of a few words."""
    if value not in choices:
        raise refuse(argument, value, f"give one of {', '.join(sorted(choices))}")


def mini_batch_size(argument: str, value: object) -> int:
    """Read a size: files for file inputs, bytes for tabular inputs; units are powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _SIZE.fullmatch(value):
        raise refuse(argument, value, "give a count such as 5 or a size such as '500KB', '10MB' or '1GB'")
    number = re.sub(r"\D", "", value)
    size = int(number) * _UNIT[value[len(number) : len(number) + 1].lower()]
    if size < 1:
        raise refuse(argument, value, "give at least 1")
    return size


def string_list(argument: str, value: object) -> None:
    """Require a sequence of strings that has at least one element."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) and item for item in value):
        raise refuse(argument, value, "give a list of strings with at least one element")


def partition_keys_default(argument: str, value: object) -> None:
    """Require the JSON text of a list of strings: a parameter can carry no list."""
    needed = """give the JSON text of a list of strings, such as '["store", "brand"]'"""
    try:
        keys = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        keys = None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise refuse(argument, value, needed)


def file_name(argument: str, value: object) -> None:
    """Require a plain file name."""
    text(argument, value)
    bad = sorted(_NOT_IN_FILE_NAME.intersection(str(value)))
    if bad:
        raise refuse(argument, value, f"give a file name without {' '.join(bad)}")


def arguments(argument: str, values: tuple[Any, ...]) -> None:
    """Apply the rules for the arguments of an entry script: options only, and none that the step sets itself."""
    if values and not (isinstance(values[0], str) and values[0].startswith("-")):
        raise refuse(argument, values[0], "the first argument must be an option such as '--threshold'")
    for value in values:
        if isinstance(value, str) and value.startswith("--"):
            option = value[2:].split("=", 1)[0]
            if option in RESERVED_ARGUMENTS:
                raise refuse(argument, value, "ParallelRunStep sets this option itself; choose another name")


def unique(argument: str, names: list[str]) -> None:
    """Require names to differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise refuse(argument, name, "the name is used twice; inputs, side inputs and output need different names")
        seen.add(name)
