"""Lists of blobs, against what sorting all names gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.emulator.blobs import BlobStore
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import Conflict
from airflow_provider_amlbatch.emulator.services.blob import BlobService
from airflow_provider_amlbatch.emulator.services.signatures import Signatures
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store

# Letters before and after "/" in the order of characters, and one far behind.
parts = st.text("a-.0bä", min_size=1, max_size=3).filter(lambda part: part not in (".", ".."))
names = st.lists(parts, min_size=1, max_size=3).map("/".join)


def expected(stored: list[str], prefix: str, delimiter: str) -> list[str]:
    """Names, and cut names, as the service's documentation tells them."""
    entries = []
    for name in sorted(stored):
        if name.startswith(prefix):
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name[len(prefix) :], "", "")
            entry = prefix + head + cut
            if entry not in entries:
                entries.append(entry)
    return entries


@settings(max_examples=60, deadline=None)
@given(
    wanted=st.sets(names, max_size=12),
    prefix=st.sampled_from(["", "a", "a/", "a-", "b/a", "none"]),
    delimiter=st.sampled_from(["", "/", "-"]),
    size=st.integers(1, 5),
)
def test_pages_of_any_size_tell_every_name_once_and_in_order(
    wanted: set[str], prefix: str, delimiter: str, size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        identity, store = Identity(), Store(Path(folder) / "db")
        blobs = BlobStore(Path(folder) / "blobs", store)
        service = BlobService(identity, "https://localhost:1", blobs, Signatures(identity, Clock()))
        service.create_container("box")
        stored = []
        for name in sorted(wanted):
            try:
                blobs.put("box", name, [name.encode()])
            except Conflict:
                continue  # a part of the name is a blob: files cannot do that
            stored.append(name)

        told, marker = [], ""
        for _ in range(len(stored) + 1):
            page = service.list_blobs("box", prefix, delimiter, marker, size)
            entries = [blob.name for blob, _ in page.blobs] + page.prefixes
            assert len(entries) <= size
            told.append(sorted(entries))
            marker = page.next_marker
            if not marker:
                break
        store.close()
    assert not marker
    assert [entry for page in told for entry in page] == expected(stored, prefix, delimiter)
