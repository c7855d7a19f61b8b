"""What a person sees and does in Airflow's pages and in the emulator's, in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from gallery import Gallery
from live_airflow import DagRun, LiveAirflow
from live_service import LiveService
from playwright.sync_api import expect

import chromium
import local_airflow
from airflow_provider_amlbatch.aml import pipelines
from airflow_ui import AirflowUI

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.executable() is None, reason="no chromium on this machine"),
]

#: Milliseconds until Airflow has come to a task, also on a machine that does other things.
PATIENCE = 120_000

FIELDS = [
    "Subscription ID",
    "Resource group",
    "Workspace",
    "Tenant ID",
    "Authentication",
    "Certificate file",
    "Managed identity client ID",
    "Workload identity tenant ID",
    "Cloud",
    "Cloud metadata URL",
    "CA bundle",
]


@pytest.fixture(scope="module", autouse=True)
def failing(live_airflow: LiveAirflow, live_service: LiveService, gallery: Gallery) -> DagRun:
    """A run of the DAG that fails on purpose, which takes its time while other tests run."""
    gallery.prepare(live_service.session)
    return live_airflow.trigger("notify_on_failure", {})


@pytest.fixture(scope="module")
def ui(live_airflow: LiveAirflow) -> Iterator[AirflowUI]:
    """A person who has signed in."""
    with chromium.browser() as browser:
        yield AirflowUI(
            chromium.open_page(browser),
            live_airflow.url,
            local_airflow.LOGIN,
            local_airflow.password(live_airflow.home),
        )


def test_a_connection_is_made_in_the_form_and_tested(
    ui: AirflowUI, live_airflow: LiveAirflow, live_service: LiveService
) -> None:
    known = json.loads(live_service.environment["AIRFLOW_CONN_AZUREML_DEFAULT"])
    form = ui.new_connection("azureml", "Azure Machine Learning")
    expect(form.dialog.get_by_label("Client secret")).to_have_attribute("type", "password")
    assert form.labels() == ["Connection ID *", "Connection Type *", "Description", "Client ID", "Client secret"]
    form.dialog.get_by_label("Client ID").fill(known["login"])
    form.dialog.get_by_label("Client secret").fill(known["password"])
    form.open_extra_fields()
    expect(form.dialog.get_by_label("Client ID")).to_be_hidden()
    assert form.labels() == ["Connection ID *", "Connection Type *", *FIELDS]
    for name, value in known["extra"].items():
        form.fill_extra(name, value)
    form.save()

    # Airflow 3.3.2 refuses to test a connection without a port (apache/airflow#73298).
    live_airflow.api(
        "PATCH",
        "connections/azureml?update_mask=port",
        {"connection_id": "azureml", "conn_type": "azureml", "port": 0},
    )
    message = ui.test_connection("azureml")
    expect(message).to_contain_text("Test Connection Successful")
    expect(message).to_contain_text("Workspace emulator in local answers, and its pipelines can be listed.")

    form = ui.edit_connection("azureml")
    form.dialog.get_by_label("Client secret").fill("not-the-secret")
    form.save()
    message = ui.test_connection("azureml")
    expect(message).to_contain_text("Test Connection Failed")
    expect(message).to_contain_text("Obtaining a token failed")
    said = message.inner_text()
    assert "not-the-secret" not in said
    assert known["password"] not in said


def test_a_run_from_the_form_waits_without_a_worker_and_links_to_its_page(
    ui: AirflowUI, live_airflow: LiveAirflow, live_service: LiveService, gallery: Gallery
) -> None:
    live_airflow.wait_for_dag("scoring_on_demand")
    form = ui.trigger_form("scoring_on_demand")
    expect(form.locator("input[name=element_folder]")).to_have_value("breast-cancer")
    threshold = form.locator("input[name=element_threshold]")
    expect(threshold).to_have_value("0.5")
    expect(form).to_contain_text("Probability from which on a tumour is called benign.")
    nodes = form.locator("input[name=element_node_count]")
    expect(nodes).to_have_attribute("aria-valuemin", "1")
    expect(nodes).to_have_attribute("aria-valuemax", "2")
    sizes = form.locator("#element_mini_batch_size")
    expect(sizes).to_contain_text("20")
    sizes.get_by_role("combobox").click()
    assert ui.page.get_by_role("option").all_inner_texts() == ["5", "10", "20", "50"]
    ui.page.get_by_role("option", name="50").click()
    threshold.fill("0.9")
    threshold.press("Tab")
    run_id = ui.trigger(form)

    ui.open_task("scoring_on_demand", run_id, "score.invoke", "details")
    expect(ui.page.get_by_text("Deferred").first).to_be_visible(timeout=PATIENCE)
    azure = ui.follow("Azure ML run")
    expect(azure.locator("h1 + .pill")).to_have_text("Running")
    gallery.release()
    expect(azure.locator("h1 + .pill")).to_have_text("Completed")  # the page follows by itself
    expect(azure.get_by_role("row", name="score")).to_contain_text("6 of 6")
    [run] = [
        run
        for pipeline in live_service.session.send(pipelines.list_pipelines())
        if pipeline.name == "score-on-demand"
        for run in live_service.session.send(pipelines.list_runs_of_pipeline(pipeline.id))
    ]
    assert run.id in azure.url
    assert run.parameter_assignments == {"threshold": "0.9", "mini_batch_size": "50", "node_count": "1"}
    azure.close()

    ui.page.bring_to_front()
    expect(ui.page.get_by_text("Success").first).to_be_visible(timeout=PATIENCE)
    assert DagRun(live_airflow, "scoring_on_demand", run_id).wait_for_end() == "success"


def test_the_log_of_a_failed_task_says_why(ui: AirflowUI, failing: DagRun) -> None:
    assert failing.wait_for_end() == "failed"
    ui.open_task(failing.dag_id, failing.run_id, "score.invoke")
    log = ui.page.locator("body")
    expect(log).to_contain_text("Reason: error_threshold 0 exceeded by 10 failed items.")
    expect(log).to_contain_text("ValueError: patient-007.csv has no features that could be scored")
    expect(log).to_contain_text(re.compile(r"Step 'score' \(.*\) ended as Failed"))


def test_a_schedule_is_described_and_tells_its_next_run(ui: AirflowUI, live_airflow: LiveAirflow) -> None:
    live_airflow.wait_for_dag("live_by_shift")
    ui.go("dags/live_by_shift")
    summary = ui.page.get_by_text("Every 2 weeks on Monday and Wednesday at 18:30")
    summary.hover()
    expect(ui.page.get_by_role("tooltip")).to_have_text(
        "Every 2 weeks on Monday and Wednesday at 18:30 (Pacific Standard Time) from 2099-01-05 00:00."
    )
    # That Monday, 18:30 in Los Angeles, in the UTC that Airflow shows.
    expect(ui.page.locator("body")).to_contain_text("2099-01-06 02:30:00")
