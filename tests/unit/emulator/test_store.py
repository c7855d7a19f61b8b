"""The database: what it keeps open."""

from __future__ import annotations

import threading
from pathlib import Path

from airflow_provider_amlbatch.aml.wire import Camel
from airflow_provider_amlbatch.emulator.store import Store


class Note(Camel):
    text: str


def test_threads_that_have_ended_leave_no_open_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    notes = store.collection("notes", Note)

    def write(number: int) -> None:
        notes.put(str(number), Note(text="x"))

    for number in range(20):
        thread = threading.Thread(target=write, args=(number,))
        thread.start()
        thread.join()
    held = [path for path in Path("/proc/self/fd").iterdir() if str(path.resolve()).startswith(str(tmp_path))]
    store.close()
    assert len(notes.find()) == 20
    store.close()
    assert len(held) <= 3 * 3  # database, log and index of this thread, of the last one, and of one that waits
