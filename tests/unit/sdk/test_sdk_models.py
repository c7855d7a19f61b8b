"""What counts as the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from airflow_provider_amlbatch.aml.call import Call
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import models
from airflow_provider_amlbatch.sdk.errors import SpecError


def test_a_file_is_its_name_and_content(tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(b"weights")
    before = models.digest_of_path(model)
    # printf weights | sha256sum
    assert before == "model.pkl:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "model.pkl").write_bytes(b"weights")
    assert models.digest_of_path(copy / "model.pkl") == before
    (copy / "model.pkl").write_bytes(b"Weights")
    assert models.digest_of_path(copy / "model.pkl") != before
    assert models.digest_of_path(model.rename(tmp_path / "renamed.pkl")) != before


def test_a_folder_is_the_names_and_contents_of_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"1")
    (folder / "sub" / "b").write_bytes(b"2")
    before = models.digest_of_path(folder)
    (folder / ".amlignore").write_text("*\n")  # means nothing for a model
    with_hidden = models.digest_of_path(folder)
    assert with_hidden != before
    (folder / "sub" / "b").rename(folder / "b")
    assert models.digest_of_path(folder) != with_hidden


def test_nothing_to_register_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(SpecError, match="model_path"):
            models.digest_of_path(path)


@pytest.mark.parametrize("name", ["", "-a", "a b", "x" * 256, "a/b"])
def test_names_that_azure_refuses_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="model_name"):
        models.check_name(name)


class Latest:
    """Answers the question for the latest version."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)

    def send(self, call: Call[Any]) -> Any:
        assert (call.method, dict(call.params)) == ("GET", {"name": "m", "count": 1})
        return call.read({"value": self.found})


def test_only_the_latest_version_can_be_the_one() -> None:
    version = {"id": "m:7", "name": "m", "version": 7, "properties": {"amlbatch.digest": "d7"}}
    opened = cast(Session, Latest(version))
    assert models.find(opened, "m", "d7") == {"name": "m", "version": 7, "id": "m:7", "created": False}
    assert models.find(opened, "m", "d6") is None
    assert models.find(cast(Session, Latest()), "m", "d7") is None
