"""The fields of a recurrence: what the service accepts in each, and how each reads in English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from airflow_provider_amlbatch.aml.errors import ArgumentError

Frequency = Literal["Minute", "Hour", "Day", "Week", "Month"]
MonthEnd = Literal["clamp", "skip"]

#: Frequency -> the longest interval that Logic Apps, which fires the schedules, takes.
MAX_INTERVALS = {"Minute": 72_000, "Hour": 12_000, "Day": 500, "Week": 71, "Month": 16}
WEEK_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

#: The older back end writes enumerations as digits.
FREQUENCY_DIGITS = {"0": "Month", "1": "Week", "2": "Day", "3": "Hour", "4": "Minute"}
WEEK_DAY_DIGITS = {str(number): day for number, day in enumerate(WEEK_DAYS)}

_START_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.0+)?(Z?)")
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})")
#: Years in which every zone can be computed with.
_YEARS = range(1900, 9000)


def check_text(name: str, value: Any) -> str:
    """Return the value of a field that must be text."""
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be text, not {value!r}.")
    return value


def check_frequency(frequency: str) -> None:
    """Refuse a frequency that the service does not know."""
    if not isinstance(frequency, str) or frequency not in MAX_INTERVALS:
        raise ArgumentError(f"frequency must be one of {_or(list(MAX_INTERVALS))}, spelled so, not {frequency!r}.")


def check_interval(frequency: str, interval: Any) -> int:
    """Return the interval if it is in the range that its frequency allows."""
    check_frequency(frequency)
    highest = MAX_INTERVALS[frequency]
    if not _is_integer(interval) or not 1 <= interval <= highest:
        raise ArgumentError(f"interval must be an integer from 1 to {highest} for {frequency}, not {interval!r}.")
    return int(interval)


def check_applies(frequency: str, *, hours: Any, minutes: Any, week_days: Any) -> None:
    """Refuse hours, minutes and week days beside a frequency that has none."""
    check_frequency(frequency)
    for name, value in (("hours", hours), ("minutes", minutes)):
        if value is not None and frequency not in ("Day", "Week"):
            raise ArgumentError(
                f"{name} apply to Day and Week only, but frequency is {frequency}: leave {name} (and time_of_day) out; "
                "start_time sets the time."
            )
    if week_days is not None and frequency != "Week":
        raise ArgumentError(f"week_days apply to Week only, but frequency is {frequency}: leave them out or use Week.")


def split_time_of_day(time_of_day: Any, hours: Any, minutes: Any) -> tuple[list[int], list[int]]:
    """Return the hours and minutes that ``time_of_day`` stands for."""
    if hours is not None or minutes is not None:
        raise ArgumentError(f"time_of_day {time_of_day!r} excludes hours and minutes: give one or the other.")
    match = _TIME_OF_DAY.fullmatch(check_text("time_of_day", time_of_day))
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise ArgumentError(f"time_of_day must be hh:mm from 00:00 to 23:59, not {time_of_day!r}.")
    return [int(match[1])], [int(match[2])]


def parse_start_time(start_time: Any, time_zone: str | None) -> datetime | None:
    """Return ``start_time`` as a naive wall-clock time, to the second."""
    if start_time is None:
        return None
    if isinstance(start_time, datetime):
        if start_time.tzinfo is not None:
            raise ArgumentError(
                f"start_time {start_time.isoformat()} carries a tzinfo: give the wall-clock time without it, and the "
                "zone in time_zone."
            )
        parsed = datetime.combine(start_time.date(), start_time.time().replace(microsecond=0))
    else:
        parsed = _parse_start_text(check_text("start_time", start_time), time_zone)
    if parsed.year not in _YEARS:
        raise ArgumentError(f"start_time must lie in the years {_YEARS[0]} to {_YEARS[-1]}, not {parsed.isoformat()}.")
    return parsed


def _parse_start_text(text: str, time_zone: str | None) -> datetime:
    match = _START_TIME.fullmatch(text)
    if match is not None and match[2] and time_zone is not None:
        raise ArgumentError(
            f"start_time {text!r} ends in Z, which says UTC, while time_zone says {time_zone!r}: leave one of the two "
            "out."
        )
    try:
        return datetime.fromisoformat(match[1] if match is not None else "")
    except ValueError:
        raise ArgumentError(f"start_time must be YYYY-MM-DDThh:mm:ss, not {text!r}.") from None


def parse_numbers(name: str, numbers: Any, highest: int) -> tuple[int, ...] | None:
    """Return hours or minutes in order, each once."""
    if numbers is None:
        return None
    if not _is_list(numbers) or not numbers:
        raise ArgumentError(f"{name} must be a list of at least one integer, or left out, not {numbers!r}.")
    for number in numbers:
        if not _is_integer(number) or not 0 <= number <= highest:
            raise ArgumentError(f"{name} must be integers from 0 to {highest}, not {number!r}.")
    return tuple(sorted({int(number) for number in numbers}))


def parse_week_days(week_days: Any) -> tuple[str, ...] | None:
    """Return week days from Monday to Sunday, each once."""
    if week_days is None:
        return None
    if not _is_list(week_days) or not week_days:
        raise ArgumentError(f"week_days must be a list of at least one day, or left out, not {week_days!r}.")
    for day in week_days:
        if day not in WEEK_DAYS:
            raise ArgumentError(f"week_days must be from {_or(WEEK_DAYS)}, not {day!r}.")
    return tuple(day for day in WEEK_DAYS if day in week_days)


def check_month_end(month_end: str) -> str:
    """Return the way in which a Month recurrence meets a short month."""
    if month_end not in ("clamp", "skip"):
        raise ArgumentError(f"month_end must be 'clamp' or 'skip', not {month_end!r}.")
    return month_end


def times_in_words(hours: Sequence[int], minutes: Sequence[int]) -> str:
    """Write every combination of hours and minutes, or the two lists where that would be long."""
    if len(hours) * len(minutes) <= 6:
        return "at " + in_words([f"{hour:02d}:{minute:02d}" for hour in hours for minute in minutes])
    return f"at minutes {in_words(minutes)} of hours {in_words(hours)}"


def in_words(items: Sequence[Any], conjunction: str = "and") -> str:
    """Write a list with commas and a word before the last item."""
    *most, last = (str(item) for item in items)
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def _or(items: Sequence[str]) -> str:
    return in_words(items, "or")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
