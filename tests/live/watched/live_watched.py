"""A DAG that is started by the events of two watched lists: blobs of a folder, and runs of an Azure schedule.

A further asset watches the same blobs with an equal trigger, for a DAG that does nothing.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_amlbatch.triggers.schedules import AzureMLBlobChangeEventTrigger, AzureMLScheduledRunEventTrigger

SINCE = "2026-01-01T00:00:00+00:00"
ARRIVALS, AUDITED = (
    Asset(
        name,
        watchers=[
            AssetWatcher(
                name="blobs",
                trigger=AzureMLBlobChangeEventTrigger("workspaceblobstore", "arriving", poll_interval=1, since=SINCE),
            )
        ],
    )
    for name in ("live-arrivals", "live-audited")
)
FIRED = Asset(
    "live-fired",
    watchers=[
        AssetWatcher(name="runs", trigger=AzureMLScheduledRunEventTrigger("live-watched", poll_interval=1, since=SINCE))
    ],
)

with DAG("live_watched", schedule=(ARRIVALS | FIRED), is_paused_upon_creation=False):

    @task
    def payloads(triggering_asset_events=None) -> list:  # type: ignore[no-untyped-def, type-arg]
        """What the events that started this run tell."""
        return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]

    payloads()

# Airflow watches for no asset that starts no DAG.
with DAG("live_audited", schedule=[AUDITED], is_paused_upon_creation=False):
    EmptyOperator(task_id="nothing")
