"""The pages, at the addresses that the SDK prints, in a plain client and in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import expect

import chromium
from airflow_provider_amlbatch.testing import ServedEmulator

Sdk = Callable[[str], dict[str, Any]]

#: What a careless page would execute.
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

SCENE = (
    f"EVIL = {EVIL!r}"
    + """
from azureml.pipeline.core.schedule import TimeZone
write("src/first.py", f'''
import os
with open(os.path.join(os.environ["AZUREML_DATAREFERENCE_first"], "a.csv"), "w") as file:
    file.write("x,y\\\\n1," + {EVIL!r})
''')
write("src/score.py", f'''
def run(mini_batch):
    if any(path.endswith("7.csv") for path in mini_batch):
        raise ValueError("unlucky " + {EVIL!r})
    return mini_batch
''')
data = make_files("studio-rows", 40).register(ws, "studio-rows", create_new_version=True)
write("model.txt", "m")
Model.register(ws, "model.txt", "studio-model", tags={"note": EVIL}, description=EVIL)
cluster = make_cluster()
first = PipelineData("first", datastore=store)
steps = [
    PythonScriptStep("first.py", "make", [first], cluster, source_directory="src", outputs=[first], allow_reuse=False),
    parallel("score", "src", data, error_threshold=3),
]
run = submit(steps, "studio", tags={"note": EVIL})
run.wait_for_completion(show_output=False, raise_on_error=False)
(score,) = run.find_step_run("score")
(make,) = run.find_step_run("make")
published = run.publish_pipeline("studio-pipeline", EVIL, "1")
PipelineEndpoint.publish(ws, name="studio-endpoint", pipeline=published, description=EVIL)
recurrence = ScheduleRecurrence(
    "Day", 1, hours=[6], minutes=[30], start_time="2031-03-29T00:00:00", time_zone=TimeZone.WEuropeStandardTime
)
schedule = Schedule.create(ws, "studio-schedule", published.id, "studio", recurrence)
interactive = Experiment(ws, "studio").start_logging(display_name=EVIL)
interactive.complete()
report(
    run=run.id, score=score.id, make=make.id, pipeline=published.id, schedule=schedule.id, interactive=interactive.id,
    status=run.get_status(),
    links=[linked.get_portal_url() for linked in (run, score, published, Experiment(ws, "studio"))],
)
"""
)


@pytest.fixture(scope="module")
def scene(pipeline_sdk: Sdk) -> dict[str, Any]:
    made = pipeline_sdk(SCENE)
    assert made["status"] == "Failed"
    return made


def get(emulator: ServedEmulator, address: str, **headers: str) -> requests.Response:
    """Fetch a page as a browser of this machine does: without a token."""
    return requests.get(
        urljoin(emulator.url, address), headers=headers, verify=emulator.ca_bundle, timeout=30, allow_redirects=True
    )


class Links(HTMLParser):
    """The addresses on a page, and the tags and attributes that could execute something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.suspicious: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found |= {str(given[name]) for name in ("href", "src") if given.get(name)}
        if (tag == "script" and given.get("src") != "/studio/static/live.js") or any(
            name.startswith("on") or name == "style" for name in given
        ):
            self.suspicious.append(f"{tag} {given}")


def test_the_links_that_the_sdk_prints_open_pages(emulator: ServedEmulator, scene: dict[str, Any]) -> None:
    for link in scene["links"]:
        assert link.startswith(f"{emulator.url}/studio"), link
        assert get(emulator, link).status_code == 200, link
    assert "score" in get(emulator, scene["links"][0]).text


def test_every_link_of_every_page_leads_somewhere_and_nothing_is_executed(
    emulator: ServedEmulator, scene: dict[str, Any]
) -> None:
    waiting, seen = ["/studio"], set()
    while waiting:
        address = waiting.pop()
        answer = get(emulator, address)
        assert answer.status_code == 200, (address, answer.text[:300])
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        if "text/html" not in answer.headers["Content-Type"]:
            continue
        page = Links()
        page.feed(answer.text)
        assert page.suspicious == [], address
        assert EVIL not in answer.text
        for link in sorted(page.found):
            path = urlsplit(urljoin(answer.url, link))
            assert f"{path.scheme}://{path.netloc}" == emulator.url, f"{address} leads away, to {link}"
            target = path.path + (f"?{path.query}" if path.query else "")
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    kinds = {"/".join(address.split("/")[:3]) for address in seen}
    assert kinds >= {"/studio/runs", "/studio/pipelines", "/studio/endpoints", "/studio/schedules", "/studio/models"}
    assert f"/studio/runs/{scene['make']}/outputs/first/a.csv" in seen
    assert f"/studio/runs/{scene['score']}/files/logs/job_result.txt" in seen
    assert f"/studio/runs/{scene['interactive']}" in seen


