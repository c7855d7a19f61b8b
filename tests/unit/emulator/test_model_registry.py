"""The registry of models beside what the SDK can see of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound
from airflow_provider_amlbatch.emulator.services.models import Model, ModelQuery, ModelService, PatchOperation
from airflow_provider_amlbatch.emulator.store import Store
from airflow_provider_amlbatch.emulator.tokens import Caller

CALLER = Caller("object", "tenant", "someone")


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.freeze(datetime(2026, 3, 1, tzinfo=UTC))
    return clock


@pytest.fixture
def models(tmp_path: Path, clock: Clock) -> Iterator[ModelService]:
    store = Store(tmp_path / "db")
    yield ModelService(store, clock)
    store.close()


def test_versions_that_are_registered_at_once_differ(models: ModelService) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: models.register(Model(name="m"), CALLER).version, range(40)))
    assert sorted(version or 0 for version in made) == list(range(1, 41))


def test_orders(models: ModelService, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        models.register(Model(name=name), CALLER)
        clock.shift(timedelta(minutes=1))
    models.patch("a:1", [PatchOperation(op="replace", path="/description", value="new")])

    def names(order: str | None) -> list[str]:
        return [model.name for model in models.find(ModelQuery(order_by=order), 10, None).value]

    assert names(None) == names("CreatedAtDesc") == ["c", "b", "a"]
    assert names("CreatedAtAsc") == ["a", "b", "c"]
    assert names("UpdatedAtDesc") == ["a", "c", "b"]


def test_patches_are_all_or_nothing(models: ModelService) -> None:
    models.register(Model(name="m", kv_tags={"a/b": "1", "keep": "2"}), CALLER)
    done = models.patch(
        "m:1",
        [
            PatchOperation(op="remove", path="/kvTags/a~1b"),
            PatchOperation(op="add", path="/kvTags/new", value="3"),
            PatchOperation(op="replace", path="/description", value="said"),
        ],
    )
    assert (done.kv_tags, done.description) == ({"keep": "2", "new": "3"}, "said")
    for wrong in ("/name", "/version", "/kvTags/a/b", ""):
        change = PatchOperation(op="replace", path="/description", value="lost")
        with pytest.raises(BadRequest):
            models.patch("m:1", [change, PatchOperation(op="replace", path=wrong, value="x")])
    assert models.get("m:1").description == "said"


def test_refuses_what_cannot_be(models: ModelService) -> None:
    with pytest.raises(BadRequest, match="asset"):
        models.register(Model(name="m", url="aml://asset/none"), CALLER)
    for name in ("", "a:b", "a/b"):
        with pytest.raises(BadRequest):
            models.register(Model(name=name), CALLER)
    with pytest.raises(NotFound):
        models.get("m:1")
    assert models.register(Model(name="m"), CALLER).version == 1
