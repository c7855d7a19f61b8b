"""What Airflow keeps for tasks: state of assets, state of task instances, XComs; in dictionaries."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

from airflow.providers.common.compat.sdk import Asset, Context
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import (
    AssetStateStoreResult,
    ErrorResponse,
    GetAssetStateStoreByName,
    SetAssetStateStoreByName,
)
from airflow.sdk.execution_time.context import AssetStateStoreAccessors

#: So long a key may be in Airflow's database.
LONGEST_KEY = 512


class KeyedState:
    """One scope of state. Values go through JSON, as they do in Airflow."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        return json.loads(self._kept[key]) if key in self._kept else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value."""
        assert len(key) <= LONGEST_KEY, f"Airflow's database takes no key of {len(key)} characters."
        self._kept[key] = json.dumps(value)

    async def aget(self, key: str) -> Any:
        """The value of a key."""
        return self.get(key)

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.set(key, value)


@dataclass
class AirflowState:
    """A deployment. ``knows_state`` is False before Airflow 3.3."""

    knows_state: bool = True
    assets: dict[str, KeyedState] = field(default_factory=dict)
    tasks: dict[str, KeyedState] = field(default_factory=dict)
    #: (run_id, key) -> value, in order of the DAG runs.
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)

    def context(self, run_id: str, started: datetime) -> Context:
        """What a try of the sensor is given; Airflow drops a task instance's XComs when a try begins."""
        self.xcoms = {key: value for key, value in self.xcoms.items() if key[0] != run_id}

        def pull(*, task_ids: str, key: str, map_indexes: int | None = None, include_prior_dates: bool) -> Any:
            runs = sorted(run for run, name in self.xcoms if name == key and run <= run_id)
            if map_indexes is None and len(runs) > 1:
                return [self.xcoms[run, key] for run in runs]
            return self.xcoms[runs[-1], key] if runs else None

        def push(key: str, value: Any) -> None:
            self.xcoms[run_id, key] = json.loads(json.dumps(value))

        ti = SimpleNamespace(
            dag_id="mirror", task_id="sensor", run_id=run_id, map_index=-1, start_date=started,
            xcom_pull=pull, xcom_push=push,
        )  # fmt: skip
        values: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(start_date=started), "logical_date": started}
        if self.knows_state:
            values["task_state_store"] = self.tasks.setdefault(run_id, KeyedState())
            values["asset_state_store"] = AssetStates(self.assets)
        return cast(Context, values)


class AssetStates:
    """The state of each asset, by asset."""

    def __init__(self, assets: dict[str, KeyedState]) -> None:
        self._assets = assets

    def __getitem__(self, asset: Any) -> KeyedState:
        return self._assets.setdefault(asset.name, KeyedState())


class StateSupervisor:
    """What keeps the states of assets for a triggerer: the other end of Airflow's own accessors."""

    def __init__(self) -> None:
        self.assets: dict[str, KeyedState] = {}

    def accessors(self, *names: str) -> AssetStateStoreAccessors:
        """What the triggerer hands to a trigger that watches for these assets."""
        return AssetStateStoreAccessors(inlets=[Asset(name) for name in names])

    def send(self, message: Any) -> None:
        """Airflow tells which words of a connection its logs must not show."""

    async def asend(self, message: Any) -> Any:
        """Answer an accessor."""
        if isinstance(message, SetAssetStateStoreByName):
            self.assets.setdefault(message.name, KeyedState()).set(message.key, message.value)
        if isinstance(message, GetAssetStateStoreByName):
            kept = self.assets.setdefault(message.name, KeyedState()).get(message.key)
            return (
                ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)
                if kept is None
                else AssetStateStoreResult(value=kept)
            )
        return None
