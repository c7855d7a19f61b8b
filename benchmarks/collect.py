"""Compare collecting with the usual ways, each in a process of its own, in one run: ratios count, not seconds.

Run ``python benchmarks/collect.py [PART ...] [--rows N] [--megabytes N] [--blobs N] [--repeat N]``. The parts
``lines``, ``compare``, ``short`` (a tenth of the rows) and ``frames`` take ``--rows`` rows of text to Parquet; ``big``
and ``small`` download one blob of ``--megabytes`` and ``--blobs`` blobs of 100 KB that this machine serves.
``--documented`` prints the tables of docs/results.md, in about five minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 500_000
_SMALL = 100_000
_MEASURED = ("seconds", "cpu", "memory")
#: Files lie here where there is such a folder, so that a slow disk does not hide the rest.
_IN_MEMORY = Path("/dev/shm")


def main() -> None:
    """Measure and print a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", help=f"what to measure: {', '.join(PARTS)}; everything when left out")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--blobs", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--documented", action="store_true", help="take the sizes of docs/results.md")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(_measured(arguments.run, arguments.folder)))
        return
    if unknown := [name for name in arguments.part if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}, but {', '.join(PARTS)}")
    if arguments.documented:
        arguments.rows, arguments.megabytes, arguments.blobs = 10_000_000, 1024, 2000
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as name:
        for part in arguments.part or PARTS:
            folder = Path(name, part)
            folder.mkdir()
            PARTS[part](part, folder, arguments)
            shutil.rmtree(folder)


def _text_part(part: str, folder: Path, arguments: argparse.Namespace) -> None:
    rows = arguments.rows // 10 if part == "short" else arguments.rows
    text = _frames(folder, rows) if part == "frames" else _lines(folder, rows)
    _table(f"{rows:,} {_ROWS[part]}, {text.stat().st_size / 1e6:,.0f} MB", part, folder, arguments)


def _blob_part(part: str, folder: Path, arguments: argparse.Namespace) -> None:
    stored = folder / "c" / part
    stored.mkdir(parents=True)
    piece = random.randbytes(1 << 20)
    if part == "big":
        with (stored / "result.txt").open("wb") as file:
            for _ in range(arguments.megabytes):
                file.write(piece)
    else:
        for number in range(arguments.blobs):
            (stored / f"{number:05d}.txt").write_bytes(piece[:_SMALL])
    command = [sys.executable, __file__, "--run", "serve", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            (folder / "url").write_text(server.stdout.readline().strip())
            size = f"one blob of {arguments.megabytes:,} MB"
            many = f"{arguments.blobs:,} blobs of {_SMALL // 1000} KB"
            _table(f"download of {size if part == 'big' else many}", part, folder, arguments)
        finally:
            server.terminate()


def _table(title: str, part: str, folder: Path, arguments: argparse.Namespace) -> None:
    """Print medians as a table in Markdown, relative to the first way."""
    ways = [name for name in WAYS if name.startswith(f"{part}:")]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.repeat):  # interleaved, so that a busy machine is busy for all
        for way in ways:
            command = [sys.executable, __file__, "--run", way, "--folder", str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {way: {key: median(one[key] for one in results[way]) for key in _MEASURED} for way in ways}
    base = middle[ways[0]]
    print(f"\n| {title} | time | processor time | added memory |\n|---|---|---|---|")
    for way in ways:
        found = middle[way]
        times = [f"{found[key] / base[key]:.2f}" for key in ("seconds", "cpu")]
        if way == ways[0]:
            times = [f"{ratio} ({base[key]:.2f} s)" for ratio, key in zip(times, ("seconds", "cpu"), strict=True)]
        print(f"| {way.partition(':')[2]} | {times[0]} | {times[1]} | {found['memory']:,.0f} MB |", flush=True)


def _measured(way: str, folder: Path) -> dict[str, float]:
    shutil.rmtree(folder / "got", ignore_errors=True)
    import pandas  # noqa: F401  pyarrow imports it at its first scalar: nobody is charged for it
    import pyarrow as pa

    work = WAYS[way](folder)
    pa.scalar(1)
    gc.collect()
    before = _peak()
    cpu, started = time.process_time(), time.perf_counter()
    work()
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "memory": (_peak() - before) / 1024,
    }


