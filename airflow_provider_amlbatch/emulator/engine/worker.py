"""The process that scores. Standard library only: it runs under the interpreter of the scoring environment.

That interpreter may be as old as Python 3.8.

It speaks JSON lines on a socket of its own; standard output and error belong to the entry script. The first line it
gets is its configuration; then come mini-batches (``<index> <total> <payload>``) until ``stop``. It answers each with
one line, after the rows are in its temporary file: the engine takes over only what it was told of.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import io
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

#: Longest traceback that travels, in characters; the end tells most. Of a message it is the beginning.
_LONGEST_TRACEBACK = 20_000


class RunResultError(TypeError):
    """Raised when ``run()`` returned neither a list nor a DataFrame."""


class Channel:
    """JSON lines to and from the engine."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # a process of the script must not keep the channel open
        self._lines = self._socket.makefile("rb")

    def read(self) -> bytes:
        """Read one line; empty when the engine is gone."""
        return self._lines.readline()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")


class RowWriter:
    """Appends the rows of ``append_row`` to this worker's temporary file.

    :param to_csv: arguments of ``DataFrame.to_csv`` from ``parallel_run_step.settings.json``.
    """

    def __init__(self, path: str, header: bool, to_csv: dict[str, Any]) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._to_csv = {"sep": " ", "index": False, **to_csv}
        # Inferred: "header" among the settings means the same as --append_row_dataframe_header, one line in all.
        self._wants_header = bool(self._to_csv.pop("header", False)) or header
        self.length = 0

    def write(self, result: Any) -> int:
        """Write what ``run()`` returned, as a whole or not at all.

        :returns: lines of a list, records of a DataFrame.
        """
        if isinstance(result, (list, tuple)):
            text = "".join([f"{element!s}\n" for element in result])
            rows = text.count("\n")
        else:
            text = result.to_csv(header=False, **self._to_csv)
            rows = len(result)
            self._write_header(result)
        self._append(text.encode("utf-8", "surrogateescape"))
        return rows

    def _append(self, content: bytes) -> None:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self.length)
            raise
        self.length += len(content)

    def _write_header(self, frame: Any) -> None:
        if self._wants_header:
            header = frame.iloc[:0].to_csv(header=True, **self._to_csv)
            Path(self._path + ".header").write_bytes(header.encode("utf-8"))
            self._wants_header = False


class EntryScript:
    """The author's script: loaded as a module, with its three functions."""

    def __init__(self, source: str, entry_script: str) -> None:
        beside = str(Path(__file__).parent)  # the engine's own modules are not the script's to import
        sys.path[:] = [source, *(path for path in sys.path if path != beside)]
        module = _load(source, entry_script)
        self._run = getattr(module, "run", None)
        if not callable(self._run):
            raise AttributeError(f"The entry script {entry_script} does not define a function run(mini_batch).")
        self._init = getattr(module, "init", None)
        self._shutdown = getattr(module, "shutdown", None)
        self._takes_context = _accepts_two(self._run)

    def init(self) -> None:
        """Call ``init()`` if there is one."""
        if self._init is not None:
            self._init()

    def run(self, mini_batch: Any, context: Any) -> Any:
        """Call ``run()`` and check what it returns.

        :raises RunResultError: if that is neither a list, a tuple nor a DataFrame.
        """
        assert self._run is not None  # checked when loaded
        result = self._run(mini_batch, context) if self._takes_context else self._run(mini_batch)
        if not isinstance(result, (list, tuple)) and not _is_data_frame(result):
            raise RunResultError(
                "The run() method in the entry script should return a list or a pandas DataFrame with one element or "
                f"row per successful item. The actual type of output is {type(result).__name__}."
            )
        return result

    def shutdown(self) -> None:
        """Call ``shutdown()`` if there is one."""
        if self._shutdown is not None:
            self._shutdown()


