"""Carry out SDK work, here or in another interpreter.

The other one gets one JSON object on its standard input, the connection among it, and gives one back; nothing secret
is on a command line. It needs Python 3.11, the SDK, pydantic and tenacity, but neither Airflow nor this package: it is
shown where this package lies.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from airflow_provider_amlbatch.aml.errors import redact
from airflow_provider_amlbatch.aml.sdk_python import sdk_python
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.sdk import errors
from airflow_provider_amlbatch.sdk.errors import InterpreterError, SdkError, SpecError

log = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("child.py")
_KINDS: dict[str, type[SdkError] | type[SpecError]] = {"SdkError": SdkError, "SpecError": SpecError}


def run(session: Session, verb: str, arguments: Mapping[str, Any], *, python: str | None = None) -> dict[str, Any]:
    """Carry out one of :data:`airflow_provider_amlbatch.sdk.work.VERBS`.

    :param session: reaches the workspace.
    :param verb: name of the work.
    :param arguments: JSON-safe.
    :param python: path of an interpreter that has the SDK; None is the one that the environment names, or this process.
    :raises SdkError: if the SDK refuses.
    :raises InterpreterError: if ``python`` cannot be started or ends without an answer.
    """
    python = python or sdk_python()
    if python is not None:
        return _elsewhere(session, verb, arguments, python)
    from airflow_provider_amlbatch.sdk import work, workspace

    with workspace.opened(session) as opened:
        return work.VERBS[verb](opened, arguments)


def _elsewhere(session: Session, verb: str, arguments: Mapping[str, Any], python: str) -> dict[str, Any]:
    settings = session.settings
    request = json.dumps(
        {"verb": verb, "arguments": arguments, "conn_id": settings.conn_id, "connection": settings.to_json()}
    )
    try:
        process = subprocess.Popen(
            # -P: the folder of the script, with its modules' everyday names, stays out of the import path.
            [python, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # a native library may write what is no UTF-8
            env=_environment(),
        )
    except OSError as error:
        raise InterpreterError(f"sdk_python={python!r} cannot be started: {error.strerror}.") from None
    with process:
        assert process.stderr is not None
        last: list[str] = []
        reader = threading.Thread(target=_log_lines, args=(process.stderr, last), daemon=True)
        reader.start()
        try:
            answer = _converse(process, request)
        except BaseException:
            process.kill()
            raise
        reader.join()
    return _result(answer, python, process.returncode, last)


def _converse(process: subprocess.Popen[str], request: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # One line; the stream stays open, and its end tells the other process that this one is gone.
        process.stdin.write(f"{request}\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died early; its exit code and last words tell why
    return process.stdout.read()


def _environment() -> dict[str, str]:
    """The environment without what belongs to Airflow and to this interpreter."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "PYTHON")) and name != "VIRTUAL_ENV"
    }


def _log_lines(stream: IO[str], last: list[str]) -> None:
    for line in stream:
        text = redact(line.rstrip())
        if text:
            log.info("%s", text)
            last[:] = [*last[-2:], text]


def _result(answer: str, python: str, code: int | None, last: list[str]) -> dict[str, Any]:
    try:
        reply = json.loads(answer)
    except ValueError:
        words = f" Its last words: {' / '.join(last)}" if last else ""
        raise InterpreterError(f"sdk_python={python!r} ended with code {code} and without an answer.{words}") from None
    if "error" in reply:
        raise _KINDS.get(reply["kind"], errors.SdkError)(reply["error"])
    result: dict[str, Any] = reply["result"]
    return result
