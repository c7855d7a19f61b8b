"""Where a sensor stands in a list that it reads on from one DAG run to the next.

Airflow 3.3 and later keep state with an asset, which outlives DAG runs, retries and the cleaning of XComs: the sensor's
mark lies there. What a task instance has picked lies in its own task state as well, so that a retry, or a task that is
cleared later, hands on the same once more and not what is another's.

Airflow 3.1 and 3.2 know no state. There the mark is an XCom of the sensor's latest DAG run, which Airflow finds by
logical dates. A retry is safe there too; but clearing an old DAG run picks what later runs have picked, and a deleted
DAG run takes its mark with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_amlbatch.aml.watermark import Change, Watermark

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

#: XCom key of the mark before Airflow 3.3.
POSITION = "position"
_PICKED = "picked"


@dataclass(frozen=True)
class Picked:
    """What a task instance has picked: the changes, and what it made of them."""

    changes: Sequence[Change]
    value: Any

    def to_json(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {"changes": [[change.key, change.at] for change in self.changes], "value": self.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Picked:
        """Read what :meth:`to_json` wrote."""
        return cls([Change(key, at) for key, at in data["changes"]], data["value"])


class Position(Protocol):
    """The mark of a sensor, and what its task instance has picked."""

    def mark(self) -> Watermark | None:
        """Read the mark; None before the first pick of all."""

    def picked(self) -> Picked | None:
        """Read what an earlier try of this task instance has picked."""

    def pick(self, picked: Picked) -> None:
        """Keep what is picked now, before the mark moves."""

    def move(self, mark: Watermark) -> None:
        """Keep the mark."""


class StatePosition:
    """Kept in the state of an asset and of the task instance.

    :raises AirflowFailException: if the task does not name the asset, as a mapped one does not by itself.
    """

    def __init__(self, context: Context, asset: Asset) -> None:
        values: Any = context
        ti = values["ti"]
        self._asset = asset
        try:
            self._store = values["asset_state_store"][asset]
        except KeyError:
            raise self._unkept() from None
        self._own = values["task_state_store"]
        self._key = f"{ti.dag_id}/{ti.task_id}" + (f"/{ti.map_index}" if _is_mapped(ti) else "")

    def mark(self) -> Watermark | None:
        """Read the mark; None before the first pick of all."""
        kept = self._store.get(self._key)
        return None if kept is None else Watermark.from_json(kept)

    def picked(self) -> Picked | None:
        """Read what an earlier try of this task instance has picked."""
        kept = self._own.get(_PICKED)
        return None if kept is None else Picked.from_json(kept)

    def pick(self, picked: Picked) -> None:
        """Keep what is picked now, for as long as the DAG run is kept."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._own.set(_PICKED, picked.to_json(), retention=NEVER_EXPIRE)

    def move(self, mark: Watermark) -> None:
        """Keep the mark.

        :raises AirflowFailException: if Airflow does not keep it, as it does not for an asset that it does not know.
        """
        self._store.set(self._key, mark.to_json())
        if self._store.get(self._key) != mark.to_json():
            raise self._unkept()

    def _unkept(self) -> AirflowFailException:
        return AirflowFailException(
            f"Airflow does not keep the position of this sensor with asset {self._asset.name!r}. A mapped sensor has "
            "to name that asset itself: add it to inlets of partial()."
        )


class XComPosition:
    """Kept in an XCom of the sensor's latest DAG run, for Airflow 3.1 and 3.2.

    :raises AirflowFailException: if the DAG run has no logical date. Databases disagree on where such a run comes among
        the others, and one that is always the latest would have the same picked again and again.
    """

    def __init__(self, context: Context) -> None:
        values: Any = context
        if values.get("logical_date") is None:
            raise AirflowFailException(
                "This DAG run has no logical date, by which Airflow before 3.3 finds the position of the run before: "
                "trigger it with one, or let a schedule start it."
            )
        self._ti = values["ti"]

    def mark(self) -> Watermark | None:
        """Read the mark of the latest DAG run before this one."""
        ti = self._ti
        # Without an index Airflow gives a list of all that the runs before have kept.
        index = ti.map_index if _is_mapped(ti) else -1
        kept = ti.xcom_pull(task_ids=ti.task_id, key=POSITION, map_indexes=index, include_prior_dates=True)
        return None if kept is None else Watermark.from_json(kept)

    def picked(self) -> Picked | None:
        """Nothing: Airflow has dropped this DAG run's XComs, and the mark is still the one before it."""
        return None

    def pick(self, picked: Picked) -> None:
        """Keep nothing: a retry starts from the same mark."""

    def move(self, mark: Watermark) -> None:
        """Keep the mark for the next DAG run."""
        self._ti.xcom_push(key=POSITION, value=mark.to_json())


def position_of(context: Context, asset: Asset) -> Position:
    """Open the position of a sensor.

    :param asset: an inlet of the sensor.
    """
    return StatePosition(context, asset) if "task_state_store" in context else XComPosition(context)


def _is_mapped(ti: Any) -> bool:
    return ti.map_index is not None and ti.map_index >= 0
