"""``amlbatch results``: look at what a run wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from airflow_provider_amlbatch.cli.connection import conn_id_option, session_of, told
from airflow_provider_amlbatch.results.format import Kind
from airflow_provider_amlbatch.results.reconcile import Match, OnExtra, Reconcile

if TYPE_CHECKING:
    from airflow_provider_amlbatch.results.collect import Collected

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def results() -> None:
    """What runs wrote: the collated text as a table."""


@results.command("show")
@click.argument("run")
@click.option("--step", help="Name of the step; needed when several steps have a fitting output.")
@click.option("--output", help="Name of the output; needed when there are several.")
@click.option("--files", default="parallel_run_step.txt", show_default=True, help="Name, or glob, of the files.")
@click.option("--kind", type=click.Choice(get_args(Kind)), help="How rows are written; otherwise a sample tells.")
@click.option("--delimiter", help="What separates fields.")
@click.option("--columns", help="Names of the columns, separated by commas.")
@click.option("--input-path", help="Folder or glob of the inputs on a datastore: the rows are compared with it.")
@click.option("--input-datastore", default="workspaceblobstore", show_default=True, help="Datastore of --input-path.")
@click.option(
    "--match",
    type=click.Choice(get_args(Match)),
    default="name",
    show_default=True,
    help="How inputs and rows are compared: last part of the path, that without its ending, or exactly.",
)
@click.option(
    "--require-complete",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Fail when fewer inputs than this part have a row; 1 for all. Without --input-path the job's counts tell.",
)
@click.option(
    "--on-extra",
    type=click.Choice(get_args(OnExtra)),
    default="warn",
    show_default=True,
    help="What becomes of a row whose key is no input.",
)
@click.option("--column", help="Column to count, or to draw the histogram of; the last one by default.")
@click.option("--rows", type=click.IntRange(0, 10_000), default=10, show_default=True, help="So many rows.")
@click.option("--save", type=_FILE, help="Keep the table: a file that ends with .parquet, .csv or .jsonl.")
@click.option("--png", type=_FILE, help="Draw the chart into this file, too (needs matplotlib).")
@click.option("--html", "page", type=_FILE, help="Write all of it as a page, too.")
@conn_id_option
@told
def show(
    run: str,
    step: str | None,
    output: str | None,
    files: str,
    kind: Kind | None,
    delimiter: str | None,
    columns: str | None,
    input_path: str | None,
    input_datastore: str,
    match: Match,
    require_complete: float,
    on_extra: OnExtra,
    column: str | None,
    rows: int,
    save: Path | None,
    png: Path | None,
    page: Path | None,
    conn_id: str,
) -> None:
    """Show the result of the run RUN: rows, counts, what is wrong with them, and how a column is spread."""
    from rich.console import Console

    from airflow_provider_amlbatch.results.format import ResultFormat
    from airflow_provider_amlbatch.results.of_run import Inputs, collect_run
    from airflow_provider_amlbatch.results.summary import distribution, write_chart

    form = ResultFormat.described(kind, delimiter, None if columns is None else columns.split(","))
    asked = input_path is not None or require_complete or on_extra == "error"
    waiting = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder, waiting.status("Reading …") as status:
        table = save or Path(folder, "table.parquet")
        found = collect_run(
            session_of(conn_id),
            run,
            table,
            step=step,
            output=output,
            files=files,
            format=form,
            inputs=None if input_path is None else Inputs(input_datastore, input_path),
            reconcile=Reconcile(match=match, require_complete=require_complete, on_extra=on_extra) if asked else None,
            head=rows,
            progress=lambda read, _: status.update(f"{read:,} rows …"),
        ).collected
        spread = distribution(table, column)
        _print(found)
        click.echo(f"\n{spread.as_text()}")
        if page is not None:
            from airflow_provider_amlbatch.results.page import write_page

            write_page(found, page, spread)
        if png is not None:
            write_chart(table, png, column)
    for written in (save, page, png):
        if written is not None:
            click.echo(f"Wrote {written}.")


def _print(found: Collected) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=box.SIMPLE_HEAD)
    for name, dtype in found.columns.items():
        is_number = dtype.startswith(("int", "uint", "float", "double"))
        table.add_column(Text(f"{name}\n{dtype}"), justify="right" if is_number else "left", overflow="fold")
    for row in found.head:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    console.print(table)
    counts = {"Rows": found.rows, "Rejected": found.rejected}
    counts |= found.reconciliation.counts() if found.reconciliation else {}
    console.print(", ".join(f"{name}: {count:,}" for name, count in counts.items()), highlight=False)
    for problem in found.reconciliation.problems() if found.reconciliation else ():
        console.print(Text(f"! {problem}", style="red"))
