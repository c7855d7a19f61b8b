"""What OpenLineage is told about a task, where its provider is installed: that one calls, and nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found, unused-ignore]

    from airflow_provider_amlbatch.aml.lineage import DataName
    from airflow_provider_amlbatch.aml.session import Session


def of_run(session: Session, run_id: str) -> OperatorLineage:
    """Tell what a run was given and where its steps write."""
    from airflow_provider_amlbatch.aml import lineage

    return _lineage(run_id, lineage.inputs_of(session, run_id), _datasets(lineage.outputs_of(session, run_id)))


def of_collected(session: Session, collected: Mapping[str, Any]) -> OperatorLineage:
    """Tell of a table that was collected.

    :param collected: what the operator returned.
    """
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    from airflow_provider_amlbatch.aml import lineage

    table = lineage.of_file(collected["uri"])
    counted = {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=collected["rows"])}
    read = lineage.of_blob(session, *collected["output"].split("/", 1))
    written = OutputDataset(namespace=table.namespace, name=table.name, outputFacets=counted)
    return _lineage(collected["run_id"], [read], [written])


def _lineage(run_id: str, inputs: Iterable[DataName], outputs: list[Any]) -> OperatorLineage:
    from airflow.providers.common.compat.openlineage.facet import ExternalQueryRunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    run = ExternalQueryRunFacet(externalQueryId=run_id, source="azureml")
    return OperatorLineage(inputs=_datasets(inputs), outputs=outputs, run_facets={"externalQuery": run})


def _datasets(names: Iterable[DataName]) -> list[Any]:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    return [Dataset(namespace=one.namespace, name=one.name) for one in names]
