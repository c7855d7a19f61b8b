"""Globs of blobs: by the rule of datasets, told for names that are written out here."""

from __future__ import annotations

import pytest

from airflow_provider_amlbatch.aml.globs import as_glob, fixed_part, is_file_of

NAMES = [
    "1.csv",
    "p/",
    "p/1.csv",
    "p/2.txt",
    "p/[1].csv",
    "p/10.csv",
    "p/archive/",
    "p/archive/old.csv",
    "p/archive/2025/old.csv",
    "pp/1.csv",
]


@pytest.mark.parametrize(
    ("path", "prefix", "wanted"),
    [
        ("p/*.csv", "p/", ["p/1.csv", "p/[1].csv", "p/10.csv"]),
        ("/p/*.csv", "p/", ["p/1.csv", "p/[1].csv", "p/10.csv"]),
        ("p/?.csv", "p/", ["p/1.csv"]),
        ("p/[1].*", "p/[1].", ["p/[1].csv"]),
        ("p/1*", "p/1", ["p/1.csv", "p/10.csv"]),
        ("p/**/*.csv", "p/", ["p/1.csv", "p/[1].csv", "p/10.csv", "p/archive/old.csv", "p/archive/2025/old.csv"]),
        ("p/**", "p/", [name for name in NAMES if name.startswith("p/") and not name.endswith("/")]),
        ("p/*/*", "p/", ["p/archive/old.csv"]),
        ("p/archive", "p/archive/", ["p/archive/old.csv", "p/archive/2025/old.csv"]),
        ("/p/archive/", "p/archive/", ["p/archive/old.csv", "p/archive/2025/old.csv"]),
        ("*", "", ["1.csv"]),
        ("", "", [name for name in NAMES if not name.endswith("/")]),
        ("/", "", [name for name in NAMES if not name.endswith("/")]),
        ("*/1.csv", "", ["p/1.csv", "pp/1.csv"]),
    ],
)
def test_a_path_stands_for_these_files(path: str, prefix: str, wanted: list[str]) -> None:
    glob = as_glob(path)
    assert fixed_part(glob) == prefix
    assert list(filter(is_file_of(glob), NAMES)) == wanted
