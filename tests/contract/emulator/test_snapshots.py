"""Snapshots of source folders, judged by the SDK's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
import shutil
import zipfile
from pathlib import Path
from azureml._restclient.snapshots_client import SnapshotsClient

client = SnapshotsClient(ws.service_context)
source = Path("source")
(source / "lib" / "deep").mkdir(parents=True)
(source / "score.py").write_text("one")
(source / "lib" / "a.py").write_text("a")
(source / "lib" / "deep" / "b 1.py").write_text("b")
(source / ".amlignore").write_text("*.tmp\\n")
(source / "x.tmp").write_text("ignored")
first = client.create_snapshot("source")
same = client.create_snapshot("source")
(source / "score.py").write_text("two")
shutil.rmtree(source / "lib" / "deep")
(source / "new.py").write_text("new")
second = client.create_snapshot("source")
zipped = client.restore_snapshot(second, ".")
report(first=first, same=same, second=second,
       zipped={name: zipfile.ZipFile(zipped).read(name).decode() for name in zipfile.ZipFile(zipped).namelist()
               if not name.endswith("/")})
"""


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_a_snapshot_holds_the_folder(said: dict[str, Any], emulator: ServedEmulator) -> None:
    assert said["same"] == said["first"]
    assert content(emulator.services.snapshots.unpack(said["first"])) == {
        "score.py": "one",
        "lib/a.py": "a",
        "lib/deep/b 1.py": "b",
        ".amlignore": "*.tmp\n",
    }


def test_a_second_snapshot_is_built_on_the_first(said: dict[str, Any], emulator: ServedEmulator) -> None:
    expected = {"score.py": "two", "lib/a.py": "a", "new.py": "new", ".amlignore": "*.tmp\n"}
    assert content(emulator.services.snapshots.unpack(said["second"])) == expected
    assert said["zipped"] == expected
    assert content(emulator.services.snapshots.unpack(said["first"]))["score.py"] == "one"


def test_uploads_are_tidied_away(said: dict[str, Any], emulator: ServedEmulator) -> None:
    names = [blob.name for blob in emulator.services.blobs.list_blobs("snapshots")]
    assert names == [f"zips/{said['second']}.zip"]


def node(name: str, digest: str | None = None, **children: Any) -> dict[str, Any]:
    return {"name": name, "type": "File" if digest else "Directory", "hash": digest, "children": children}


def test_a_snapshot_that_lacks_a_file_or_holds_another_is_refused(emulator: ServedEmulator) -> None:
    session = emulator.session()
    url = f"{emulator.url}/content/v2.0{emulator.scope}/snapshots"
    snapshot = "11111111-2222-3333-4444-555555555555"
    files = session.post(f"{url}/getblob", json={"FileNames": ["a.py"]}).json()["fileNodes"]
    tree = node("", **{"a.py": node("a.py", "0" * 128)})
    revision = {"FullName": "a.py", "BlobUri": files[0]["blobUri"]}
    body = {"ParentSnapshotId": None, "DirTreeNode": tree, "FileRevisionList": {"FileNodes": [revision]}}

    absent = session.post(f"{url}/{snapshot}", json=body)
    assert absent.status_code == 400
    assert "was not uploaded" in absent.json()["error"]["message"]
    headers = {"x-ms-blob-type": "BlockBlob", "Authorization": ""}
    assert session.put(files[0]["blobUri"], data=b"x", headers=headers).status_code == 201
    other = session.post(f"{url}/{snapshot}", json=body)
    assert other.status_code == 400
    assert "hash" in other.json()["error"]["message"]
    with pytest.raises(NotFound):
        emulator.services.snapshots.unpack(snapshot)


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../evil", ""])
def test_paths_cannot_leave_the_folder(emulator: ServedEmulator, path: str) -> None:
    session = emulator.session()
    url = f"{emulator.url}/content/v2.0{emulator.scope}/snapshots"
    assert session.post(f"{url}/getblob", json={"FileNames": [path]}).status_code == 400
    tree = node("", **{path: node(path, "0" * 128)})
    body = {"DirTreeNode": tree, "FileRevisionList": {"FileNodes": []}}
    assert session.post(f"{url}/11111111-2222-3333-4444-666666666666", json=body).status_code == 400
