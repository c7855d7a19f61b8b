"""Where a run's results lie: found by run id, step and output name, never by "the last run"."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_amlbatch.aml import history, pipelines
from airflow_provider_amlbatch.aml.errors import ArgumentError, UnexpectedReplyError
from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.aml.pipelines import NodeOutput
from airflow_provider_amlbatch.aml.session import Session

NODE_ID = "azureml.nodeid"
#: Property of a step run that took over the outputs of an earlier one: that one's id.
REUSED_RUN_ID = "azureml.reusedrunid"
#: Bookkeeping of the SDK, not data.
_NOT_DATA = frozenset({"_run_after_output"})


@dataclass(frozen=True)
class OutputPlace:
    """A folder on a datastore that a step wrote.

    :param path: relative to the datastore's container, without slashes around it.
    :param reused_run_id: the earlier step run that wrote it, when this one was not run again.
    """

    run_id: str
    step_run_id: str
    step: str
    output: str
    datastore: str
    path: str
    reused_run_id: str | None = None


def step_runs(session: Session, run_id: str) -> list[Run]:
    """List the step runs of a pipeline run."""
    return list(session.pages(history.list_children(run_id)))


def list_outputs(session: Session, run_id: str, step: str | None = None) -> list[OutputPlace]:
    """List the places that the steps of a run write to.

    :param step: only this step.
    """
    return [
        place
        for child in step_runs(session, run_id)
        if step is None or child.name == step
        for place in _places(session, run_id, child)
    ]


def find_output(session: Session, run_id: str, step: str | None = None, output: str | None = None) -> OutputPlace:
    """Find the place that a step wrote an output to.

    :param step: the step's name; may be left out when only one step fits.
    :param output: the output's name; may be left out when only one fits.
    :raises ArgumentError: if none fits, or several do; the message lists what there is.
    """
    places = list_outputs(session, run_id, step)
    fitting = [place for place in places if output is None or place.output == output]
    if len(fitting) == 1:
        return fitting[0]
    asked = f"step {step!r}, output {output!r}" if step or output else "no step and no output named"
    known = ", ".join(f"{place.step}/{place.output}" for place in places) or _known_steps(session, run_id)
    problem = "fits several outputs" if fitting else "fits no output"
    raise ArgumentError(f"Run {run_id}: {asked} {problem}; there is: {known}.")


def _places(session: Session, run_id: str, child: Run) -> list[OutputPlace]:
    node_id = child.tags.get(NODE_ID) or child.properties.get(NODE_ID)
    if node_id is None:
        return []
    outputs = session.send(pipelines.get_node_outputs(run_id, node_id))
    return [_place(run_id, child, name, found) for name, found in outputs.items() if name not in _NOT_DATA]


def _place(run_id: str, child: Run, name: str, output: NodeOutput) -> OutputPlace:
    location = output.data_location
    reference = location.data_reference if location else None
    blob = reference.azure_blob_reference if reference else None
    if blob is None or not blob.aml_data_store_name:
        raise UnexpectedReplyError(f"Output {name!r} of step run {child.run_id} does not lie on a blob datastore.")
    path = (blob.relative_path or "").strip("/")
    step, reused = child.name or child.run_id, child.properties.get(REUSED_RUN_ID) or None
    return OutputPlace(run_id, child.run_id, step, name, blob.aml_data_store_name, path, reused)


def _known_steps(session: Session, run_id: str) -> str:
    names = [str(child.name) for child in step_runs(session, run_id)]
    return f"the steps {', '.join(names)}, without outputs" if names else "no step yet"
