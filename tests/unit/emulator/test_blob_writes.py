"""Writes of blobs that are repeated, broken off, or take long."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_amlbatch.emulator.blobs import Blob, BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, PreconditionFailed
from airflow_provider_amlbatch.emulator.services.blob import BlobService, Conditions
from airflow_provider_amlbatch.emulator.services.signatures import Signatures
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store


class Bench:
    """A storage account with one container."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "staging"
        self.open()
        self.blobs.create_container("box")

    def open(self) -> None:
        self.blobs = BlobStore(self.root / "blobs", Store(self.root / "db"))
        identity = Identity()
        self.service = BlobService(identity, "https://localhost", self.blobs, Signatures(identity, Clock()))

    def stage(self, name: str, block_id: str, content: bytes) -> None:
        with self.blobs.receiving() as upload:
            upload.write(content)
            self.service.stage_block(upload, "box", name, block_id, None)

    def commit(self, name: str, *block_ids: str, conditions: Conditions | None = None) -> Blob:
        conditions = conditions or Conditions()
        return self.service.commit_blocks("box", name, list(block_ids), conditions, "text/plain", None, {"a": "b"})

    def put(self, name: str, content: bytes, *, appendable: bool = False) -> Blob:
        with self.blobs.receiving() as upload:
            upload.write(content)
            return self.service.put(upload, "box", name, Conditions(), None, None, {}, appendable=appendable)

    def append(self, name: str, content: bytes) -> Blob:
        with self.blobs.receiving() as upload:
            upload.write(content)
            return self.service.append(upload, "box", name, Conditions(), None, None)[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Stand for a full disk: what goes beyond that many bytes is not written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_list_of_blocks_whose_answer_was_lost_is_answered_again(bench: Bench) -> None:
    bench.stage("x", "1", b"one")
    bench.stage("x", "2", b"two")
    made = bench.commit("x", "1", "2")
    assert bench.commit("x", "1", "2") == made
    assert made.path.read_bytes() == b"onetwo"
    bench.service.set_metadata("box", "x", Conditions(), {"c": "d"})
    assert bench.commit("x", "1", "2") == made
    assert bench.blobs.properties(made).metadata == {"c": "d"}
    with pytest.raises(PreconditionFailed):
        bench.commit("x", "1", "2", conditions=Conditions(if_match='"0x1"'))


def test_a_list_of_blocks_that_made_another_content_is_refused(bench: Bench) -> None:
    def refused(*block_ids: str) -> None:
        with pytest.raises(BadRequest, match="block list"):
            bench.commit("x", *block_ids)

    refused("1", "2")
    for block_id in ("1", "2"):
        bench.stage("x", block_id, b"old")
    bench.commit("x", "1", "2")
    refused("1")
    refused("2", "1")
    bench.stage("x", "1", b"new")  # and the second block of the new content never came
    refused("1", "2")
    (bench.root / "blobs" / "box" / "x").write_text("of somebody else")
    bench.stage("x", "2", b"new")
    assert bench.commit("x", "1", "2").path.read_bytes() == b"newnew"
    bench.put("x", b"put")
    refused("1", "2")


def test_a_long_commit_keeps_no_other_write_waiting(bench: Bench) -> None:
    bench.stage("long", "1", b"")
    (block,) = [path for path in bench.staging.glob("blocks/**/*") if path.is_file()]
    block.unlink()
    os.mkfifo(block)  # it is read for as long as we like
    committing = threading.Thread(target=bench.commit, args=("long", "1"))
    committing.start()
    with open(block, "wb") as pipe:  # it is being read now
        putting = threading.Thread(target=bench.put, args=("short", b"1"), daemon=True)
        putting.start()
        putting.join(10)
        assert not putting.is_alive()
        assert committing.is_alive()
        pipe.write(b"content")
    committing.join(10)
    assert bench.blobs.get("box", "long").path.read_bytes() == b"content"


def test_what_does_not_fit_on_the_disk_is_not_left_there(bench: Bench) -> None:
    with no_file_longer_than(5_000_000), pytest.raises(OSError, match="too large"):
        bench.blobs.put("box", "x", (b"x" * 100_001 for _ in range(100)))
    assert list(bench.staging.iterdir()) == []
    assert list(bench.blobs.list_blobs("box")) == []


def test_an_append_that_does_not_fit_on_the_disk_changes_nothing(bench: Bench) -> None:
    bench.put("log", b"", appendable=True)
    before = bench.append("log", b"one")
    with bench.blobs.receiving() as upload:
        upload.write(b"x" * 1_000_000)
        with no_file_longer_than(500_000), pytest.raises(OSError, match="too large"):
            bench.blobs.append(upload, before)
    assert bench.blobs.get("box", "log") == before
    assert bench.append("log", b"two").path.read_bytes() == b"onetwo"


def test_an_append_blob_stays_one_when_the_server_is_killed_after_an_append(bench: Bench) -> None:
    blob = bench.put("log", b"", appendable=True)
    with open(blob.path, "ab") as file:  # and then it was killed
        file.write(b"one")
    bench.open()
    assert bench.append("log", b"two").path.read_bytes() == b"onetwo"
    bench.put("log", b"a block blob")
    assert bench.blobs.properties(bench.blobs.get("box", "log")).kind == "BlockBlob"


def test_a_start_removes_what_uploads_have_left(bench: Bench) -> None:
    (bench.staging / "tmp1").write_bytes(b"of a server that was killed")
    bench.stage("old", "1", b"1")
    (old,) = bench.staging.glob("blocks/box/*")
    bench.stage("new", "1", b"1")
    os.utime(old, (time.time(), time.time() - 8 * 86400))
    bench.open()
    assert [path.name for path in bench.staging.iterdir()] == ["blocks"]
    assert not old.exists()
    assert bench.commit("new", "1").size == 1
