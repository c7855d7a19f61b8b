"""Models and artifacts, judged by the SDK."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
from pathlib import Path
from azureml.core import Model
from azureml.exceptions import WebserviceException

Path("one file.pkl").write_bytes(b"first")
first = Model.register(ws, "one file.pkl", "churn", tags={"area": "north", "kind": "tree"}, properties={"auc": "0.9"},
                       description="the first")
Path("folder/inner").mkdir(parents=True)
Path("folder/weights.bin").write_bytes(b"w" * 300_000)
Path("folder/inner/läufer 1.txt").write_text("umlaut")
second = Model.register(ws, "folder", "churn", tags={"area": "south"})
other = Model.register(ws, "one file.pkl", "demand")
report(
    ids=[first.id, second.id, other.id],
    version_type=type(first.version).__name__,
    created_by=first.created_by,
    everything=[model.id for model in Model.list(ws)],
    latest=[model.id for model in Model.list(ws, latest=True)],
    named=[model.id for model in Model.list(ws, name="churn")],
    tagged=[model.id for model in Model.list(ws, tags=[["area", "north"]])],
    any_tag=[model.id for model in Model.list(ws, tags=["area"])],
    properties=[model.id for model in Model.list(ws, properties=[["auc", "0.9"]])],
    keys=sorted(ws.models),
    by_name=Model(ws, "churn").id,
    by_version=Model(ws, "churn", version=1).description,
    by_id=Model(ws, id="churn:1").tags,
)

one = Model(ws, "churn", version=1).download(target_dir="d1")
many = Model(ws, "churn", version=2).download(target_dir="d2")
report(
    one=[one, Path(one).read_text()],
    many={str(path.relative_to("d2")): path.stat().st_size for path in sorted(Path("d2").rglob("*")) if path.is_file()},
    model_path=Path(Model.get_model_path("churn", version=1, _workspace=ws)).read_text(),
)

model = Model(ws, "churn", version=1)
model.add_tags({"stage": "live"})
model.remove_tags("kind")
model.add_properties({"rows": "10"})
model.update(description="changed")
changed = Model(ws, "churn", version=1)
report(changed=[changed.tags, changed.properties, changed.description])

def failure(action):
    try:
        action()
    except WebserviceException as error:
        return error.message

model = Model(ws, "churn", version=2)
model.delete()
report(
    after_delete=Model(ws, "churn").id,
    third=Model.register(ws, "one file.pkl", "churn").version,
    deleted_again=failure(model.delete),
    no_name=failure(lambda: Model(ws, "nothing")),
    no_version=failure(lambda: Model(ws, "churn", version=99)),
)

for number in range(5):
    Model.register(ws, "one file.pkl", f"page-{number}")
from azureml._restclient.models_client import ModelsClient
report(paged=[model.id for model in ModelsClient(ws.service_context).query(tags=None, count=2)])
"""


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_versions_count_per_name_and_the_newest_comes_first(said: dict[str, Any]) -> None:
    assert said["ids"] == ["churn:1", "churn:2", "demand:1"]
    assert said["version_type"] == "int"
    assert said["everything"] == ["demand:1", "churn:2", "churn:1"]
    assert said["latest"] == ["demand:1", "churn:2"]
    assert said["named"] == ["churn:2", "churn:1"]
    assert said["keys"] == ["churn", "demand"]
    assert said["by_name"] == "churn:2"
    assert said["by_version"] == "the first"
    assert said["by_id"] == {"area": "north", "kind": "tree"}


def test_filters_by_tags_and_properties(said: dict[str, Any]) -> None:
    assert said["tagged"] == ["churn:1"]
    assert said["any_tag"] == ["churn:2", "churn:1"]
    assert said["properties"] == ["churn:1"]


def test_what_was_uploaded_is_downloaded(said: dict[str, Any]) -> None:
    assert said["one"] == ["d1/one file.pkl", "first"]
    assert said["many"] == {"folder/inner/läufer 1.txt": 6, "folder/weights.bin": 300_000}
    assert said["model_path"] == "first"


def test_patches_are_kept(said: dict[str, Any]) -> None:
    tags, properties, description = said["changed"]
    assert tags == {"area": "north", "stage": "live"}
    assert properties == {"auc": "0.9", "rows": "10"}
    assert description == "changed"


def test_a_deleted_version_is_gone_and_its_number_is_not_used_again(said: dict[str, Any]) -> None:
    assert said["after_delete"] == "churn:1"
    assert said["third"] == 3
    for field in ("deleted_again", "no_name", "no_version"):
        assert "ModelNotFound" in said[field]


def test_all_pages_are_read(said: dict[str, Any]) -> None:
    pages = [f"page-{number}:1" for number in (4, 3, 2, 1, 0)]
    assert said["paged"] == [*pages, "churn:3", "demand:1", "churn:1"]


def test_an_artifact_that_exists_is_not_replaced(emulator: ServedEmulator) -> None:
    session = emulator.session()
    url = f"{emulator.url}/artifact/v2.0{emulator.scope}/artifacts"
    body = {"paths": [{"path": "outputs/a.txt"}]}
    made = session.post(f"{url}/batch/metadata/ExperimentRun/dcid.r1", json=body).json()
    address = made["artifactContentInformation"]["outputs/a.txt"]["contentUri"]
    stored = session.put(address, data=b"a", headers={"x-ms-blob-type": "BlockBlob", "Authorization": ""})
    assert stored.status_code == 201, stored.text

    again = session.post(f"{url}/batch/metadata/ExperimentRun/dcid.r1", json=body).json()
    assert again["artifacts"] == {}
    assert "already exists" in again["errors"]["outputs/a.txt"]["error"]["message"]
    listed = session.get(f"{url}/ExperimentRun/dcid.r1").json()
    assert [entry["path"] for entry in listed["value"]] == ["outputs/a.txt"]
    missing = session.get(f"{url}/contentinfo/ExperimentRun/dcid.r1/outputs/b.txt")
    assert missing.status_code == 404
