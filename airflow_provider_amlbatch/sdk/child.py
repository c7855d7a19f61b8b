"""Runs under ``sdk_python``, started by path: one JSON object in, one JSON object out."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

PACKAGE = "airflow_provider_amlbatch"


def main() -> None:
    """Read the request, carry it out, write the reply."""
    # Whatever prints to standard output from now on must not end up in the reply.
    with os.fdopen(os.dup(1), "w") as reply:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
        logging.getLogger("azure").setLevel(logging.WARNING)
        request = json.loads(sys.stdin.readline())
        threading.Thread(target=_die_with_parent, daemon=True).start()
        _answer(request, reply)


def _die_with_parent() -> None:
    """End at once when the task's process is gone: its retry must not meet a submission that comes late."""
    sys.stdin.read()
    os._exit(1)


def _answer(request: dict[str, Any], reply: TextIO) -> None:
    try:
        _show_package()
        json.dump({"result": _carry_out(request)}, reply)
    except Exception as error:
        chain = [kind.__name__ for kind in type(error).__mro__]
        kind = next((name for name in ("SpecError", "AzureMLBatchError") if name in chain), None)
        if kind is None:
            raise
        json.dump({"kind": "SpecError" if kind == "SpecError" else "SdkError", "error": str(error)}, reply)


def _show_package() -> None:
    """Make this package importable from where it lies, and nothing else that lies there."""
    folder = Path(__file__).resolve().parents[1]
    found = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if found is None or found.loader is None:
        raise ImportError(f"{folder} holds no package")
    module = importlib.util.module_from_spec(found)
    sys.modules[PACKAGE] = module
    found.loader.exec_module(module)


def _carry_out(request: dict[str, Any]) -> dict[str, Any]:
    from airflow_provider_amlbatch.aml.session import Session
    from airflow_provider_amlbatch.aml.settings import ConnectionSettings
    from airflow_provider_amlbatch.sdk import work, workspace

    session = Session(ConnectionSettings.from_json(request["conn_id"], request["connection"]))
    with workspace.opened(session) as opened:
        return work.VERBS[request["verb"]](opened, request["arguments"])


if __name__ == "__main__":
    main()
