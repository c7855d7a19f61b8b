"""Datastores, judged by the SDK and by the native reader behind datasets."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
from pathlib import Path
from azureml.core import Dataset, Datastore

default = ws.get_default_datastore()
report(
    default=[default.name, type(default).__name__, default.container_name, default.account_name],
    names=sorted(ws.datastores),
    artifact=Datastore.get(ws, "workspaceartifactstore").container_name,
    workspace_id=ws._workspace_id,
)

for number in range(20):
    folder = Path("in") / f"part={number % 2}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02}.csv").write_text(f"a,b\\n{number},{number * number}\\n")
Path("in/big.bin").write_bytes(bytes(range(256)) * 40_000)
default.upload("in", "data/in", overwrite=True, show_progress=False)
default.upload_files(["in/big.bin"], target_path="data/files", overwrite=False, show_progress=False)
count = default.download("out", prefix="data/in", show_progress=False)
same = all((Path("out/data/in") / path.relative_to("in")).read_bytes() == path.read_bytes()
           for path in Path("in").rglob("*") if path.is_file())
report(downloaded=[count, same])

files = Dataset.File.from_files((default, "data/in/**/*.csv"), validate=False)
paths = sorted(files.to_path())
target = files.download("read", overwrite=True)
report(paths=[paths[0], len(paths)], read=sorted(Path(path).read_text() for path in target))

key = default.account_key
made = Datastore.register_azure_blob_container(
    ws, "mine", "my-container", default.account_name, account_key=key, create_if_not_exists=True)
made.upload_files(["in/part=0/00.csv"], show_progress=False)
report(made=[made.name, made.container_name, made.download("mine", show_progress=False)])

def failure(action):
    try:
        action()
    except Exception as error:
        return str(error)

register = Datastore.register_azure_blob_container
account = default.account_name
from azureml.data.datastore_client import _DatastoreClient
report(
    taken=failure(lambda: register(ws, "mine", "my-container", account, account_key=key)),
    overwritten=register(ws, "mine", "azureml", account, account_key=key, overwrite=True).container_name,
    wrong_key=failure(lambda: register(ws, "bad", "azureml", account, account_key="eA==")),
    no_container=failure(lambda: register(ws, "bad", "absent", account, account_key=key)),
    elsewhere=failure(lambda: register(ws, "bad", "azureml", "someoneelse", account_key=key)),
    file_share=failure(lambda: Datastore.register_azure_file_share(ws, "bad", "share", account, account_key=key)),
    missing=failure(lambda: Datastore.get(ws, "bad")),
)
made.set_as_default()
report(new_default=ws.get_default_datastore().name)
ws.set_default_datastore("workspaceartifactstore")
report(by_workspace=ws.get_default_datastore().name)
ws.set_default_datastore("mine")
made.unregister()
report(default_again=ws.get_default_datastore().name, unregistered=failure(lambda: Datastore.get(ws, "mine")))
"""


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_a_new_workspace_has_its_datastores(said: dict[str, Any], emulator: ServedEmulator) -> None:
    container = f"azureml-blobstore-{said['workspace_id']}"
    account = emulator.services.identity.account_name
    assert said["default"] == ["workspaceblobstore", "AzureBlobDatastore", container, account]
    assert said["names"] == ["workspaceartifactstore", "workspaceblobstore"]
    assert said["artifact"] == "azureml"


def test_what_goes_up_comes_down(said: dict[str, Any], emulator: ServedEmulator) -> None:
    assert said["downloaded"] == [21, True]
    stored = emulator.services.blobs.path(emulator.services.datastores.container("workspaceblobstore"), "data/files")
    assert (stored / "big.bin").stat().st_size == 256 * 40_000


def test_the_native_reader_lists_and_reads(said: dict[str, Any]) -> None:
    assert said["paths"] == ["/part=0/00.csv", 20]
    assert said["read"] == sorted(f"a,b\n{number},{number * number}\n" for number in range(20))


def test_a_container_of_the_account_can_be_registered(said: dict[str, Any]) -> None:
    assert said["made"] == ["mine", "my-container", 1]
    assert "Another datastore with the same name already exists" in said["taken"]
    assert said["overwritten"] == "azureml"


def test_what_cannot_work_is_refused(said: dict[str, Any]) -> None:
    assert "key" in said["wrong_key"]
    assert "'absent' does not exist" in said["no_container"]
    assert "one storage account" in said["elsewhere"]
    assert "AzureBlob only" in said["file_share"]
    assert "Could not find datastore: bad" in said["missing"]


def test_the_default_can_be_changed_and_falls_back(said: dict[str, Any]) -> None:
    assert said["new_default"] == "mine"
    assert said["by_workspace"] == "workspaceartifactstore"
    assert said["default_again"] == "workspaceblobstore"
    assert said["unregistered"] is not None


def test_lists_are_paged_and_can_hide_secrets(emulator: ServedEmulator) -> None:
    session = emulator.session()
    url = f"{emulator.url}/datastore/v1.0{emulator.scope}/datastores"
    first = session.get(url, params={"count": 1, "includeSecret": "false"}).json()
    second = session.get(url, params={"count": 1, "continuationToken": first["continuationToken"]}).json()
    assert [first["value"][0]["name"], second["value"][0]["name"]] == ["workspaceblobstore", "workspaceartifactstore"]
    assert second["continuationToken"] is None
    assert first["value"][0]["azureStorageSection"]["accountKey"] is None
    assert emulator.services.identity.account_key not in str(first)
    assert second["value"][0]["azureStorageSection"]["accountKey"] == emulator.services.identity.account_key
