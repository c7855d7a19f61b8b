"""The hook: an Airflow connection, and the verbs of the domain on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_amlbatch.aml import history, pipelines
from airflow_provider_amlbatch.aml.errors import (
    AzureMLBatchError,
    NotFoundError,
    RunCanceledError,
    RunFailedError,
    RunReusedError,
)
from airflow_provider_amlbatch.aml.outcome import RunOutcome
from airflow_provider_amlbatch.aml.settings import CONNECTION_TYPE, DEFAULT_CONNECTION, ConnectionSettings
from airflow_provider_amlbatch.aml.status import RunStatus

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from azure.storage.blob import ContainerClient

    from airflow_provider_amlbatch.aml.arm import Workspace
    from airflow_provider_amlbatch.aml.history import Run, RunDetails
    from airflow_provider_amlbatch.aml.outputs import OutputPlace
    from airflow_provider_amlbatch.aml.pipelines import GraphInterface, PipelineEndpoint, PublishedPipeline
    from airflow_provider_amlbatch.aml.session import Session
    from airflow_provider_amlbatch.results.of_run import RunResult


OnReuse = Literal["warn", "fail", "ignore"]
ON_REUSE = get_args(OnReuse)


class AzureMLBatchHook(BaseHook):
    """Speak to one Azure Machine Learning workspace.

    :param azureml_conn_id: connection of type ``azureml`` (or of type ``azure`` with two extras added).
    :param session: used instead of one made from the connection.
    """

    conn_name_attr = "azureml_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = "Azure Machine Learning"

    def __init__(self, azureml_conn_id: str = DEFAULT_CONNECTION, *, session: Session | None = None) -> None:
        super().__init__()
        self.azureml_conn_id = azureml_conn_id
        if session is not None:
            self.session = session

    # --- connection ---------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read and checked."""
        connection = self.get_connection(self.azureml_conn_id)
        return ConnectionSettings.from_fields(
            self.azureml_conn_id, connection.login, connection.password, connection.extra_dejson
        )

    @classmethod
    async def read_settings(cls, azureml_conn_id: str) -> ConnectionSettings:
        """Read the connection on an event loop, without blocking it."""
        connection = await get_async_connection(azureml_conn_id)
        extra = await get_async_extra_dejson(connection)
        return ConnectionSettings.from_fields(azureml_conn_id, connection.login, connection.password, extra)

    @cached_property
    def session(self) -> Session:
        """The session that carries out calls."""
        # Imported here: a DAG file that names the hook need not load an HTTP client.
        from airflow_provider_amlbatch.aml.session import Session

        return Session(self.settings)

    def get_conn(self) -> Session:
        """Give the session, under the name that every hook has for it."""
        return self.session

    def test_connection(self) -> tuple[bool, str]:
        """Ask for a token, the workspace and its pipelines, and say which of them fails."""
        from airflow_provider_amlbatch.aml.session import Session

        doing = "Reading the connection"
        try:
            session = Session(self.settings, attempts=1)
            checks: list[tuple[str, Callable[[], object]]] = [
                ("Finding the cloud", lambda: session.cloud),
                ("Obtaining a token", session.token),
                ("Reading the workspace", lambda: session.workspace),
                ("Finding the workspace's services", lambda: session.services),
                ("Listing published pipelines", lambda: session.send(pipelines.list_pipelines())),
            ]
            for doing, check in checks:  # noqa: B007 - read after an error
                check()
        except AzureMLBatchError as error:
            return False, f"{doing} failed: {error}"
        workspace = session.workspace
        return True, f"Workspace {workspace.name} in {workspace.location} answers, and its pipelines can be listed."

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the form's extra fields to Airflow before 3.2; later ones read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found]
        from wtforms import StringField  # type: ignore[import-untyped]

        from airflow_provider_amlbatch.get_provider_info import CONNECTION_FIELDS

        return {
            name: StringField(str(described["label"]), widget=BS3TextFieldWidget())
            for name, described in CONNECTION_FIELDS.items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the form's standard fields to Airflow before 3.2; later ones read the provider's metadata."""
        from airflow_provider_amlbatch.get_provider_info import FIELD_BEHAVIOUR

        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    # --- runs ---------------------------------------------------------------------------------------------------

    def workspace(self) -> Workspace:
        """Describe the workspace."""
        return self.session.workspace

    def get_run(self, run_id: str) -> Run:
        """Read a run."""
        return self.session.send(history.get_run(run_id))

    def get_run_details(self, run_id: str) -> RunDetails:
        """Read a run with its definition, its logs and its cost."""
        return self.session.send(history.get_run_details(run_id))

    def children(self, run_id: str) -> list[Run]:
        """List the step runs of a pipeline run."""
        from airflow_provider_amlbatch.aml.outputs import step_runs

        return step_runs(self.session, run_id)

    def cancel_run(self, run_id: str) -> bool:
        """Ask for the end of a run.

        :return: whether there was anything to end: False for a run that is over or unknown.
        """
        try:
            if RunOutcome.of(self.get_run(run_id)) is not None:
                return False
            self.session.send(pipelines.cancel_run(run_id))
        except NotFoundError:
            return False
        return True

    def wait(self, run_id: str, poll_interval: float = 30.0, timeout: float | None = None) -> RunOutcome:
        """Wait here until a run is over, and log how far it has got.

        :param poll_interval: seconds between two questions.
        :param timeout: seconds after which to give up; the run goes on.
        :raises TimeoutError: if the time is over first.
        """
        from airflow_provider_amlbatch.aml.watcher import watcher_of

        watched = watcher_of(self.session.settings).watch(run_id, poll_interval, self.log.info)
        try:
            return watched.result(timeout)
        finally:
            watched.cancel()

    def look(self, run_id: str, patient: bool = True) -> RunOutcome | None:
        """Look once whether a run is over. What may pass is said in the log, and is no answer.

        :param patient: whether it may pass that there is no such run: one that was started a moment ago may not be
            known everywhere yet.
        :raises NotFoundError: if there is no such run, without patience.
        """
        from airflow_provider_amlbatch.aml.watcher import HICCUPS

        try:
            return RunOutcome.of(self.get_run(run_id))
        except (NotFoundError, *HICCUPS) as error:
            if isinstance(error, NotFoundError) and not patient:
                raise
            self.log.warning("Run %s cannot be read now; it will be tried again. %s", run_id, error)
            return None

    def conclude(self, outcome: RunOutcome, on_reuse: OnReuse = "ignore") -> str:
        """Say what the end of a run means: the one place that turns it into a result or an exception.

        :param on_reuse: what to do when a step took over an older run's output: ``warn``, ``fail`` or ``ignore``.
        :return: the run id, if the run did what was asked.
        :raises RunError: with a digest of what went wrong, if it did not.
        """
        if not outcome.succeeded:
            from airflow_provider_amlbatch.aml.digest import failure_digest

            digest = failure_digest(self.session, outcome, link=self.run_link(outcome.run_id))
            kind = RunCanceledError if outcome.status is RunStatus.CANCELED else RunFailedError
            raise kind(digest, run_id=outcome.run_id)
        if on_reuse != "ignore":
            try:
                self._check_reuse(outcome.run_id, on_reuse)
            except AzureMLBatchError as error:
                if on_reuse == "fail":
                    raise
                self.log.warning("Whether run %s computed anything new cannot be read: %s", outcome.run_id, error)
        self.log.info("Run %s completed.", outcome.run_id)
        return outcome.run_id

    def _check_reuse(self, run_id: str, on_reuse: OnReuse) -> None:
        from airflow_provider_amlbatch.aml.outputs import REUSED_RUN_ID

        reused = {
            str(step.name): step.properties[REUSED_RUN_ID]
            for step in self.children(run_id)
            if step.properties.get(REUSED_RUN_ID)
        }
        if not reused:
            return
        steps = ", ".join(f"{name} (from {source})" for name, source in reused.items())
        message = (
            f"Run {run_id} computed nothing new in: {steps}. Set allow_reuse=False on the step, or hand over a "
            "parameter that changes, if the data may have changed."
        )
        if on_reuse == "fail":
            raise RunReusedError(message, run_id=run_id)
        self.log.warning(message)

    def run_link(self, run_id: str) -> str:
        """Make the address of the page that shows a run."""
        settings = self.session.settings
        link = f"{self.session.studio}/runs/{quote(run_id)}?wsid={settings.workspace_scope}"
        return link if settings.tenant_id is None else f"{link}&tid={settings.tenant_id}"

    def log_files(self, run_id: str) -> dict[str, str]:
        """List the log files of a run: name to signed URL."""
        return self.get_run_details(run_id).log_files

    def read_log(self, signed_url: str, last_bytes: int | None = None) -> str:
        """Read a log file, or the end of it."""
        return self.session.download(signed_url, last_bytes=last_bytes).decode(errors="replace")

    # --- published pipelines ------------------------------------------------------------------------------------

    def get_pipeline(self, pipeline_id: str) -> PublishedPipeline:
        """Read a published pipeline."""
        return self.session.send(pipelines.get_pipeline(pipeline_id))

    def list_pipelines(self, active_only: bool = True) -> list[PublishedPipeline]:
        """List the published pipelines of the workspace."""
        return self.session.send(pipelines.list_pipelines(active_only))

    def get_pipeline_endpoint(self, name: str) -> PipelineEndpoint:
        """Find a pipeline endpoint by name."""
        return self.session.send(pipelines.get_endpoint_by_name(name))

    def disable_pipeline(self, pipeline_id: str) -> None:
        """Switch a published pipeline off."""
        self.session.send(pipelines.set_pipeline_status(pipeline_id, pipelines.DISABLED))

    def declared_interface(self, pipeline: PublishedPipeline) -> GraphInterface:
        """Read which parameters a published pipeline declares."""
        if pipeline.graph_id is None:
            return pipelines.GraphInterface()
        return self.session.send(pipelines.get_graph_interface(pipeline.graph_id))

    # --- data ---------------------------------------------------------------------------------------------------

    def step_output(self, run_id: str, step: str | None = None, output: str | None = None) -> OutputPlace:
        """Find the datastore and the path that a step of a run wrote an output to."""
        from airflow_provider_amlbatch.aml.outputs import find_output

        return find_output(self.session, run_id, step, output)

    def container_client(self, datastore: str) -> ContainerClient:
        """Open the blob container behind a datastore.

        :raises ArgumentError: if the datastore is not a blob container.
        """
        from airflow_provider_amlbatch.aml.blobs import container_client

        return container_client(self.session, datastore)

    def collect(self, run_id: str, destination: Any, **options: Any) -> RunResult:
        """Read what a step of a finished run wrote into one table.

        :param options: further arguments of :func:`~airflow_provider_amlbatch.results.of_run.collect_run`.
        """
        from airflow_provider_amlbatch.results.of_run import collect_run

        return collect_run(self.session, run_id, destination, **options)

    def collect_table(self, run_id: str, **options: Any) -> tuple[pa.Table, RunResult]:
        """Read what a step of a finished run wrote into an Arrow table.

        :param options: as for :meth:`collect`.
        :return: the table, and what was found while it was made.
        """
        from airflow_provider_amlbatch.results.of_run import collect_run_table

        return collect_run_table(self.session, run_id, **options)

    def collect_frame(self, run_id: str, **options: Any) -> tuple[pd.DataFrame, RunResult]:
        """Read what a step of a finished run wrote into a pandas DataFrame, as :meth:`collect_table` does."""
        from airflow_provider_amlbatch.results.of_run import collect_run_frame

        return collect_run_frame(self.session, run_id, **options)
