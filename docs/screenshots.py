"""Make the pictures in ``docs/images``: of the emulator, filled by ``scene.py``, and of Airflow as ``make up`` has it.

Run ``python docs/screenshots.py`` after a change of what they show, or with the names of the pictures to make; all
together take three minutes.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk, serving

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from up import Up

import chromium
import local_airflow
from airflow_ui import AirflowUI

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"


def main(wanted: list[str]) -> None:
    """Make all pictures, or those whose names are given."""
    if chromium.executable() is None:
        sys.exit("The pictures need Debian's chromium.")
    IMAGES.mkdir(exist_ok=True)
    with chromium.browser() as browser:
        for make in (emulator_pages, airflow_pages):
            make(browser, lambda name: not wanted or name in wanted)


Wanted = Callable[[str], bool]


# --- the emulator -----------------------------------------------------------------------------------------------


def emulator_pages(browser: Browser, wanted: Wanted) -> None:
    """Photograph the emulator's pages."""
    names = ("run", "workspace", "step", "failed", "schedule", "phone")
    if not any(map(wanted, names)):
        return
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder, serving(Path(folder) / "state") as emulator:
        script = f"import sys\nsys.path.insert(0, {str(DOCS)!r})\nimport scene, pathlib\nscene.main(pathlib.Path.cwd())"
        done = run_sdk(script, emulator.environment)
        failed, going_on, published = next(
            line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PAGES")
        )
        step = next(run for run in emulator.services.studio.runs.children(going_on) if run.name == "score")
        while emulator.services.history.get(step.run_id).run_status.is_active and _done(emulator, step.run_id) < 60:
            time.sleep(0.5)
        schedule = emulator.services.studio.schedules()[0].schedule.id

        def photograph(name: str, path: str, height: int, *, width: int = 1280, dark: bool = False) -> None:
            if wanted(name):
                page = chromium.open_page(browser, width=width, height=height, dark=dark)
                page.goto(f"{emulator.url}/studio/{path}".rstrip("/"))
                save(page, name)

        photograph("run", f"runs/{going_on}", 1100)
        photograph("workspace", "", 640, dark=True)
        photograph("step", f"runs/{step.run_id}", 1400)
        photograph("failed", f"runs/{failed}", 900)
        photograph("schedule", f"schedules/{schedule}", 680)
        photograph("phone", f"pipelines/{published}", 844, width=390, dark=True)


def _done(emulator: ServedEmulator, run_id: str) -> int:
    progress = emulator.services.history.progress(run_id)
    return 0 if progress is None else progress.processed_mini_batches


# --- Airflow ----------------------------------------------------------------------------------------------------


def airflow_pages(browser: Browser, wanted: Wanted) -> None:
    """Photograph Airflow's pages."""
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder:
        made = [page for page in (connection, trigger, deferred, failure, timetable, dags) if wanted(_name(page))]
        if not made:
            return
        with _up(Path(folder)) as up:
            page = chromium.open_page(browser, height=900)
            ui = AirflowUI(page, up.url, local_airflow.LOGIN, up.password)
            for photograph in made:
                photograph(ui)


def _name(photograph: Callable[[AirflowUI], None]) -> str:
    return f"airflow-{photograph.__name__}"


@contextmanager
def _up(folder: Path) -> Iterator[Up]:
    up = Up(folder)
    try:
        up.start()
        yield up
    finally:
        up.stop()


def connection(ui: AirflowUI) -> None:
    """The upper half of the form of a connection, filled in."""
    ui.page.set_viewport_size({"width": 1280, "height": 2000})
    form = ui.new_connection("azureml_default", "Azure Machine Learning")
    form.open_extra_fields()
    expect(form.dialog.get_by_label("Client ID")).to_be_hidden()
    for name, value in {
        "subscriptionId": "3f2c1f0e-8c5b-4c55-9d2a-6b1f0a7c9e11",
        "resource_group_name": "ml-production",
        "workspace_name": "demand",
        "tenantId": "contoso.example",
        "auth_mode": "client_secret",
    }.items():
        form.fill_extra(name, value)
    save(form.dialog, "airflow-connection", height=880)
    ui.page.set_viewport_size({"width": 1280, "height": 900})


def trigger(ui: AirflowUI) -> None:
    """The form behind *Trigger*, with the sizes of a mini-batch dropped down."""
    form = ui.trigger_form("scoring_on_demand")
    form.locator("#element_mini_batch_size").get_by_role("combobox").click()
    expect(ui.page.get_by_role("option", name="50")).to_be_visible()
    save(ui.page, "airflow-trigger")


def deferred(ui: AirflowUI) -> None:
    """A task that waits."""
    run_id = ui.trigger(ui.trigger_form("scoring_on_demand"))
    ui.go(f"dags/scoring_on_demand/runs/{run_id}")
    expect(ui.page.get_by_text("Deferred").first).to_be_visible(timeout=120_000)
    ui.open_task("scoring_on_demand", run_id, "score.invoke")
    expect(ui.page.get_by_text("studio/runs").first).to_be_visible()
    save(ui.page, "airflow-deferred", height=460)


def failure(ui: AirflowUI) -> None:
    """The log of a task that failed, down to where Airflow's own traceback begins."""
    run_id = ui.trigger(ui.trigger_form("notify_on_failure"))
    ui.go(f"dags/notify_on_failure/runs/{run_id}")
    expect(ui.page.get_by_text("Upstream Failed").first).to_be_visible(timeout=120_000)
    ui.open_task("notify_on_failure", run_id, "score.invoke")
    expect(ui.page.get_by_text("Reason: error_threshold").first).to_be_visible()
    traceback = ui.page.get_by_text("task_runner.py").first.bounding_box()
    assert traceback is not None
    save(ui.page, "airflow-failure", height=int(traceback["y"]))


def timetable(ui: AirflowUI) -> None:
    """A DAG's schedule, described, and its next run."""
    ui.go("dags/takeover_azure_schedule")
    ui.page.get_by_text("Every 2 weeks on Monday").first.hover()
    expect(ui.page.get_by_role("tooltip")).to_be_visible()
    save(ui.page, "airflow-timetable", height=420)


def dags(ui: AirflowUI) -> None:
    """The list of DAGs, after the others have left their traces."""
    ui.go("dags")
    ui.page.get_by_role("button", name="Show table view").click()
    expect(ui.page.get_by_text("takeover_azure_schedule").first).to_be_attached()
    ui.page.wait_for_load_state("networkidle")
    save(ui.page, "airflow-dags")


def save(shown: Page | Locator, name: str, *, height: int | None = None) -> None:
    """Write what is shown as a small PNG.

    :param height: of the upper part that is kept, in pixels.
    """
    with Image.open(io.BytesIO(shown.screenshot(animations="disabled"))) as picture:
        part = picture.convert("RGB").crop((0, 0, picture.width, min(height or picture.height, picture.height)))
        part.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            IMAGES / f"{name}.png", optimize=True
        )
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
