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
