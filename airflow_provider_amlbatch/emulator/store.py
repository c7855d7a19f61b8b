"""Documents in one SQLite file: a table per collection, JSON bodies, indexes on the fields that are asked for.

Every write is a transaction and durable before the answer leaves (WAL), so a killed server loses nothing that it has
acknowledged.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from airflow_provider_amlbatch.aml.wire import Wire

D = TypeVar("D", bound=Wire)


class Store:
    """The database of one state folder. Safe to use from many threads; each has its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._lock = threading.Lock()

    def collection(self, name: str, model: type[D], indexes: tuple[str, ...] = ()) -> Collection[D]:
        """The collection of that name, made when it does not exist yet.

        :param indexes: wire names of top-level fields that :meth:`Collection.find` filters by.
        """
        return Collection(self, name, model, indexes)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; nested transactions of one thread are one transaction."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
            with self._lock:
                # The server's threads come and go with the load; nobody else would close what they leave behind.
                for thread in [thread for thread in self._connections if not thread.is_alive()]:
                    self._connections.pop(thread).close()
                self._connections[threading.current_thread()] = connection
        return connection

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()
        self._local = threading.local()


class Collection(Generic[D]):
    """Documents of one type, under string keys, in the order in which they were first put."""

    def __init__(self, store: Store, name: str, model: type[D], indexes: tuple[str, ...]) -> None:
        self._store = store
        self._table = f'"{name}"'
        self._model = model
        with store.transaction() as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} "
                "(seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL)"
            )
            for field in indexes:
                connection.execute(f'CREATE INDEX IF NOT EXISTS "{name}.{field}" ON {self._table} ({_field(field)})')

    def get(self, key: str) -> D | None:
        """The document under a key, or None."""
        row = self._store.connection.execute(f"SELECT body FROM {self._table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._read(row[0])

    def put(self, key: str, document: D) -> D:
        """Write a document under a key, new or not. A replaced document keeps its place in the order."""
        body = document.model_dump_json(by_alias=True)
        with self._store.transaction() as connection:
            connection.execute(
                f"INSERT INTO {self._table} (key, body) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                (key, body),
            )
        return document

    def update(self, key: str, change: Callable[[D], D | None]) -> D | None:
        """Read, change and write a document in one transaction; ``change`` may edit in place and return None.

        :returns: the document as it is now, or None when there is none under the key.
        """
        with self._store.transaction():
            document = self.get(key)
            if document is None:
                return None
            return self.put(key, change(document) or document)

    def delete(self, key: str) -> bool:
        """Remove a document; whether there was one."""
        with self._store.transaction() as connection:
            return connection.execute(f"DELETE FROM {self._table} WHERE key = ?", (key,)).rowcount > 0

    def find(self, *, newest_first: bool = False, limit: int | None = None, **equals: Any) -> list[D]:
        """The documents whose fields have these values.

        :param equals: wire names of top-level fields and the value each must have; None means null or absent.
        """
        where, values = "", []
        for name, value in equals.items():
            where += " AND " if where else " WHERE "
            where += f"{_field(name)} IS ?"
            values.append(value)
        order = "DESC" if newest_first else "ASC"
        rows = self._store.connection.execute(
            f"SELECT body FROM {self._table}{where} ORDER BY seq {order} LIMIT ?",
            (*values, -1 if limit is None else limit),
        )
        return [self._read(row[0]) for row in rows]

    def count(self) -> int:
        """How many documents there are."""
        return int(self._store.connection.execute(f"SELECT COUNT(*) FROM {self._table}").fetchone()[0])

    def _read(self, body: str) -> D:
        return self._model.model_validate_json(body)


def _field(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"{name!r} is not a field name")
    return f"json_extract(body, '$.{name}')"
