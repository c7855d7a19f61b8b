"""Blobs over HTTP: addressed and listed by azure-storage-blob's ContainerClient, read in ranges, verified."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import ContainerClient, ContainerSasPermissions
from blob_server import Container, serve

from airflow_provider_amlbatch.results.blobs import BlobReader
from airflow_provider_amlbatch.results.collect import collect
from airflow_provider_amlbatch.results.download import RANGE, BlobSource, blob_sources, download
from airflow_provider_amlbatch.results.errors import BlobChanged, BlobCorrupt, BlobMissing, DownloadError, UnsafeName


@pytest.fixture
def container() -> Iterator[Container]:
    with serve(Container()) as served:
        yield served


@pytest.fixture
def reader(container: Container) -> Iterator[BlobReader]:
    with BlobReader(container.client(), pause=lambda seconds: None) as made:
        yield made


def test_a_large_blob_comes_in_ranges_and_survives_broken_connections(
    container: Container, reader: BlobReader, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(3 * RANGE + 12_345)
    container.blobs["azureml/step/out/big.txt"] = content
    container.cut["azureml/step/out/big.txt"] = [5_000_000, 0, 1]
    container.refuse["azureml/step/out/big.txt"] = [503]
    seen: list[tuple[int, int]] = []
    done = download(
        reader,
        reader.find("azureml/step/"),
        tmp_path,
        below="azureml/step/",
        progress=lambda arrived, expected: seen.append((arrived, expected)),
    )
    assert done.files == {"azureml/step/out/big.txt": tmp_path / "out" / "big.txt"}
    assert (tmp_path / "out" / "big.txt").read_bytes() == content
    assert container.served == len(content), "nothing is fetched twice: a broken range goes on where it broke"
    assert seen[-1] == (len(content), len(content))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["big.txt"]


def test_many_small_blobs_with_odd_names(container: Container, reader: BlobReader, tmp_path: Path) -> None:
    container.blobs = {f"out/part {number % 7}/ü#{number}?&%.txt": b"x" * number for number in range(60)}
    done = download(reader, reader.find("out/"), tmp_path, below="out/")
    assert {name: path.read_bytes() for name, path in done.files.items()} == container.blobs
    assert done.size == sum(range(60))


@pytest.mark.parametrize("name", ["../../etc/x", "a/../../x", "a\\..\\..\\x", "C:/x", "a/./b", "a\x01b"])
def test_names_that_lead_out_of_the_folder_are_refused_before_anything_is_fetched(
    container: Container, reader: BlobReader, tmp_path: Path, name: str
) -> None:
    container.blobs = {"fine.txt": b"1"}
    fine = reader.look("fine.txt")
    with pytest.raises(UnsafeName, match="safe path"):
        download(reader, [fine, replace(fine, name=name)], tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_link_inside_the_folder_does_not_lead_out_of_it(
    container: Container, reader: BlobReader, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "link").symlink_to(tmp_path / "outside")
    container.blobs = {"link/x": b"1"}
    with pytest.raises(UnsafeName, match="link"):
        download(reader, reader.find(), tmp_path / "target")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("size", [1000, 2 * RANGE])
def test_what_does_not_match_its_md5_is_not_kept(
    container: Container, reader: BlobReader, tmp_path: Path, size: int
) -> None:
    container.blobs["x"] = b"a" * size
    container.md5["x"] = b"0" * 16
    with pytest.raises(BlobCorrupt, match="MD5"):
        download(reader, reader.find(), tmp_path)
    with pytest.raises(BlobCorrupt, match="MD5"), BlobSource(reader, reader.look("x")).open() as stream:
        stream.read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [0, 2])
def test_a_blob_that_changes_while_it_is_read_is_an_error(
    container: Container, reader: BlobReader, tmp_path: Path, after: int
) -> None:
    container.blobs["x"] = b"a" * (3 * RANGE)
    container.changes["x"] = (after, b"b" * (3 * RANGE))
    with pytest.raises(BlobChanged, match="x changed while it was read"):
        download(reader, reader.find(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_blob_that_cannot_be_read_ends_in_one_error_without_the_signature(
    container: Container, reader: BlobReader, tmp_path: Path
) -> None:
    container.blobs["x"] = b"a"
    container.refuse["x"] = [503] * 50
    with pytest.raises(DownloadError, match="x could not be read in 6 tries: 503 ServerBusy"):
        download(reader, reader.find(), tmp_path)
    with pytest.raises(BlobMissing, match=r"nothing\.txt") as error:
        reader.look("nothing.txt")
    assert "secret" not in str(error.value)


def test_a_blob_is_parsed_while_it_arrives(container: Container, reader: BlobReader, tmp_path: Path) -> None:
    rows = 1_500_000
    text = "".join(f"f{number:07d}.csv: {number / 3}\n" for number in range(rows)).encode()
    container.blobs["azureml/1/out/parallel_run_step.txt"] = text
    container.cut["azureml/1/out/parallel_run_step.txt"] = [200_000, 10, 3_000_000]
    (source,) = blob_sources(reader, "azureml/1/out", "*.txt")
    collected = collect(source, tmp_path / "out.parquet")
    frame = pd.read_parquet(collected.path)
    assert collected.bytes_read == len(text)
    assert frame["name"].tolist() == [f"f{number:07d}.csv" for number in range(rows)]
    assert frame["prediction"].tolist() == [number / 3 for number in range(rows)]


def test_parquet_blobs_are_found_by_glob_and_read_in_place(
    container: Container, reader: BlobReader, tmp_path: Path
) -> None:
    for number in range(3):
        path = tmp_path / "part.parquet"
        pd.DataFrame({"x": [number, number + 10]}).to_parquet(path)
        container.blobs[f"out/sub{number}/part.parquet"] = path.read_bytes()
    container.blobs["out/log.txt"] = b"nothing to see"
    collected = collect(blob_sources(reader, "out", "*.parquet"), tmp_path / "all.csv")
    assert pd.read_csv(collected.path)["x"].tolist() == [0, 10, 1, 11, 2, 12]


class Token:
    """A token credential that counts."""

    def __init__(self) -> None:
        self.asked = 0

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.asked += 1
        return AccessToken("bearer-token", 4102444800)


@pytest.mark.parametrize("kind", ["key", "token"])
def test_account_keys_and_tokens_sign_requests_too(kind: str) -> None:
    key = "a2V5LW9mLXRoZS1hY2NvdW50LWZvci10aGUtdGVzdA=="
    token = Token()
    credential = token if kind == "token" else {"account_name": "account", "account_key": key}
    client = ContainerClient("https://account.blob.core.windows.net", "c", credential=credential)  # type: ignore[arg-type]
    with BlobReader(client) as made:
        headers, query = made._signed()
        assert made._signed() == (headers, query), "signed once, not at each request"
    if kind == "token":
        assert headers == {"Authorization": "Bearer bearer-token"}
        assert (query, token.asked) == ("", 1)
    else:
        assert headers == {}
        assert "sr=c" in query
        assert f"sp={ContainerSasPermissions(read=True)}" in query
        assert key not in query
