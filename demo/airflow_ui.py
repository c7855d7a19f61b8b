"""Airflow's pages as a person uses them, in Chromium: for tests in a browser and for the documentation's pictures."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect


class AirflowUI:
    """A person who has signed in.

    :param page: an empty page.
    :param url: Airflow's address.
    """

    def __init__(self, page: Page, url: str, user: str, password: str) -> None:
        self.page = page
        self._url = url
        page.goto(url)
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Dags").first).to_be_visible()

    def go(self, path: str) -> None:
        """Open a page by its path."""
        self.page.goto(f"{self._url}/{path}")

    # --- connections --------------------------------------------------------------------------------------------

    def new_connection(self, conn_id: str, type_name: str) -> ConnectionForm:
        """Open the form for a new connection of a type."""
        self.go("connections")
        self.page.get_by_role("button", name="Add Connection").click()
        form = ConnectionForm(self.page)
        form.dialog.get_by_label("Connection ID").fill(conn_id)
        kind = form.dialog.get_by_label("Connection Type")
        kind.fill(type_name)
        kind.press("Enter")
        return form

    def edit_connection(self, conn_id: str) -> ConnectionForm:
        """Open the form of a connection."""
        self.go("connections")
        self.page.get_by_role("row", name=conn_id).get_by_role("button", name="Edit Connection").click()
        return ConnectionForm(self.page)

    def test_connection(self, conn_id: str) -> Locator:
        """Press *Test* in the list, and return the message that comes."""
        self.go("connections")
        self.page.get_by_role("row", name=conn_id).get_by_role("button", name="Test Connection").click()
        message = self.page.locator("[data-scope=toast][data-part=root]")
        expect(message).to_be_visible()
        return message

    # --- DAGs ---------------------------------------------------------------------------------------------------

    def trigger_form(self, dag_id: str) -> Locator:
        """Open the form behind *Trigger*."""
        self.go(f"dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger").first.click()
        form = self.page.get_by_role("dialog")
        expect(form.get_by_role("button", name="Trigger")).to_be_enabled()
        return form

    def trigger(self, form: Locator) -> str:
        """Press the form's *Trigger*, and return the id of the DAG run."""
        with self.page.expect_response(re.compile(r"/dagRuns$")) as answer:
            form.get_by_role("button", name="Trigger").click()
        made: dict[str, Any] = answer.value.json()
        return str(made["dag_run_id"])

    def open_task(self, dag_id: str, run_id: str, task_id: str, tab: str = "") -> None:
        """Open the page of a task of a DAG run."""
        self.go(f"dags/{dag_id}/runs/{run_id}/tasks/{task_id}{tab and '/' + tab}")

    def follow(self, link: str) -> Page:
        """Click one of the links that a task's operator gives; they open a page of their own."""
        with self.page.context.expect_page() as opened:
            self.page.get_by_role("link", name=link, exact=True).click()
        return opened.value


class ConnectionForm:
    """The form of a connection, open.

    Airflow's labels of extra fields name other elements than the fields: those are found by their names.
    """

    def __init__(self, page: Page) -> None:
        self.dialog = page.get_by_role("dialog")
        expect(self.dialog.get_by_label("Connection ID")).to_be_visible()

    def open_extra_fields(self) -> None:
        """Open the second half of the form, which closes the first."""
        self.dialog.get_by_role("button", name="Extra Fields", exact=True).click()

    def labels(self) -> list[str]:
        """The labels of the fields that are shown, from top to bottom."""
        return [" ".join(label.split()) for label in self.dialog.locator("label:visible").all_inner_texts()]

    def fill_extra(self, name: str, value: str) -> None:
        """Fill an extra field in, or choose among its values."""
        field = self.dialog.locator(f"#element_{name}")
        if choice := field.get_by_role("combobox").all():
            choice[0].fill(value)
            choice[0].press("Enter")
        else:
            field.fill(value)

    def save(self) -> None:
        """Save the connection."""
        self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_be_hidden()
