"""Compute, judged by the SDK."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.errors import NotFound
from airflow_provider_amlbatch.testing import ServedEmulator

SCRIPT = """
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException

def failure(action):
    try:
        action()
    except ComputeTargetException as error:
        return error.message

missing = failure(lambda: ComputeTarget(ws, "aml-cluster"))
config = AmlCompute.provisioning_configuration(vm_size="STANDARD_DS3_V2", min_nodes=1, max_nodes=3, tags={"a": "b"})
made = ComputeTarget.create(ws, "aml-cluster", config)
made.wait_for_completion(show_output=True)
found = ComputeTarget(ws, "aml-cluster")
report(
    missing=missing,
    found=[found.name, found.type, found.vm_size, found.provisioning_state, found.tags],
    scale=[found.scale_settings.minimum_node_count, found.scale_settings.maximum_node_count],
    status=[found.get_status().allocation_state, found.get_status().current_node_count],
    listed=[target.name for target in ComputeTarget.list(ws)],
    known=list(ws.compute_targets),
)
found.update(max_nodes=7)
report(updated=ComputeTarget(ws, "AML-Cluster").scale_settings.maximum_node_count)
other = ComputeTarget.create(ws, "other", AmlCompute.provisioning_configuration(max_nodes=1))
other.delete()
report(
    after_delete=failure(lambda: ComputeTarget(ws, "other")),
    bad_name=failure(lambda: ComputeTarget.create(ws, "not_a_name", config)),
)
"""


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_a_cluster_is_made_and_found(said: dict[str, Any]) -> None:
    assert "ComputeTargetNotFound" in said["missing"]
    assert said["found"] == ["aml-cluster", "AmlCompute", "STANDARD_DS3_V2", "Succeeded", {"a": "b"}]
    assert said["scale"] == [1, 3]
    assert said["status"] == ["Steady", 1]
    assert said["listed"] == said["known"] == ["aml-cluster"]


def test_a_cluster_is_changed_and_removed(said: dict[str, Any], emulator: ServedEmulator) -> None:
    assert said["updated"] == 7
    assert "ComputeTargetNotFound" in said["after_delete"]
    capacity = emulator.services.compute.capacity("aml-cluster")
    assert (capacity.vm_size, capacity.max_nodes) == ("STANDARD_DS3_V2", 7)
    with pytest.raises(NotFound):
        emulator.services.compute.capacity("other")


def test_what_cannot_be_is_refused(said: dict[str, Any], emulator: ServedEmulator) -> None:
    assert "InvalidComputeName" in said["bad_name"]
    session = emulator.session()
    url = f"{emulator.url}{emulator.scope}/computes/other"
    kubernetes = session.put(url, json={"properties": {"computeType": "AKS"}})
    assert (kubernetes.status_code, kubernetes.json()["error"]["code"]) == (400, "EmulatorUnsupported")
    scale = {"scaleSettings": {"minNodeCount": 5, "maxNodeCount": 2}}
    upside_down = session.put(url, json={"properties": {"computeType": "AmlCompute", "properties": scale}})
    assert (upside_down.status_code, upside_down.json()["error"]["code"]) == (400, "InvalidScaleSettings")