class Worker:
    """The loop: one configuration, ``init()`` once, ``run()`` per mini-batch."""

    def __init__(self, channel: Channel, config: dict[str, Any], log: TextIO) -> None:
        self._channel = channel
        self._config = config
        self._log = log
        self._rows: RowWriter | None = None
        self._contexts = _sibling("context")
        self._row_index = self._contexts.RowIndex(config["queue"], self._count)

    def start(self) -> EntryScript | None:
        """Load the script and call ``init()``; None, and an error to the engine, if that fails."""
        started = time.monotonic()
        try:
            config = self._config
            if config["temporary_file"] is not None:
                settings = _settings(Path(config["source"], config["entry_script"]))
                self._rows = RowWriter(config["temporary_file"], config["dataframe_header"], settings)
            script = EntryScript(config["source"], config["entry_script"])
            script.init()
        except BaseException as error:
            self._note(f"init() failed: {error!r}")
            self._channel.send({"event": "init_failed", "error": _describe(error)})
            return None
        self._note(f"init() done in {time.monotonic() - started:.3f} s")
        self._channel.send({"event": "ready", "seconds": time.monotonic() - started})
        return script

    def serve(self, script: EntryScript) -> None:
        """Answer mini-batches until told to stop, then call ``shutdown()``."""
        while (line := self._channel.read()) != b"stop\n":
            if not line:
                return  # the engine is gone
            number, total, payload = line.split(b" ", 2)
            self._channel.send(self._answer(script, int(number), int(total), json.loads(payload)))
        try:
            script.shutdown()
        except BaseException as error:
            self._channel.send({"event": "shutdown_failed", "error": _describe(error)})
        self._note("stopped")
        gc.freeze()  # spares a search for garbage on the way out, which takes 0.2 s after scikit-learn

    def _answer(self, script: EntryScript, index: int, total: int, payload: dict[str, Any]) -> dict[str, Any]:
        started, cpu = time.monotonic(), time.process_time()
        answer: dict[str, Any] = {"index": index, "total": max(total, 0)}
        run_seconds = 0.0
        try:
            mini_batch = payload["files"] if "files" in payload else self._read(payload, answer)
            context = self._contexts.MiniBatchContext(
                self._key(payload), index, self._input(payload).get("name"), self._row_index
            )
            result: Any = []
            if total >= 0 or answer["total"] > 0:  # run() is not called for a DataFrame without rows
                before = time.monotonic()
                try:
                    result = script.run(mini_batch, context)
                finally:
                    run_seconds = time.monotonic() - before
            rows = self._rows.write(result) if self._rows is not None else 0
            answer.update(event="done", returned=len(result), rows=rows)
        except BaseException as error:
            answer.update(event="failed", error=_describe(error))
        if self._rows is not None:
            answer["length"] = self._rows.length
        elapsed = time.monotonic() - started
        self._note(f"mini-batch {index} {answer['event']} in {elapsed:.3f} s")
        answer.update(elapsed=elapsed, process=time.process_time() - cpu, run=run_seconds)
        return answer

    def _read(self, payload: dict[str, Any], answer: dict[str, Any]) -> Any:
        frame = _sibling("records").read(self._input(payload), payload["parts"])
        answer["total"] = len(frame)
        # Sent before run(): if this process does not survive run(), nobody else knows how many rows failed.
        self._channel.send({"event": "read", "index": answer["index"], "total": len(frame)})
        return frame

    def _count(self, payload: dict[str, Any]) -> int:
        count: int = _sibling("records").count(self._input(payload), payload["parts"])
        return count

    def _input(self, payload: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._config["inputs"][payload["input"]] if "input" in payload else {}
        return found

    def _key(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        if "key" not in payload:
            return None
        return {name: _sibling("records").value(encoded) for name, encoded in payload["key"].items()}

    def _note(self, text: str) -> None:
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}|{os.getpid()}|{text}\n")


def _load(source: str, entry_script: str) -> ModuleType:
    """Load the entry script as the module ``a.b`` of its path ``a/b.py``.

    By its path, because a module of that name may be loaded already (``json.py``) or built in (``time.py``). That one
    stays what others import.
    """
    name = ".".join(Path(entry_script).with_suffix("").parts)
    package = name.rpartition(".")[0]
    if package:
        importlib.import_module(package)
    module = _module(name, Path(source, entry_script))
    sys.modules.setdefault(name, module)
    return _executed(module)


@lru_cache
def _sibling(name: str) -> ModuleType:
    """Load a module that lies beside this file, under a name that no script uses."""
    return _executed(_module(f"_amlbatch_{name}", Path(__file__).with_name(f"{name}.py")))


def _module(name: str, path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    return importlib.util.module_from_spec(specification)


def _executed(module: ModuleType) -> ModuleType:
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    module.__spec__.loader.exec_module(module)
    return module


def _settings(entry_script: Path) -> dict[str, Any]:
    path = entry_script.with_name("parallel_run_step.settings.json")
    if not path.is_file():
        return {}
    settings = json.loads(path.read_text(encoding="utf-8"))
    return dict(settings.get("append_row", {}).get("pandas.DataFrame.to_csv", {}))


def _accepts_two(run: Callable[..., Any]) -> bool:
    try:
        inspect.signature(run).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def _is_data_frame(result: Any) -> bool:
    pandas = sys.modules.get("pandas")  # who returns a DataFrame has imported it
    return pandas is not None and isinstance(result, pandas.DataFrame)


def _describe(error: BaseException) -> dict[str, Any]:
    """Describe an error for the engine; a ParallelRunException is known by its name, as the SDK may be absent."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if frames and not isinstance(error, SyntaxError) and error.__cause__ is None and error.__context__ is None:
        head = "Traceback (most recent call last):\n" + "".join(traceback.format_list(frames))
        stack = head + "".join(traceback.format_exception_only(type(error), error))
    description: dict[str, Any] = {
        "type": type(error).__name__,
        "message": str(error)[:_LONGEST_TRACEBACK],
        "traceback": stack[-_LONGEST_TRACEBACK:],
    }
    if any(base.__name__ == "ParallelRunException" for base in type(error).__mro__):
        description["code"] = getattr(error, "code", None) or "Retry.Sleep"
        delay = getattr(error, "delay_seconds", 0)
        description["delay"] = float(delay) if isinstance(delay, (int, float)) else 0.0
    return description


def _watch(descriptor: int) -> None:
    """End this process, and what the script started, when the engine's end of the pipe closes."""
    os.set_inheritable(descriptor, False)

    def wait() -> None:
        os.read(descriptor, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, name="engine-watch", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Run one worker.

    :param arguments: descriptors of the channel and of the pipe that closes with the engine.
    """
    channel_descriptor, life_descriptor = (int(argument) for argument in arguments)
    _watch(life_descriptor)
    channel = Channel(channel_descriptor)
    config = json.loads(channel.read() or b"null")
    if config is None:
        return 0
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.argv = config["argv"]
    sys.path.append(config["resources"])
    with open(config["log"], "a", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
        worker = Worker(channel, config, log)
        script = worker.start()
        if script is None:
            return 72  # the code with which the service's own worker leaves when init() failed
        worker.serve(script)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
