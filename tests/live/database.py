"""A PostgreSQL of our own, from the machine's packages, for what is too much for SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The account of Debian's package: PostgreSQL refuses to run as root.
ACCOUNT = "postgres"


@contextmanager
def postgresql() -> Iterator[str | None]:
    """Serve an empty database through a socket in a private folder, and yield its URL; None without PostgreSQL."""
    programs = _programs()
    if programs is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="amlbatch-postgresql-"))
    account = ACCOUNT if os.getuid() == 0 else None
    if account:
        shutil.chown(folder, account, account)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments, "-D", str(folder / "data")]
        with open(folder / "log", "ab") as log:
            subprocess.run(command, user=account, group=account, cwd=folder, stdout=log, stderr=log, check=True)

    try:
        run("initdb", "--username=airflow", "--auth=trust", "--encoding=UTF8")
        options = f"-k {folder} -c listen_addresses='' -c max_connections=200 -c fsync=off"
        run("pg_ctl", "start", "--wait", "-o", options)
        try:
            yield f"postgresql+psycopg2://airflow@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """Folder of the newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    installed = str(found[-1]) if found else shutil.which("initdb")
    return Path(installed).resolve().parent if installed else None
