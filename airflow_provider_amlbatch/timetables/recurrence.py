"""A DAG's schedule by the rules of an Azure ML schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from airflow_provider_amlbatch.aml.errors import ArgumentError
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence

#: How late a slot may be and still start its run when ``catchup`` is off, unless told otherwise. Airflow computes the
#: next run afresh each time it parses the DAG file, also while the run of a slot that has passed is still to be made:
#: because the scheduler was away, or because ``max_active_runs`` are going on.
GRACE = timedelta(hours=1)

_TICK = timedelta(microseconds=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class AzureMLRecurrenceTimetable(Timetable):
    """Run a DAG when an Azure ML schedule with the same recurrence would fire.

    The first nine arguments are those of the SDK's ``ScheduleRecurrence``, with the same meaning; see
    :mod:`airflow_provider_amlbatch.aml.recurrence` for the rules.

    A run's data interval is by default the slot itself, start and end. Azure knows no interval: a schedule fires, and
    what it hands on is the instant. So ``logical_date`` is the instant at which Azure would have fired, the first slot
    after the DAG's ``start_date`` runs, and dates in file names stay what they were. With ``interval_style`` the
    interval of a run reaches from the slot before to its own slot, and the first slot only opens the first interval.

    With ``catchup=False`` slots that passed while the DAG was paused are dropped, as Azure drops them. A slot counts as
    passed when it is older than ``grace``, or when a later one is due: a slot is not lost to a short outage of Airflow,
    or to a run that keeps a DAG with ``max_active_runs=1`` beyond it, and of several late ones the last one runs.

    A rule without ``start_time`` counts from the instant at which the schedule was made. Airflow knows no such instant:
    it is ``created`` if that is given, otherwise the DAG's ``start_date`` (the earliest one of its tasks). Give
    ``created`` if you mean to backfill such a DAG, for a backfill puts its own first date in the place of
    ``start_date``. Rules that say everything themselves (every day, or every week on given days, at given hours and
    minutes) need neither.

    Azure starts a new run although the last one has not ended: choose the DAG's ``max_active_runs`` on purpose.

    :param month_end: what Month does in a month that lacks the day of ``start_time``: ``clamp`` runs on its last day,
        ``skip`` does not run.
    :param created: the instant from which a rule without ``start_time`` counts, aware.
    :param interval_style: make data intervals reach from slot to slot; needs ``start_time``.
    :param run_on_create: without ``start_time``, run at once when the DAG is first scheduled, as Azure does when a
        schedule is made; a backfill then begins with a run at its first date. Off by default, because to unpause a DAG
        is not to make a schedule.
    :param grace: how late a slot may be and still start its run, with ``catchup=False``. Within that time after a slot,
        to unpause the DAG starts its run at once.
    :raises ArgumentError: if Azure would refuse the rule, or if the options contradict it.
    """

    def __init__(
        self,
        frequency: str,
        interval: int,
        start_time: datetime | str | None = None,
        time_zone: str | None = None,
        hours: Sequence[int] | None = None,
        minutes: Sequence[int] | None = None,
        week_days: Sequence[str] | None = None,
        time_of_day: str | None = None,
        month_end: str = "clamp",
        *,
        created: datetime | None = None,
        interval_style: bool = False,
        run_on_create: bool = False,
        grace: timedelta = GRACE,
    ) -> None:
        self.recurrence = ScheduleRecurrence(
            frequency, interval, start_time, time_zone, hours, minutes, week_days, time_of_day, month_end
        )
        if start_time is None and interval_style:
            raise ArgumentError("interval_style=True needs start_time: intervals have to begin somewhere.")
        if start_time is not None and (run_on_create or created is not None):
            raise ArgumentError(
                "run_on_create and created apply to a rule without start_time only; this one starts at "
                f"{start_time!r}: leave them out."
            )
        if created is not None and created.tzinfo is None:
            raise ArgumentError(f"created must be an aware datetime, not {created.isoformat()} without a time zone.")
        if grace <= timedelta(0):
            raise ArgumentError(f"grace is {grace}; it must be longer than no time, as Airflow is never quite on time.")
        self.created = None if created is None else created.astimezone(UTC)
        self.interval_style = interval_style
        self.run_on_create = run_on_create
        self.grace = grace
        creation = "the start_date" if self.created is None else f"{self.created:%Y-%m-%d %H:%M} UTC"
        self.description = self.recurrence.describe(creation)

    @classmethod
    def from_schedule_recurrence(
        cls,
        recurrence: Any,
        *,
        month_end: str = "clamp",
        created: datetime | None = None,
        interval_style: bool = False,
        run_on_create: bool = False,
        grace: timedelta = GRACE,
    ) -> Self:
        """Take the rule from ``azureml.pipeline.core.ScheduleRecurrence``, or from anything with its attributes."""
        rule = ScheduleRecurrence.from_sdk(recurrence, month_end=month_end)
        return cls(
            **_arguments(rule),
            created=created,
            interval_style=interval_style,
            run_on_create=run_on_create,
            grace=grace,
        )

    @property
    def summary(self) -> str:
        """What the DAG list shows."""
        return self.recurrence.summary()

    def serialize(self) -> dict[str, Any]:
        """Write the arguments as JSON-safe values."""
        arguments = _arguments(self.recurrence)
        start = self.recurrence.start_time
        return {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()},
            "start_time": None if start is None else start.isoformat(),
            "created": None if self.created is None else self.created.isoformat(),
            "interval_style": self.interval_style,
            "run_on_create": self.run_on_create,
            "grace": self.grace.total_seconds(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Rebuild a timetable from what :meth:`serialize` wrote."""
        created = data["created"]
        return cls(
            **{
                **data,
                "created": None if created is None else datetime.fromisoformat(created),
                "grace": timedelta(seconds=data.get("grace", GRACE.total_seconds())),
            }
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AzureMLRecurrenceTimetable) and self.serialize() == other.serialize()

    def __hash__(self) -> int:
        return hash((self.recurrence, self.created, self.interval_style, self.run_on_create, self.grace))

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return the interval of a run that a person starts: that instant, or the last whole interval before it."""
        if not self.interval_style:
            return DataInterval.exact(run_after)
        created = self._creation(None)
        end = self._slot_before(run_after + _TICK, created)
        start = None if end is None else self._slot_before(end, created)
        if start is None or end is None:
            return DataInterval.exact(run_after)
        return DataInterval(pendulum.instance(start), pendulum.instance(end))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run, or None if none is to come before the DAG's end date."""
        return self.next_run_at(datetime.now(UTC), last_automated_data_interval, restriction)

    def next_run_at(self, now: datetime, last: DataInterval | None, restriction: TimeRestriction) -> DagRunInfo | None:
        """Return the next run as it is to be at an instant.

        :param now: aware.
        :param last: the interval of the last run that was not started by a person.
        :param restriction: the DAG's start date, end date and ``catchup``.
        :raises ArgumentError: if the rule needs an instant to count from and there is none.
        """
        if last is None and self.run_on_create:
            start_date = restriction.earliest or now
            first = start_date if restriction.catchup else max(start_date, now)
            return self._run(first, first, restriction)
        created = self._creation(restriction.earliest)
        begin = self._slot_after(self._floor(now, last, restriction), created)
        if not restriction.catchup:
            begin = max(begin, self._oldest_due(now, created))
        return self._run(begin, self._slot_after(begin, created) if self.interval_style else begin, restriction)

    def _floor(self, now: datetime, last: DataInterval | None, restriction: TimeRestriction) -> datetime:
        """The next interval begins after this instant, whatever the clock says."""
        floors: list[datetime] = []
        if restriction.earliest is not None:
            floors.append(restriction.earliest - _TICK)
        if last is not None:
            # The end of an interval is the beginning of the next; never the same beginning twice, or Airflow stalls.
            floors.append(max(last.end - _TICK, last.start) if self.interval_style else last.end)
        return max(floors, default=now - self.grace)

    def _oldest_due(self, now: datetime, created: datetime) -> datetime:
        """The beginning of the oldest interval that is not missed: its slot is due since a moment ago, or next."""
        slot = self._slot_before(now + _TICK, created)
        if slot is None or slot <= now - self.grace:
            slot = self._slot_after(now, created)
        if not self.interval_style:
            return slot
        return self._slot_before(slot, created) or slot

    def _run(self, start: datetime, end: datetime, restriction: TimeRestriction) -> DagRunInfo | None:
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(pendulum.instance(start), pendulum.instance(end))

    def _creation(self, earliest: datetime | None) -> datetime:
        """The instant that stands for the making of the schedule."""
        if self.recurrence.start is not None:
            return self.recurrence.start
        if self.created is not None:
            return self.created
        if not self.recurrence.needs_anchor:
            return _LONG_AGO
        if earliest is not None:
            return earliest
        raise ArgumentError(
            f"{self.recurrence.summary()!r} counts from an instant: give the timetable start_time or created, or the "
            "DAG a start_date."
        )

    def _slot_after(self, instant: datetime, created: datetime) -> datetime:
        if self.recurrence.start_time is None:
            # The run at the instant of creation is no slot; run_on_create decides about it.
            instant = max(instant, created)
        return self.recurrence.next_after(instant, created=created)

    def _slot_before(self, instant: datetime, created: datetime) -> datetime | None:
        found = self.recurrence.previous_before(instant, created=created)
        return None if found == created and self.recurrence.start_time is None else found


def _arguments(rule: ScheduleRecurrence) -> dict[str, Any]:
    names = ("frequency", "interval", "start_time", "time_zone", "hours", "minutes", "week_days", "month_end")
    return {name: getattr(rule, name) for name in names}