def _peak() -> int:
    """Peak resident memory in kB. (``ru_maxrss`` would begin with what the parent process had.)"""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def _lines(folder: Path, rows: int) -> Path:
    random.seed(1)
    with (folder / "lines.txt").open("w") as lines:
        for numbers in _chunks(rows):
            lines.write("".join(f"f{number:07d}.csv: {random.random():.6f}\n" for number in numbers))
    (folder / "inputs.txt").write_text("".join(f"in/f{n:07d}.csv\n" for n in range(rows)))
    return folder / "lines.txt"


def _frames(folder: Path, rows: int) -> Path:
    random.seed(1)
    with (folder / "frames.txt").open("w") as frames:
        for numbers in _chunks(rows):
            frames.write(
                "".join(
                    f'f{n:07d}.csv {n} {random.random()!r} class_{n % 10} "2026-01-02 03:04:{n % 60:02d}"\n'
                    for n in numbers
                )
            )
    return folder / "frames.txt"


def _chunks(rows: int) -> list[range]:
    return [range(start, min(rows, start + _CHUNK)) for start in range(0, rows, _CHUNK)]


# -- text to Parquet ------------------------------------------------------------------------------------------------


def _pandas(folder: Path, text: str, separator: str, names: list[str]) -> Callable[[], Any]:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    def work() -> None:
        pd.read_csv(folder / text, sep=separator, header=None, names=names).to_parquet(folder / "pandas.parquet")

    return work


def _pandas_chunks(folder: Path, text: str, separator: str, names: list[str]) -> Callable[[], Any]:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    def work() -> None:
        out = None
        for frame in pd.read_csv(folder / text, sep=separator, header=None, names=names, chunksize=250_000):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            out = out or pq.ParquetWriter(folder / "chunks.parquet", table.schema)
            out.write_table(table)
        if out:
            out.close()

    return work


def _arrow_stream(folder: Path, text: str, separator: str, names: list[str]) -> Callable[[], Any]:
    import pyarrow.parquet as pq
    from pyarrow import csv

    def work() -> None:
        with (
            csv.open_csv(
                folder / text,
                read_options=csv.ReadOptions(column_names=names, block_size=4 << 20),
                parse_options=csv.ParseOptions(delimiter=separator),
            ) as batches,
            pq.ParquetWriter(folder / "arrow.parquet", batches.schema) as out,
        ):
            for batch in batches:
                out.write_batch(batch)

    return work


def _ours(folder: Path, text: str, columns: list[str], checks: str) -> Callable[[], Any]:
    from pyarrow import csv

    from airflow_provider_amlbatch.results.collect import collect
    from airflow_provider_amlbatch.results.format import ResultFormat
    from airflow_provider_amlbatch.results.reconcile import Reconcile

    form = ResultFormat.lines(":", columns) if text == "lines.txt" else ResultFormat.rows(" ", columns)

    rules = None
    if checks == "keys":
        rules = Reconcile(keep="first")
    elif checks == "arrow":
        options = csv.ReadOptions(column_names=["input"])
        names = csv.read_csv(folder / "inputs.txt", read_options=options)["input"]
        rules = Reconcile(names, require_complete=True)
    elif checks == "strings":
        rules = Reconcile((folder / "inputs.txt").read_text().splitlines(), require_complete=True)

    def work() -> None:
        collected = collect(folder / text, folder / "ours.parquet", format=form, reconcile=rules)
        assert collected.rows > 0

    return work


# -- download -------------------------------------------------------------------------------------------------------


def _container(folder: Path, **options: Any) -> Any:
    from azure.storage.blob import ContainerClient

    return ContainerClient.from_container_url((folder / "url").read_text(), **options)


def _whole_in_memory(folder: Path, prefix: str) -> Callable[[], Any]:
    """Download as azureml's datastore does: a thread a blob, each blob whole in memory, then written."""
    container = _container(folder)

    def fetch(name: str) -> None:
        path = folder / "got" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(container.get_blob_client(name).download_blob().readall())

    def work() -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(fetch, [blob.name for blob in container.list_blobs(name_starts_with=prefix)]))

    return work


def _storage_blob(folder: Path, prefix: str) -> Callable[[], Any]:
    container = _container(folder, max_single_get_size=16 << 20, max_chunk_get_size=16 << 20)

    def work() -> None:
        for blob in container.list_blobs(name_starts_with=prefix):
            path = folder / "got" / blob.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                container.get_blob_client(blob.name).download_blob(max_concurrency=4).readinto(file)

    return work


def _ours_download(folder: Path, prefix: str) -> Callable[[], Any]:
    from airflow_provider_amlbatch.results.blobs import BlobReader
    from airflow_provider_amlbatch.results.download import download

    container = _container(folder)

    def work() -> None:
        with BlobReader(container) as reader:
            download(reader, reader.find(prefix), folder / "got")

    return work


