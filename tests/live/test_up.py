"""``make up``, twice on one machine and for a user whose home is empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests
from up import Up

LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture
def ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Up, Up]]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    first, second = Up(tmp_path / "first"), Up(tmp_path / "second")
    with ExitStack() as ends:
        for up in (first, second):
            ends.callback(up.stop)
            up.start()
        yield first, second


def is_healthy(up: Up) -> bool:
    health = requests.get(f"{up.url}/api/v2/monitor/health", timeout=10).json()
    return {part["status"] for name, part in health.items() if name != "metadatabase"} == {"healthy"}


def listening(up: Up) -> set[str]:
    """The addresses on which an Airflow listens."""
    connections = [made for process in up.processes() for made in process.net_connections("inet")]
    return {made.laddr.ip for made in connections if made.status == psutil.CONN_LISTEN}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_are_up_at_once_and_each_stops_its_own(ups: tuple[Up, Up]) -> None:
    first, second = ups
    address, leaders = first.url, {process.pid for process in first.processes()}
    assert address != second.url
    assert leaders.isdisjoint(process.pid for process in second.processes())
    assert listening(first) <= LOOPBACK

    first.start()  # once more: it goes on
    assert first.url == address

    theirs = second.processes()
    second.stop()
    assert psutil.wait_procs(theirs, timeout=5)[1] == []
    assert is_healthy(first)
    assert {process.pid for process in first.processes()} & leaders

    second.start()  # with the workspace that it had
    assert is_healthy(second)
