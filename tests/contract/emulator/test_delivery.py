"""The control plane says how unreliable the steps of runs are."""

from __future__ import annotations

from typing import Any

import requests
from click.testing import CliRunner

from airflow_provider_amlbatch.cli import main
from airflow_provider_amlbatch.emulator.delivery import Delivery
from airflow_provider_amlbatch.testing import ServedEmulator


def put(emulator: ServedEmulator, body: Any) -> requests.Response:
    url = f"{emulator.url}/_emulator/delivery"
    return requests.put(url, json=body, verify=emulator.ca_bundle, timeout=30)


def test_it_can_be_said_and_unsaid(emulator: ServedEmulator) -> None:
    try:
        assert put(emulator, {"atLeastOnce": True, "loseEvery": 7}).json() == {"atLeastOnce": True, "loseEvery": 7}
        assert emulator.services.delivery == Delivery(at_least_once=True, lose_every=7)
        assert put(emulator, {"lose": 7}).status_code == 400
        assert put(emulator, {"loseEvery": -1}).status_code == 400
        assert emulator.services.delivery.lose_every == 7, "what is refused changes nothing"
        assert put(emulator, {}).json() == {"atLeastOnce": False, "loseEvery": 0}
    finally:
        emulator.services.delivery = Delivery()


def test_the_command_needs_an_emulator_that_runs(tmp_path: Any) -> None:
    done = CliRunner().invoke(main, ["emulator", "delivery", "--at-least-once", "--state", str(tmp_path)])
    assert done.exit_code == 1
    assert str(tmp_path) in done.output


REUSE = """
dataset = make_files("delivery-data", 10)
write("src/score.py", DOUBLE)
step = parallel("delivered", "src", dataset, mini_batch_size="1", allow_reuse=True)
base = os.environ["ARM_CLOUD_METADATA_URL"].partition("/metadata")[0]

def go(name, at_least_once):
    requests.put(base + "/_emulator/delivery", json={"atLeastOnce": at_least_once}).raise_for_status()
    run = submit(step, "delivery")
    run.wait_for_completion(show_output=False)
    (step_run,) = run.get_children()
    return {"lines": lines(step_run, name), "reused": step_run.properties.get("azureml.reusedrunid"), "id": step_run.id}

try:
    report(first=go("first", False), doubled=go("doubled", True), last=go("last", False))
finally:
    requests.put(base + "/_emulator/delivery", json={})
"""


def test_rows_that_came_twice_are_not_reused_where_they_should_come_once(pipeline_sdk: Any) -> None:
    told = pipeline_sdk(REUSE)
    expected = [f"{number:03}.csv: {2 * number}" for number in range(10)]
    assert told["first"]["lines"] == expected
    assert told["doubled"]["reused"] is None
    assert len(told["doubled"]["lines"]) > 10
    assert set(told["doubled"]["lines"]) == set(expected)
    assert told["last"]["reused"] == told["first"]["id"]
    assert told["last"]["lines"] == expected