def _serve(folder: Path) -> Callable[[], Any]:
    """Serve the folder ``c`` as a blob container, with as little work as can be: it shares the processor."""

    def listing(prefix: str) -> bytes:
        entries = "".join(
            f"<Blob><Name>{prefix}{path.name}</Name><Properties><Etag>0x1</Etag><Content-Length>"
            f"{path.stat().st_size}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for path in sorted((folder / "c" / prefix).iterdir())
        )
        return f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>".encode()

    def answer(connection: socket.socket, status: int, size: int, headers: str) -> None:
        connection.sendall(
            f"HTTP/1.1 {status} OK\r\nContent-Length: {size}\r\nx-ms-blob-type: BlockBlob\r\n{headers}\r\n".encode()
        )

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                if not (more := connection.recv(1 << 16)):
                    return
                held += more
            head, _, held = held.partition(b"\r\n\r\n")
            parts = urlsplit(head.split(b" ", 2)[1].decode())
            query = parse_qs(parts.query)
            if query.get("comp") == ["list"]:
                body = listing(query["prefix"][0])
                answer(connection, 200, len(body), "Content-Type: application/xml\r\n")
                connection.sendall(body)
                continue
            with (folder / unquote(parts.path).lstrip("/")).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                found = re.search(rb"(?i)range: bytes=(\d+)-(\d+)", head)
                start, end = (int(found[1]), min(int(found[2]), size - 1)) if found else (0, size - 1)
                place = f'Content-Range: bytes {start}-{end}/{size}\r\nETag: "0x1"\r\n'
                answer(connection, 206, end - start + 1, place)
                while start <= end:
                    start += os.sendfile(connection.fileno(), file.fileno(), start, end - start + 1)

    def work() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
            print(f"http://127.0.0.1:{server.getsockname()[1]}/c?sig=x", flush=True)
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    return work


#: What the rows of a part are.
_ROWS = {
    "lines": "rows of `name: value` to Parquet",
    "compare": "rows of `name: value` compared",
    "short": "rows of `name: value` to Parquet",
    "frames": "rows of a DataFrame to Parquet",
}
#: What can be measured by itself.
PARTS: dict[str, Callable[[str, Path, argparse.Namespace], None]] = {
    **dict.fromkeys(_ROWS, _text_part),
    "big": _blob_part,
    "small": _blob_part,
}

_LINES, _FRAMES = ["name", "prediction"], ["name", "number", "score", "label", "time"]

#: The ways to do it; the first of each kind is what the others are compared with.
WAYS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "lines:pandas, all in memory": partial(_pandas, text="lines.txt", separator=":", names=_LINES),
    "lines:pandas, chunks": partial(_pandas_chunks, text="lines.txt", separator=":", names=_LINES),
    "lines:pyarrow, streaming": partial(_arrow_stream, text="lines.txt", separator=":", names=_LINES),
    "lines:collect": partial(_ours, text="lines.txt", columns=_LINES, checks="none"),
    "short:pandas, all in memory": partial(_pandas, text="lines.txt", separator=":", names=_LINES),
    "short:collect": partial(_ours, text="lines.txt", columns=_LINES, checks="none"),
    "compare:collect": partial(_ours, text="lines.txt", columns=_LINES, checks="none"),
    "compare:... duplicates counted": partial(_ours, text="lines.txt", columns=_LINES, checks="keys"),
    "compare:... and with as many names in Arrow arrays": partial(
        _ours, text="lines.txt", columns=_LINES, checks="arrow"
    ),
    "compare:... and with a list of as many strings": partial(
        _ours, text="lines.txt", columns=_LINES, checks="strings"
    ),
    "frames:pandas, all in memory": partial(_pandas, text="frames.txt", separator=" ", names=_FRAMES),
    "frames:pyarrow, streaming": partial(_arrow_stream, text="frames.txt", separator=" ", names=_FRAMES),
    "frames:collect": partial(_ours, text="frames.txt", columns=_FRAMES, checks="none"),
    "big:azureml's way (whole blob in memory)": partial(_whole_in_memory, prefix="big/"),
    "big:azure-storage-blob, 4 x 16 MB": partial(_storage_blob, prefix="big/"),
    "big:download": partial(_ours_download, prefix="big/"),
    "small:azureml's way (whole blob in memory)": partial(_whole_in_memory, prefix="small/"),
    "small:download": partial(_ours_download, prefix="small/"),
    "serve": _serve,
}


if __name__ == "__main__":
    main()
