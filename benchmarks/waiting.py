"""What a waiting run costs: one watcher for all of them, beside pollers that send one request for each run.

Run ``python benchmarks/waiting.py [--runs 5000]``. A small TLS service in a process of its own answers after 20 ms;
each subject is a fresh process in which so many coroutines wait for so many runs, which end at instants spread evenly
over three intervals. The floor waits in the same way and asks nobody. Ours is measured below the trigger: the same
watcher and the same future, without Airflow's look-up of the connection. CPU and memory are the subject's own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERVAL = 3.0
LATENCY = 0.02
#: Runs end between so many intervals after the start.
FIRST_END, LAST_END = 1.0, 4.0
SCOPE = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.MachineLearningServices/workspaces/ws"
)
HISTORY = f"/history/v1.0{SCOPE}"
#: Measured and printed in this order: what it is called, and what has to be installed.
SUBJECTS = {
    "floor": ("no polling at all", ()),
    "ours": ("RunWatcher", ()),
    "aiohttp": ("one aiohttp session for all", ("aiohttp",)),
    "azure": ("an azure-core client per trigger", ("azure.core", "aiohttp")),
    "httpx": ("an httpx client per trigger", ("httpx",)),
}


# --- the service ----------------------------------------------------------------------------------------------------


def status_of(run_id: str) -> dict[str, str]:
    """Describe a run; its id ends in the epoch second at which it is over."""
    over = time.time() >= float(run_id.rpartition("_")[2])
    return {"runId": run_id, "status": "Completed" if over else "Running"}


class Service:
    """Just enough of a workspace for a session to find run history and to ask about runs."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0

    async def answer(self, method: str, path: str, body: bytes) -> Any:
        """Give the JSON for a request; only questions about runs are counted and take time."""
        path = path.partition("?")[0]
        if path.startswith(HISTORY):
            self.asked += 1
            await asyncio.sleep(LATENCY)
            if method == "GET":
                return status_of(path.rpartition("/")[2])
            runs = json.loads(body)["requests"]
            found = {key: {"runMetadata": status_of(run["runId"])} for key, run in runs.items()}
            return {"successfulResults": found, "failedResults": {}}
        login = {"loginEndpoint": self.url, "audiences": ["https://management.core.windows.net/"]}
        return {
            "/clouds": [{"name": "bench", "resourceManager": self.url, "authentication": login}],
            "/discovery": {"api": self.url, "history": self.url},
            "/asked": self.asked,
            SCOPE: {"id": SCOPE, "name": "ws", "properties": {"discoveryUrl": f"{self.url}/discovery"}},
        }[path]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                content = json.dumps(await self.answer(method, path, body)).encode()
                start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(start.encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            writer.close()

    async def serve(self, folder: Path) -> None:
        """Serve until the process is ended; the address goes to standard output."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, ssl=context, backlog=8192)
        self.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        print(self.url, flush=True)
        await server.serve_forever()


# --- those who wait -------------------------------------------------------------------------------------------------

#: Waits until a run is over.
Wait = Callable[[str], Awaitable[None]]


class StaticCredential:
    """Gives a token without asking anybody: signing in is not what is measured."""

    def __init__(self) -> None:
        self.token, self.expires_on = "token", int(time.time()) + 86400

    def get_token(self, *_scopes: str) -> StaticCredential:
        """Give itself as the token."""
        return self


async def until_over(look: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Poll one run, as a trigger of the usual kind does."""
    while (await look())["status"] != "Completed":
        await asyncio.sleep(INTERVAL)


@asynccontextmanager
async def floor(_url: str, _ca: str) -> AsyncIterator[Wait]:
    """Know the end, and sleep until then."""

    async def wait(run_id: str) -> None:
        await asyncio.sleep(float(run_id.rpartition("_")[2]) - time.time())

    yield wait


@asynccontextmanager
async def ours(url: str, ca: str) -> AsyncIterator[Wait]:
    """Enlist the run with the watcher that all share."""
    from airflow_provider_amlbatch.aml.session import Session
    from airflow_provider_amlbatch.aml.settings import ConnectionSettings
    from airflow_provider_amlbatch.aml.watcher import RunWatcher

    parts = SCOPE.split("/")
    settings = ConnectionSettings(
        parts[2], parts[4], parts[8], cloud="custom", metadata_url=f"{url}/clouds", ca_bundle=ca
    )
    watcher = RunWatcher(lambda: Session(settings, credential=StaticCredential()))

    async def wait(run_id: str) -> None:
        await asyncio.wrap_future(watcher.watch(run_id, INTERVAL))

    yield wait


@asynccontextmanager
async def shared_aiohttp(url: str, ca: str) -> AsyncIterator[Wait]:
    """Send one request a run and interval through one session."""
    import aiohttp  # type: ignore[import-not-found, unused-ignore]

    connector = aiohttp.TCPConnector(limit=50, ssl=ssl.create_default_context(cafile=ca))
    async with aiohttp.ClientSession(url, connector=connector, headers={"Authorization": "Bearer token"}) as session:

        async def look(run_id: str) -> Any:
            async with session.get(f"{HISTORY}/runs/{run_id}") as answer:
                return await answer.json()

        yield lambda run_id: until_over(lambda: look(run_id))


@asynccontextmanager
async def azure_per_trigger(url: str, _ca: str) -> AsyncIterator[Wait]:
    """Open an azure-core client for each trigger, as operators built on Azure's management libraries do.

    It trusts what the process trusts (SSL_CERT_FILE): reading a file of authorities for each client would cost more
    than all the rest.
    """
    from azure.core import AsyncPipelineClient
    from azure.core.pipeline import policies
    from azure.core.rest import HttpRequest

    async def wait(run_id: str) -> None:
        used = [policies.HeadersPolicy({"Authorization": "Bearer token"}), policies.AsyncRetryPolicy()]
        async with AsyncPipelineClient(url, policies=used) as client:

            async def look() -> Any:
                answer = await client.send_request(HttpRequest("GET", f"{url}{HISTORY}/runs/{run_id}"))
                return answer.json()

            await until_over(look)

    yield wait


@asynccontextmanager
async def httpx_per_trigger(url: str, ca: str) -> AsyncIterator[Wait]:
    """Open an httpx client for each trigger; they share the certificates, which are the dear part."""
    import httpx

    context = ssl.create_default_context(cafile=ca)

    async def wait(run_id: str) -> None:
        headers = {"Authorization": "Bearer token"}
        async with httpx.AsyncClient(base_url=url, verify=context, headers=headers, timeout=60) as client:

            async def look() -> Any:
                return (await client.get(f"{HISTORY}/runs/{run_id}")).json()

            await until_over(look)

    yield wait


WAITERS = {
    "floor": floor,
    "ours": ours,
    "aiohttp": shared_aiohttp,
    "azure": azure_per_trigger,
    "httpx": httpx_per_trigger,
}

# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What one subject needed. CPU in seconds, memory in KB for each waiting run, lags and the stall in seconds."""

    cpu: float
    memory: float
    p50: float
    p99: float
    stall: float
    seconds: float
    requests: int = 0


def resident() -> float:
    """Give the process's memory in KB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def longest_stall(stalls: list[float]) -> None:
    """Note by how much the event loop is late, a hundred times a second."""
    while True:
        due = time.perf_counter() + 0.01
        await asyncio.sleep(0.01)
        stalls.append(time.perf_counter() - due)


async def measure(name: str, runs: int, url: str, ca: str) -> Figures:
    """Let so many coroutines wait, begun one after the other within one interval."""
    lags: list[float] = []
    stalls: list[float] = []
    async with AsyncExitStack() as stack:
        wait = await stack.enter_async_context(WAITERS[name](url, ca))
        await wait(f"warm_{time.time():.3f}")
        memory, cpu, start = resident(), time.process_time(), time.time()

        async def one(index: int) -> None:
            share = index / runs
            begin = start + INTERVAL * share
            # Another order than that of the beginnings, spread evenly.
            over = start + INTERVAL * (FIRST_END + (LAST_END - FIRST_END) * (index * 0.618034 % 1.0))
            await asyncio.sleep(begin - time.time())
            await wait(f"run_{index}_{over:.3f}")
            lags.append(time.time() - over)

        ticker = asyncio.create_task(longest_stall(stalls))
        waiting = [asyncio.create_task(one(index)) for index in range(runs)]
        await asyncio.sleep(INTERVAL * FIRST_END)
        memory = (resident() - memory) / runs
        await asyncio.gather(*waiting)
        ticker.cancel()
        cpu, seconds = time.process_time() - cpu, time.time() - start
    cuts = statistics.quantiles(lags, n=100)
    return Figures(cpu, memory, cuts[49], cuts[98], max(stalls), seconds)


def asked(url: str, ca: str) -> int:
    """Ask the service how many questions about runs it was asked so far."""
    import requests

    return int(requests.get(f"{url}/asked", verify=ca, timeout=30).json())


def subject(name: str, runs: int, url: str, ca: str) -> Figures:
    """Measure a subject in a process of its own."""
    before = asked(url, ca)
    command = [sys.executable, __file__, "--subject", name, "--runs", str(runs), "--url", url, "--ca", ca]
    environment = {**os.environ, "SSL_CERT_FILE": ca}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    return Figures(**{**found, "requests": asked(url, ca) - before})


def compare(runs: int) -> int:
    """Measure all that are installed, print ratios, and say by the exit code whether ours reached its goals."""
    from airflow_provider_amlbatch.emulator.tls import Certificates

    # A run is polled from its beginning to its end: on average from half an interval to the middle of the ends.
    polls = runs * ((FIRST_END + LAST_END) / 2 - 0.5)
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder:
        certificates = Certificates(Path(folder))
        certificates.prepare()
        command = [sys.executable, __file__, "--serve", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            try:
                assert service.stdout is not None
                url = service.stdout.readline().strip()
                for name, (_, needs) in SUBJECTS.items():
                    if all(importlib.util.find_spec(module) for module in needs):
                        figures[name] = subject(name, runs, url, str(certificates.bundle))
            finally:
                service.terminate()
    own = figures["ours"]
    print(f"{runs:,} waiting runs, an interval of {INTERVAL:g} s. CPU and memory as ratios of ours; lags in intervals.")
    print(f"{'':<36}{'CPU':>7}{'ms/poll':>9}{'memory':>8}{'KB/run':>8}{'requests':>10}{'p50':>6}{'p99':>6}{'stall':>9}")
    for name, (title, needs) in SUBJECTS.items():
        if name not in figures:
            print(f"{title:<36}  not installed: {', '.join(needs)}")
            continue
        one = figures[name]
        print(
            f"{title:<36}{one.cpu / own.cpu:>6.1f}x{one.cpu / polls * 1000:>9.3f}"
            f"{one.memory / max(own.memory, 0.1):>7.1f}x{one.memory:>8.1f}{one.requests:>10,}"
            f"{one.p50 / INTERVAL:>6.2f}{one.p99 / INTERVAL:>6.2f}{one.stall * 1000:>6.0f} ms"
        )
    share = own.requests / (own.seconds / INTERVAL) / (runs / 100)
    print(f"Ours sends {share:.2f} status requests per 100 runs and interval (goal: at most 1), ", end="")
    print(f"its p99 lag is {own.p99 / INTERVAL:.2f} intervals (goal: below 2), ", end="")
    print(f"its CPU is {own.cpu / figures['floor'].cpu:.2f} of the floor's.")
    return 0 if share <= 1 and own.p99 < 2 * INTERVAL else 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="how many wait at once (1,000)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--subject", choices=WAITERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--ca", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(Service().serve(given.serve))
    elif given.subject:
        print(json.dumps(vars(asyncio.run(measure(given.subject, given.runs, given.url, given.ca)))))
    else:
        return compare(given.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
