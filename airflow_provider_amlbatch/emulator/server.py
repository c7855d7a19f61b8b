"""Serving: one process, one state folder, one TLS listener.

``server.json`` tells the port of the last time and, while the folder is served, where and by which process. Whether it
is served now is told by the lock on ``server.lock``, which no crash can leave behind.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import uvicorn

from airflow_provider_amlbatch.emulator.app import create_app
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.connection import BreakableProtocol
from airflow_provider_amlbatch.emulator.emulator import Emulator
from airflow_provider_amlbatch.emulator.engine.folder import end_runs, running_folders
from airflow_provider_amlbatch.emulator.environment import environment
from airflow_provider_amlbatch.emulator.state import StateFolder
from airflow_provider_amlbatch.emulator.tls import Certificates

log = logging.getLogger(__name__)

#: Addresses that only this machine can reach.
LOOPBACK = ("127.0.0.1", "::1", "localhost")

#: Addresses that stand for all of this machine's.
_ALL = ("0.0.0.0", "::")  # noqa: S104

#: How long jobs may take to end with the context that served them, in seconds.
_ENDING_SECONDS = 30

HEALTH_PATH = "/_emulator/health"


class ServerError(RuntimeError):
    """Raised when a server cannot be started or stopped."""


class NotServed(ServerError):
    """Raised when a folder is not being served and the caller needs it to be."""


@dataclass(frozen=True)
class Served:
    """Where a folder is served."""

    url: str
    host: str
    port: int
    pid: int

    def environment(self, root: Path) -> dict[str, str]:
        """The variables with which clients reach it."""
        folder = StateFolder(root)
        return environment(folder.open(), self.url, folder)


def serve(
    root: Path, host: str = "127.0.0.1", port: int = 0, clock: Clock | None = None, log_level: str = "info"
) -> None:
    """Serve a folder from this process until it is told to end (SIGINT, SIGTERM).

    :param host: address to listen on, of the loopback interface or 0.0.0.0 for all; the latter lets the network in, and
        is said in the log.
    :param port: 0 takes the port of the last time, or a free one.
    :raises ServerError: if the folder is served already, the port is taken, or clients that ask for ``localhost`` would
        not reach the address.
    """
    with _claimed(StateFolder(root), host, port) as (folder, listener, url):
        config = _configuration(folder, url, clock, log_level)
        if host not in LOOPBACK:
            print(f"Listening on {host}: whoever reaches this machine reaches the emulator.", file=sys.stderr)
        print(f"Azure ML emulator at {url}, state in {folder.root}", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def running(
    root: Path, clock: Clock | None = None, port: int = 0, *, keep_jobs: bool = False
) -> Iterator[tuple[Served, Emulator]]:
    """Serve a folder from a thread of this process for as long as the context lasts.

    :param keep_jobs: let jobs go on that are running at the end; by default they are canceled and waited for.
    :returns: where it is served, and the emulator itself, whose clock and services a test may use directly.
    """
    with _claimed(StateFolder(root), "127.0.0.1", port) as (folder, listener, url):
        config = _configuration(folder, url, clock, "warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="emulator", daemon=True)
        thread.start()
        try:
            _wait(lambda: server.started or not thread.is_alive(), 30)
            if not server.started:
                raise ServerError(f"The emulator over {root} did not start.")
            served = Served(url, "127.0.0.1", urlsplit(url).port or 0, os.getpid())
            yield served, config.app.state.emulator  # type: ignore[union-attr]  # it is our application
        finally:
            server.should_exit = True
            thread.join(30)
            if not keep_jobs and not end_runs(running_folders(folder.runs), _ENDING_SECONDS):
                log.warning("Jobs in %s were asked to end and are still running.", folder.runs)


def start(root: Path, port: int = 0, host: str = "127.0.0.1", timeout: float = 60) -> Served:
    """Serve a folder from a process of its own, and return when it answers.

    A folder that is served already is left as it is.

    :param timeout: how long to wait for the first answer, in seconds.
    :raises ServerError: if it does not come up, with the end of its log.
    """
    root = root.absolute()
    folder = StateFolder(root)
    now = status(root)
    if now is not None:
        if port not in (0, now.port):
            raise ServerError(f"{root} is served at {now.url} already: stop it before you start it on port {port}.")
        return now
    folder.open()
    command = [sys.executable, "-m", __spec__.name, str(root), host, str(port)]
    with open(folder.server_log, "wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=root
        )
    answering = _wait(lambda: process.poll() is not None or _answers(folder, process.pid), timeout)
    if not answering or process.poll() is not None:
        process.kill()
        said = folder.server_log.read_text(errors="replace").strip().splitlines()
        raise ServerError("The emulator did not start: " + (said[-1] if said else "it wrote no log."))
    served = status(root)
    assert served is not None
    return served


def stop(root: Path, timeout: float = 30) -> bool:
    """End the process that serves a folder; whether there was one.

    :param timeout: how long it may take before it is killed, in seconds.
    """
    served = status(root)
    if served is None:
        return False
    if served.pid == os.getpid():
        raise ServerError(f"{root} is served by this very process.")
    os.kill(served.pid, signal.SIGTERM)
    if not _wait(lambda: status(root) is None, timeout):
        os.kill(served.pid, signal.SIGKILL)
        _wait(lambda: status(root) is None, timeout)
    return True


def status(root: Path) -> Served | None:
    """Where a folder is served now, or None, also while a server is about to begin or has just ended."""
    folder = StateFolder(root)
    if not folder.server_lock.exists():
        return None
    with open(folder.server_lock, "a+") as lock:
        # Shared, so that two who ask do not take each other for the server.
        return None if _lock(lock, fcntl.LOCK_SH) else _served(folder)


def require(root: Path) -> Served:
    """Where a folder is served now.

    :raises NotServed: if it is not.
    """
    served = status(root)
    if served is None:
        raise NotServed(f"No emulator serves {root}: start one with `amlbatch emulator start --state {root}`.")
    return served


@contextmanager
def _claimed(folder: StateFolder, host: str, port: int) -> Iterator[tuple[StateFolder, socket.socket, str]]:
    if host not in _ALL and not _is_localhost(host):
        raise ServerError(
            f"Clients reach the emulator as localhost, which {host} is not here: listen on 0.0.0.0 instead."
        )
    folder.open()
    with open(folder.server_lock, "a") as lock:
        # Whoever asks for the status holds the lock for an instant, hence a second try.
        if not _wait(lambda: _lock(lock, fcntl.LOCK_EX), 1):
            raise ServerError(f"{folder.root} is served already, by another process.")
        last = _record(folder).get("port", 0)
        _remember(folder, {"port": last})  # the process of the last time may have been killed, and its id be another's
        with _listen(host, port or last) as listener:
            bound = int(listener.getsockname()[1])
            # Clients get a name, not an address: the storage suffix makes the host a part after "@".
            url = f"https://localhost:{bound}"
            Certificates(folder.tls).prepare()
            _remember(folder, asdict(Served(url, host, bound, os.getpid())))
            try:
                yield folder, listener, url
            finally:
                with suppress(OSError):  # somebody removed the folder, or the disk is full
                    _remember(folder, {"port": bound})


def _is_localhost(host: str) -> bool:
    known = ("127.0.0.1", "localhost")
    return host in known or host in {address[0] for *_, address in socket.getaddrinfo("localhost", None)}


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ServerError(f"Port {port} of {host} is in use by another program: choose one with --port.") from None
        raise ServerError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None
    return listener


def _configuration(folder: StateFolder, url: str, clock: Clock | None, log_level: str) -> uvicorn.Config:
    certificates = Certificates(folder.tls)
    return uvicorn.Config(
        create_app(folder.root, clock, url),
        http=BreakableProtocol,
        ssl_certfile=str(certificates.certificate),
        ssl_keyfile=str(certificates.key),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        log_level=log_level,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
    )


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remember(folder: StateFolder, record: dict[str, Any]) -> None:
    beside = folder.server_file.with_suffix(".new")
    beside.write_text(json.dumps(record))
    beside.replace(folder.server_file)


def _record(folder: StateFolder) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(folder.server_file.read_text())
    except FileNotFoundError:
        return {}
    return record


def _served(folder: StateFolder) -> Served | None:
    record = _record(folder)
    return Served(**record) if "pid" in record else None


def _answers(folder: StateFolder, pid: int) -> bool:
    served = _served(folder)
    if served is None or served.pid != pid:
        return False
    with requests.Session() as session:
        session.trust_env = False  # no proxy lies between us and ourselves
        try:
            return session.get(served.url + HEALTH_PATH, verify=str(Certificates(folder.tls).bundle), timeout=5).ok
        except requests.RequestException:
            return False


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except ServerError as error:
        sys.exit(str(error))
