"""The documentation builds without a warning, needs no other host, and shows code that exists."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Loads(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(named.get("src") or "")
        if tag == "link" and named.get("rel") in ("stylesheet", "preconnect", "icon", "preload"):
            self.found.append(named.get("href") or "")


def test_no_page_loads_anything_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text())
        assert [address for address in loads.found if re.match(r"(https?:)?//", address)] == [], page.name


def test_every_example_is_shown(site):
    pages = (page.read_text() for page in site.glob("*.html"))
    shown = html.unescape(re.sub(r"<[^>]+>", "", "".join(pages)))
    for dag in (REPOSITORY / "dags").glob("*.py"):
        lines = [line.strip() for line in dag.read_text().splitlines() if "--8<--" not in line]
        assert [line for line in lines if line not in shown] == [], dag.name


def test_what_is_shown_of_the_tests_needs_nothing_else_of_them():
    ours = {path.stem for path in (REPOSITORY / "tests").rglob("*.py")}
    shown = [
        REPOSITORY / name
        for page in (REPOSITORY / "docs").glob("*.md")
        for name in re.findall(r'--8<-- "(tests/[^":]+)', page.read_text())
    ]
    assert shown
    for file in shown:
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.M))
        assert imported & ours == set(), file


def test_every_operator_is_described(site):
    from airflow_provider_amlbatch.get_provider_info import get_provider_info

    info = get_provider_info()
    shown = (site / "operators.html").read_text()
    modules = [name for kind in ("operators", "sensors") for entry in info[kind] for name in entry["python-modules"]]
    classes = [
        found
        for name in modules
        for found in re.findall(
            r"^class (AzureML\w+(?:Operator|Sensor))\b", (REPOSITORY / f"{name.replace('.', '/')}.py").read_text(), re.M
        )
    ]
    assert len(classes) >= 8
    assert [name for name in classes if f">{name}<" not in shown] == []


def test_no_markup_of_docstrings_shows(site):
    for page in site.glob("*.html"):
        assert not re.search(r":(class|func|mod|data|meth|param \w+):", page.read_text()), page.name
