"""What ``append_row`` writes, byte for byte. The expected lines are those of real pandas, recorded independently."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from airflow_provider_amlbatch.emulator.engine.worker import RowWriter


def written(tmp_path: Path, *results: Any, header: bool = False, to_csv: dict[str, Any] | None = None) -> str:
    writer = RowWriter(str(tmp_path / "rows"), header, to_csv or {})
    for result in results:
        writer.write(result)
    content = (tmp_path / "rows").read_bytes()
    assert writer.length == len(content)
    return content.decode()


def frame() -> pandas.DataFrame:
    moment = datetime(2020, 1, 2, 3, 4, 5)
    return pandas.DataFrame(
        {
            "f": ["a.png", "b c.png", 'q"x', None, "nl\nx"],
            "n": [1, 2, 3, 4, 6],
            "p": [0.1, math.nan, 1e-07, 1 / 3, -0.0],
            "d": [moment] * 5,
        }
    )


def test_data_frame(tmp_path: Path) -> None:
    assert written(tmp_path, frame()) == (
        'a.png 1 0.1 "2020-01-02 03:04:05"\n'
        '"b c.png" 2  "2020-01-02 03:04:05"\n'
        '"q""x" 3 1e-07 "2020-01-02 03:04:05"\n'
        ' 4 0.3333333333333333 "2020-01-02 03:04:05"\n'
        '"nl\nx" 6 -0.0 "2020-01-02 03:04:05"\n'
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([None], '""\n'),
        ([numpy.array([1, 2])], '"[1 2]"\n'),
        ([[3, 4]], '"[3, 4]"\n'),
        ([{"k": 1}], "\"{'k': 1}\"\n"),
        ([datetime(2020, 1, 2)], "2020-01-02\n"),
        (["a\tb"], "a\tb\n"),
        ([], ""),
    ],
)
def test_single_column(tmp_path: Path, cells: list[Any], expected: str) -> None:
    assert written(tmp_path, pandas.DataFrame({"c": cells})) == expected


def test_list_elements_are_written_by_str(tmp_path: Path) -> None:
    elements = [("a", 1), ["x", 2], {"a": 1}, None, True, b"z", 1.5, numpy.float64(1.5), 'q"x y', "two\nlines"]
    assert written(tmp_path, elements) == (
        "('a', 1)\n['x', 2]\n{'a': 1}\nNone\nTrue\nb'z'\n1.5\n1.5\nq\"x y\ntwo\nlines\n"
    )


def test_lists_and_frames_mix_by_their_own_rules(tmp_path: Path) -> None:
    rows = written(tmp_path, ["a b"], pandas.DataFrame({"c": ["a b"]}), ("t",), [])
    assert rows == 'a b\n"a b"\nt\n'


def test_rows_are_lines_of_a_list_and_records_of_a_frame(tmp_path: Path) -> None:
    writer = RowWriter(str(tmp_path / "rows"), False, {})
    assert writer.write(["a\nb", "c"]) == 3
    assert writer.write(frame()) == 5


def test_settings_change_frames_but_not_lists(tmp_path: Path) -> None:
    result = pandas.DataFrame({"a": [1], "b": ["x y"]})
    assert written(tmp_path, result, ["x y"], to_csv={"sep": ",", "index": True}) == "0,1,x y\nx y\n"


def test_header_is_kept_apart_and_once(tmp_path: Path) -> None:
    result = pandas.DataFrame({"a b": [1], "c": [2]})
    assert written(tmp_path, result, result, header=True) == "1 2\n1 2\n"
    assert (tmp_path / "rows.header").read_text() == '"a b" c\n'


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError("no text")

    writer = RowWriter(str(tmp_path / "rows"), False, {})
    writer.write(["kept"])
    with pytest.raises(ValueError, match="no text"):
        writer.write(["lost", Unprintable()])
    assert (tmp_path / "rows").read_text() == "kept\n"
