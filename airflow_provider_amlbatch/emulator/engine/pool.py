"""The worker processes of a parallel step, and the messages to and from them.

Each worker has a socket of its own. All are watched by one thread, whose buffers are its own too: a line that has
arrived is never left in a buffer that ``select`` cannot see.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from airflow_provider_amlbatch.emulator.engine.environment import View, launch_command
from airflow_provider_amlbatch.emulator.engine.mini_batches import Task

_WORKER = Path(__file__).with_name("worker.py")
#: Seconds between two looks at processes and deadlines.
_PATROL_INTERVAL = 0.1


class State(Enum):
    """What a worker is doing."""

    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    STOPPING = auto()


@dataclass(frozen=True)
class WorkerPlan:
    """Everything to start one worker with.

    :param config: the first line that the worker gets.
    """

    node: int
    name: str
    interpreter: str
    environment: Mapping[str, str]
    working_directory: Path
    stdout: Path
    stderr: Path
    config: dict[str, Any]
    view: View


@dataclass(eq=False)
class Worker:
    """A worker process as the engine sees it.

    :param deadline: monotonic time at which it is killed if it has not answered.
    :param rest_until: monotonic time before which it gets no mini-batch.
    :param length: bytes of its temporary file that belong to mini-batches that were answered for.
    """

    plan: WorkerPlan
    process: subprocess.Popen[bytes]
    channel: socket.socket
    deadline: float
    state: State = State.STARTING
    task: Task | None = None
    task_total: int = 0
    task_start: float = 0.0
    rest_until: float = 0.0
    length: int = 0
    failures: int = 0
    processed: int = 0
    busy_seconds: float = 0.0
    inbox: bytearray = field(default_factory=bytearray)
    outbox: bytearray = field(default_factory=bytearray)


Event = tuple[Worker, dict[str, Any]]


class Pool:
    """Living workers. Messages of a worker come out of :meth:`poll`, and so do ``exited`` and ``expired``."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._next_patrol = 0.0
        # Nothing is ever written here: workers read, and get an end of file when this process is gone.
        self._life_reader, self._life_writer = os.pipe()

    def start(self, plan: WorkerPlan, timeout: float) -> Worker:
        """Start a worker, which has ``timeout`` seconds to get through ``init()``."""
        plan.working_directory.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        command = [plan.interpreter, str(_WORKER), str(theirs.fileno()), str(self._life_reader)]
        with theirs, open(plan.stdout, "ab") as stdout, open(plan.stderr, "ab") as stderr:
            process = subprocess.Popen(
                launch_command(command, plan.view),
                cwd=plan.working_directory,
                env=dict(plan.environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[theirs.fileno(), self._life_reader],
                start_new_session=True,
            )
        ours.setblocking(False)
        worker = Worker(plan, process, ours, deadline=time.monotonic() + timeout)
        self.workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        self._send(worker, json.dumps(plan.config).encode() + b"\n")
        return worker

    def give(self, worker: Worker, task: Task, timeout: float) -> None:
        """Hand out a mini-batch, to be answered within ``timeout`` seconds."""
        now = time.monotonic()
        worker.state, worker.task, worker.task_total = State.BUSY, task, task.total or 0
        worker.task_start, worker.deadline = now, now + timeout
        self._send(worker, task.line)

    def stop(self, worker: Worker, timeout: float) -> None:
        """Let an idle worker call ``shutdown()`` and end, within ``timeout`` seconds."""
        worker.state, worker.deadline = State.STOPPING, time.monotonic() + timeout
        self._send(worker, b"stop\n")

    def kill(self, worker: Worker) -> None:
        """End a worker and whatever it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        self._forget(worker)

    def poll(self, timeout: float) -> Iterator[Event]:
        """Wait for messages, for at most ``timeout`` seconds, and yield what happened."""
        for key, ready in self._selector.select(timeout):
            worker: Worker = key.data
            if ready & selectors.EVENT_WRITE:
                self._send(worker, b"")
            if ready & selectors.EVENT_READ:
                yield from self._receive(worker)
        if time.monotonic() >= self._next_patrol:
            self._next_patrol = time.monotonic() + _PATROL_INTERVAL
            yield from self._patrol()

    def close(self) -> None:
        """Kill the workers that are left, and let go of everything."""
        for worker in list(self.workers):
            self.kill(worker)
        self._selector.close()
        os.close(self._life_reader)
        os.close(self._life_writer)

    def _patrol(self) -> Iterator[Event]:
        """Find workers that died without closing their socket (a child of theirs may hold it) or took too long."""
        now = time.monotonic()
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                yield from self._receive(worker)
                if worker in self.workers:
                    yield self._exited(worker)
            elif now > worker.deadline and worker.state is not State.IDLE:
                self.kill(worker)
                yield worker, {"event": "expired"}

    def _receive(self, worker: Worker) -> Iterator[Event]:
        if worker not in self.workers:
            return  # killed by the consumer of an earlier event
        try:
            content = worker.channel.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            content = b""
        worker.inbox += content
        while (end := worker.inbox.find(b"\n")) >= 0:
            line = bytes(worker.inbox[:end])
            del worker.inbox[: end + 1]
            yield worker, json.loads(line)
        if not content and worker in self.workers:
            yield self._exited(worker)

    def _exited(self, worker: Worker) -> Event:
        try:
            code = worker.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None  # it closed its socket and lives on: not a worker any more
        self.kill(worker)
        return worker, {"event": "exited", "exit_code": code}

    def _forget(self, worker: Worker) -> None:
        if worker in self.workers:
            self.workers.remove(worker)
            self._selector.unregister(worker.channel)
            worker.channel.close()

    def _send(self, worker: Worker, content: bytes) -> None:
        """Send without ever waiting: a stopped worker must not stop the engine."""
        worker.outbox += content
        try:
            sent = worker.channel.send(worker.outbox)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            worker.outbox.clear()  # it died; reading will tell
            return
        del worker.outbox[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
        if self._selector.get_key(worker.channel).events != events:
            self._selector.modify(worker.channel, events, worker)