def test_the_page_of_a_failed_run_says_why(emulator: ServedEmulator, scene: dict[str, Any]) -> None:
    page = get(emulator, f"/studio/runs/{scene['run']}").text
    assert "exceed error_threshold=3" in page
    assert "Traceback (most recent call last)" in page
    assert "ValueError: unlucky &lt;script&gt;" in page
    assert re.search(r'<g class="step Failed".*?score: Failed, \d+ of 8', page, re.DOTALL)
    assert re.search(r'<rect class="bad"', page)
    step = get(emulator, f"/studio/runs/{scene['score']}").text
    assert re.search(r"<dt>error_threshold</dt><dd>3</dd>", step)
    assert "AZUREML_RUN_TOKEN" not in page + step


def test_a_table_is_shown_as_a_table_and_can_be_downloaded(emulator: ServedEmulator, scene: dict[str, Any]) -> None:
    address = f"/studio/runs/{scene['make']}/outputs/first/a.csv"
    assert "<th>x</th><th>y</th>" in get(emulator, address).text
    whole = get(emulator, address + "?download=1")
    assert whole.text == f"x,y\n1,{EVIL}"
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert whole.headers["X-Content-Type-Options"] == "nosniff"


def test_a_schedule_shows_ten_firings_in_its_own_time_and_in_utc(
    emulator: ServedEmulator, scene: dict[str, Any]
) -> None:
    page = get(emulator, f"/studio/schedules/{scene['schedule']}").text
    rows = re.findall(r'<td class="time">(\w{3} [\d-]+ [\d:]+ [+-]\d+)</td><td class="time">([\d-]+ [\d:]+)</td>', page)
    assert len(rows) == 10
    # Summer time begins on 2031-03-30: the wall clock stays, UTC moves.
    assert rows[0] == ("Sat 2031-03-29 06:30 +0100", "2031-03-29 05:30")
    assert rows[1] == ("Sun 2031-03-30 06:30 +0200", "2031-03-30 04:30")


@pytest.mark.parametrize(
    "address",
    [
        "/studio/runs/nothing",
        "/studio/runs?status=Odd",
        "/studio/runs?token=odd",
        "/studio/runs?experiment=no-such",
        "/studio/pipelines/nothing",
        "/studio/schedules/nothing",
        "/studio/models/nothing:1",
        "/studio/static/..%2fpages.py",
        "/studio/runs/{run}/files/..%2f..%2f..%2femulator.json",
        "/studio/runs/{make}/outputs/first/..%2f..%2f..%2f..%2f..%2f..%2femulator.json",
        "/studio/runs/{make}/outputs/second/a.csv",
    ],
)
def test_what_is_not_there_is_refused_with_a_page(
    emulator: ServedEmulator, scene: dict[str, Any], address: str
) -> None:
    answer = get(emulator, address.format_map(scene))
    assert answer.status_code in (400, 404)
    assert "signing_key" not in answer.text
    assert "default-src" in answer.headers["Content-Security-Policy"]


def test_pages_are_for_this_machine_and_for_reading(emulator: ServedEmulator, scene: dict[str, Any]) -> None:
    assert get(emulator, "/studio", Host="elsewhere.example").status_code == 403
    assert requests.post(f"{emulator.url}/studio/runs", verify=emulator.ca_bundle, timeout=30).status_code == 400


@pytest.mark.browser
@pytest.mark.skipif(chromium.executable() is None, reason="no chromium on this machine")
def test_a_page_follows_its_run_to_the_end(emulator: ServedEmulator, pipeline_sdk: Sdk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = (
        "import os, time\n"
        "def run(mini_batch):\n"
        f"    while mini_batch[0].endswith('7.csv') and not os.path.exists({str(gate)!r}):\n"
        "        time.sleep(0.05)\n"
        "    return mini_batch\n"
    )
    started = pipeline_sdk(f"""
        write("src/score.py", {script!r})
        run = submit(parallel("gated", "src", make_files("gated-rows", 8), mini_batch_size="1"), "studio-live")
        while run.get_status() != "Running":
            time.sleep(0.1)
        report(run=run.id)
    """)
    with chromium.browser() as browser:
        page = chromium.open_page(browser)
        page.goto(f"{emulator.url}/studio/runs/{started['run']}")
        status = page.locator("h1 + .pill")
        expect(status).to_have_text("Running")
        expect(page.get_by_text("gated: Running, 7 of 8")).to_be_attached()
        gate.touch()
        expect(status).to_have_text("Completed")
        expect(page.get_by_text("gated: Completed, 8 of 8")).to_be_attached()
        expect(page.locator("#live")).to_have_attribute("data-refresh", "0")
