"""A DAG that is started by the events of two watched lists: blobs of a folder, and runs of an Azure schedule."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_amlbatch.triggers.schedules import AzureMLBlobChangeEventTrigger, AzureMLScheduledRunEventTrigger

SINCE = "2026-01-01T00:00:00+00:00"
ARRIVALS = Asset(
    "live-arrivals",
    watchers=[
        AssetWatcher(
            name="blobs",
            trigger=AzureMLBlobChangeEventTrigger("workspaceblobstore", "arriving", poll_interval=1, since=SINCE),
        )
    ],
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
