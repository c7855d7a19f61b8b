"""Results: from a finished run to one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.links.pipeline_run import AzureMLRunLink
from airflow_provider_amlbatch.results.errors import FormatError
from airflow_provider_amlbatch.results.format import Kind, ResultFormat
from airflow_provider_amlbatch.results.reconcile import Keep, Match, OnExtra, Reconcile

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found, unused-ignore]

    from airflow_provider_amlbatch.results.of_run import Inputs, RunResult


class AzureMLCollectResultsOperator(BaseOperator):
    """Collect what a run wrote into one table: found by run id, streamed, compared with its inputs, written whole.

    Returns ``{"run_id", "uri", "rows", "columns", "head", "reconciliation", ...}``. Each outlet Asset gets run id,
    model versions, URI, row count and the comparison as extra. ``models`` is version by name, as the run was given them
    by ``models=`` of the operator that started it; the service itself keeps no note of them.

    :param run_id: the pipeline run; usually ``invoke.output``. (templated)
    :param destination: file to write, a local path or a URL for ``ObjectStoragePath``. Its ending says what it is:
        ``.parquet``, ``.csv`` or ``.jsonl``. (templated)
    :param step_name: step whose output it is; may be left out when only one step fits. (templated)
    :param output_name: name of the output; may be left out when there is only one. (templated)
    :param files: name, or glob, of the files in the output: one for ``append_row``, such as ``*.parquet`` for
        ``summary_only`` scripts that write files of their own. (templated)
    :param kind: how rows are written: ``lines`` (the script returns a list), ``rows`` (a DataFrame), ``csv``,
        ``json_lines`` or ``parquet``. Found out from a sample when it, ``delimiter`` and ``columns`` are all left out.
    :param delimiter: what separates fields: ``":"`` for lines, ``" "`` for rows, ``","`` for csv unless said.
    :param columns: names of the columns.
    :param dtypes: Arrow type names by column; the others are inferred.
    :param header: whether the first row names the columns (``rows`` and ``csv``).
    :param schema: Arrow type names by column that the table must have, or the task fails.
    :param on_bad_row: ``error``, or ``quarantine``: leave such rows out, count them and keep them beside the table.
    :param input_path: folder or glob of the files that were to be scored; the rows are compared with it. (templated)
    :param input_datastore: datastore of ``input_path``. (templated)
    :param input_column: column that names the input; the first one when None.
    :param match: how a file and a row's key are compared: ``name`` (last part of the path), ``stem`` (that without its
        ending) or ``path`` (from the container's root).
    :param dedupe_on: columns that make rows duplicates of each other; ``input_column`` when None.
    :param keep: what becomes of duplicates, which Azure does not rule out: ``all`` (count them), ``first``, ``last`` or
        ``error``. When left out they are counted if rows are compared with something, and not looked for otherwise.
    :param require_complete: True to fail when an input has no row, or the fraction of inputs that must have one.
        Without ``input_path``, the counts that the step posted say how many there were.
    :param on_extra: what becomes of a row whose key is no input: ``warn`` (count it) or ``error``.
    :param partition_by: columns whose values become folders of Parquet files.
    :param head: how many rows the return value shows.
    :param summary: whether to write a small page beside the table, ``<destination>.html``: figures, what the comparison
        found, how the last column is spread, the first rows. ``summary`` of the return value says where it is.
    :param object_storage_conn_id: connection for a URL in ``destination``.
    :param azureml_conn_id: connection to the workspace. (templated)
    """

    template_fields: Sequence[str] = (
        "run_id",
        "destination",
        "step_name",
        "output_name",
        "files",
        "input_path",
        "input_datastore",
        "azureml_conn_id",
    )
    operator_extra_links = (AzureMLRunLink(),)
    ui_color = "#d7ebfa"

    def __init__(
        self,
        *,
        run_id: str,
        destination: str,
        step_name: str | None = None,
        output_name: str | None = None,
        files: str = "parallel_run_step.txt",
        kind: Kind | None = None,
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
        dtypes: Mapping[str, str] | None = None,
        header: bool | None = None,
        schema: Mapping[str, str] | None = None,
        on_bad_row: Literal["error", "quarantine"] = "error",
        input_path: str | None = None,
        input_datastore: str = "workspaceblobstore",
        input_column: str | None = None,
        match: Match = "name",
        dedupe_on: Sequence[str] | None = None,
        keep: Keep | None = None,
        require_complete: bool | float = False,
        on_extra: OnExtra = "warn",
        partition_by: Sequence[str] = (),
        head: int = 10,
        summary: bool = False,
        object_storage_conn_id: str | None = None,
        azureml_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.destination = destination
        self.step_name = step_name
        self.output_name = output_name
        self.files = files
        self.kind = kind
        self.delimiter = delimiter
        self.columns = columns
        self.dtypes = dtypes
        self.header = header
        self.schema = schema
        self.on_bad_row = on_bad_row
        self.input_path = input_path
        self.input_datastore = input_datastore
        self.input_column = input_column
        self.match = match
        self.dedupe_on = dedupe_on
        self.keep = keep
        self.require_complete = require_complete
        self.on_extra = on_extra
        self.partition_by = partition_by
        self.head = head
        self.summary = summary
        self.object_storage_conn_id = object_storage_conn_id
        self.azureml_conn_id = azureml_conn_id
        self._collected: dict[str, Any] | None = None
        self.result_format()  # what is wrong with the arguments is told when the DAG is parsed
        self._reconcile()
        if on_extra == "error" and input_path is None:
            raise FormatError("on_extra='error' needs input_path: the files whose rows are no extra ones.")

    @cached_property
    def hook(self) -> AzureMLBatchHook:
        """The connection to the workspace."""
        return AzureMLBatchHook(self.azureml_conn_id)

    def result_format(self) -> ResultFormat | None:
        """How the rows are written; None when that is to be found out.

        :raises FormatError: if the arguments do not go together.
        """
        return ResultFormat.described(self.kind, self.delimiter, self.columns, header=self.header, dtypes=self.dtypes)

    def execute(self, context: Context) -> dict[str, Any]:
        """Collect, and describe the table on the outlets."""
        AzureMLRunLink.persist(context, self.hook, self.run_id)
        destination = self._destination()
        result = self.hook.collect(
            self.run_id,
            destination,
            step=self.step_name,
            output=self.output_name,
            files=self.files,
            format=self.result_format(),
            inputs=self._inputs(),
            reconcile=self._reconcile(),
            schema=self.schema,
            on_bad_row=self.on_bad_row,
            partition_by=self.partition_by,
            head=self.head,
        )
        returned = {**_returned(result), "models": self._models()}
        if self.summary:
            returned["summary"] = _write_summary(result, destination)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {
                name: returned[name] for name in ("run_id", "models", "uri", "rows", "reconciliation")
            }
        self._collected = returned
        return returned

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """Tell OpenLineage, where its provider is installed, which output became which table."""
        del task_instance
        from airflow_provider_amlbatch.operators import lineage

        return None if self._collected is None else lineage.of_collected(self.hook.session, self._collected)

    def _models(self) -> dict[str, str]:
        from airflow_provider_amlbatch.aml.models import models_of

        return models_of(self.hook.get_run(self.run_id))

    def _destination(self) -> Any:
        if "://" not in self.destination:
            return self.destination
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        return ObjectStoragePath(self.destination, conn_id=self.object_storage_conn_id)

    def _inputs(self) -> Inputs | None:
        from airflow_provider_amlbatch.results.of_run import Inputs

        return None if self.input_path is None else Inputs(self.input_datastore, self.input_path)

    def _reconcile(self) -> Reconcile | None:
        if self.input_path is None and self.keep is None and not (self.dedupe_on or self.require_complete):
            return None
        return Reconcile(
            input_column=self.input_column,
            match=self.match,
            dedupe_on=None if self.dedupe_on is None else tuple(self.dedupe_on),
            keep=self.keep or "all",
            require_complete=self.require_complete,
            on_extra=self.on_extra,
        )


def _write_summary(result: RunResult, destination: Any) -> str:
    from airflow_provider_amlbatch.results.destination import as_path
    from airflow_provider_amlbatch.results.page import write_page
    from airflow_provider_amlbatch.results.summary import distribution

    table: Any = as_path(destination)
    return write_page(result.collected, table.parent.joinpath(f"{table.name}.html"), distribution(table))


def _returned(result: RunResult) -> dict[str, Any]:
    figures = result.to_json()
    return {"uri": figures.pop("path"), **figures}
