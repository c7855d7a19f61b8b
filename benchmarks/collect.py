"""Compare collecting with the usual ways, each in a process of its own, in one run: ratios count, not seconds.

Run ``python benchmarks/collect.py [--rows N] [--megabytes N] [--blobs N] [--repeat N]``. The text to Parquet part takes
``--rows`` rows; the download part serves one blob of ``--megabytes`` and ``--blobs`` blobs of 100 KB from this machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 500_000
_SMALL = 100_000
#: Files lie here where there is such a folder, so that a slow disk does not hide the rest.
_IN_MEMORY = Path("/dev/shm")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--blobs", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(_measured(arguments.run, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as name:
        folder = Path(name)
        _texts(folder, arguments.rows)
        for kind, size in (("lines", "lines.txt"), ("frames", "frames.txt")):
            megabytes = (folder / size).stat().st_size / 1e6
            _table(f"{kind}: {arguments.rows:,} rows, {megabytes:,.0f} MB of text to Parquet", kind, folder, arguments)
        _blobs(folder, arguments)


def _table(title: str, kind: str, folder: Path, arguments: argparse.Namespace) -> None:
    ways = [name for name in WAYS if name.startswith(f"{kind}:")]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.repeat):  # interleaved, so that a busy machine is busy for all
        for way in ways:
            command = [sys.executable, __file__, "--run", way, "--folder", str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[way].append(json.loads(done.stdout.splitlines()[-1]))
    base = median(result["seconds"] for result in results[ways[0]])
    print(f"\n{title}\n  {'':44}{'s':>8}{'ratio':>8}{'CPU s':>8}{'+MB':>7}")
    for way in ways:
        middle = {key: median(result[key] for result in results[way]) for key in ("seconds", "cpu", "memory")}
        label = way.partition(":")[2]
        ratio = middle["seconds"] / base
        print(f"  {label:44}{middle['seconds']:8.2f}{ratio:8.2f}{middle['cpu']:8.2f}{middle['memory']:7.0f}")


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


def _texts(folder: Path, rows: int) -> None:
    random.seed(1)
    with (folder / "lines.txt").open("w") as lines, (folder / "frames.txt").open("w") as frames:
        for start in range(0, rows, _CHUNK):
            numbers = range(start, min(rows, start + _CHUNK))
            values = [random.random() for _ in numbers]
            lines.write("".join(f"f{n:07d}.csv: {v:.6f}\n" for n, v in zip(numbers, values, strict=True)))
            frames.write(
                "".join(
                    f'f{n:07d}.csv {n} {v!r} class_{n % 10} "2026-01-02 03:04:{n % 60:02d}"\n'
                    for n, v in zip(numbers, values, strict=True)
                )
            )
    (folder / "inputs.txt").write_text("".join(f"in/f{n:07d}.csv\n" for n in range(rows)))


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


def _blobs(folder: Path, arguments: argparse.Namespace) -> None:
    stored = folder / "c"
    (stored / "big").mkdir(parents=True)
    (stored / "small").mkdir()
    piece = random.randbytes(1 << 20)
    with (stored / "big" / "result.txt").open("wb") as file:
        for _ in range(arguments.megabytes):
            file.write(piece)
    for number in range(arguments.blobs):
        (stored / "small" / f"{number:05d}.txt").write_bytes(piece[:_SMALL])
    command = [sys.executable, __file__, "--run", "serve", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            (folder / "url").write_text(server.stdout.readline().strip())
            _table(f"one blob of {arguments.megabytes} MB", "big", folder, arguments)
            _table(f"{arguments.blobs} blobs of {_SMALL // 1000} KB", "small", folder, arguments)
        finally:
            server.terminate()


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
    """Serve the folder ``c`` as a blob container, with as little work as can be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            if query.get("comp") == ["list"]:
                prefix = query["prefix"][0]
                entries = "".join(
                    f"<Blob><Name>{prefix}{path.name}</Name><Properties><Etag>0x1</Etag><Content-Length>"
                    f"{path.stat().st_size}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
                    for path in sorted((folder / "c" / prefix).iterdir())
                )
                body = f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>".encode()
                self._head(200, len(body), {"Content-Type": "application/xml"})
                self.wfile.write(body)
                return
            path = folder / unquote(parts.path).lstrip("/")
            size = path.stat().st_size
            asked = self.headers.get("x-ms-range") or self.headers.get("Range") or f"bytes=0-{size - 1}"
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
            assert found
            start, end = int(found[1]), min(int(found[2]), size - 1)
            self._head(206, end - start + 1, {"Content-Range": f"bytes {start}-{end}/{size}", "ETag": '"0x1"'})
            self.wfile.flush()
            with path.open("rb") as file:
                while start <= end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start + 1)

        def _head(self, status: int, size: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(size), "x-ms-blob-type": "BlockBlob"}.items():
                self.send_header(key, value)
            self.end_headers()

    def work() -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}/c?sig=x", flush=True)
        threading.Thread(target=server.serve_forever).start()
        threading.Event().wait()

    return work


_LINES, _FRAMES = ["name", "prediction"], ["name", "number", "score", "label", "time"]

#: The ways to do it; the first of each kind is what the others are compared with.
WAYS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "lines:pandas, all in memory": partial(_pandas, text="lines.txt", separator=":", names=_LINES),
    "lines:pandas, chunks": partial(_pandas_chunks, text="lines.txt", separator=":", names=_LINES),
    "lines:pyarrow, streaming": partial(_arrow_stream, text="lines.txt", separator=":", names=_LINES),
    "lines:collect": partial(_ours, text="lines.txt", columns=_LINES, checks="none"),
    "lines:collect, duplicates counted": partial(_ours, text="lines.txt", columns=_LINES, checks="keys"),
    "lines:collect, compared with an Arrow listing": partial(_ours, text="lines.txt", columns=_LINES, checks="arrow"),
    "lines:collect, compared with a list of str": partial(_ours, text="lines.txt", columns=_LINES, checks="strings"),
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
