"""A DAG file that does what an Azure ML schedule does, written for people to read and to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.recurrence import ScheduleRecurrence
from airflow_provider_amlbatch.aml.schedules import Schedule
from airflow_provider_amlbatch.aml.settings import DEFAULT_CONNECTION

_MODULES = "airflow_provider_amlbatch"
_LONGEST_LINE = 110


@dataclass(frozen=True)
class Export:
    """What a DAG file is made from.

    :param schedule: the schedule.
    :param starts: the first instant that is Airflow's, aware.
    :param endpoint_name: name of the pipeline endpoint that it runs, if it runs one.
    """

    schedule: Schedule
    starts: datetime
    conn_id: str = DEFAULT_CONNECTION
    dag_id: str | None = None
    endpoint_name: str | None = None

    def source(self) -> str:
        """Write the DAG file."""
        body = self._for_blobs() if self.schedule.is_reactive else self._for_recurrence()
        return f"{_docstring(self._about())}\n\n{body}"

    def _about(self) -> list[str]:
        schedule = self.schedule
        target = (
            f"pipeline endpoint {self.endpoint_name!r}" if self.endpoint_name else f"pipeline {schedule.pipeline_id}"
        )
        lines = [f"In place of the Azure ML schedule {schedule.name!r} ({schedule.id}), which runs {target}.", ""]
        if schedule.recurrence is not None and not schedule.is_reactive:
            rule = ScheduleRecurrence.from_wire(schedule.recurrence)
            lines += [rule.describe(), *rule.warnings(), ""]
        else:
            lines += ["One run for each blob that is new or changed, as Azure makes them.", ""]
        if schedule.is_active:
            lines += [
                f"The Azure schedule is still active: before this DAG is unpaused, run `amlbatch schedules takeover "
                f"{schedule.id}`",
                "and export again, so that the DAG starts where Azure ends.",
            ]
        else:
            lines += ["The Azure schedule is disabled, and start_date is where it ended."]
        return lines

    def _for_recurrence(self) -> str:
        rule = ScheduleRecurrence.from_wire(self.schedule.recurrence)  # type: ignore[arg-type]
        names = ("start_time", "time_zone", "hours", "minutes", "week_days")
        given = {name: getattr(rule, name) for name in names}
        options = {name: _plain(value) for name, value in given.items() if value is not None}
        if rule.start_time is None and self.schedule.created_date is not None:
            # Such a rule counts from the making of the schedule.
            options["created"] = self.schedule.created_date
        timetable = _call("AzureMLRecurrenceTimetable", [rule.frequency, rule.interval], options, 4)
        return (
            "from datetime import UTC, datetime\n\nfrom airflow.sdk import DAG\n\n"
            f"from {_MODULES}.operators.pipelines import AzureMLInvokePipelineOperator\n"
            f"from {_MODULES}.timetables.recurrence import AzureMLRecurrenceTimetable\n\n"
            "with DAG(\n"
            f"    {self._dag_id()!r},\n"
            f"    schedule={timetable},\n"
            f"    start_date={_literal(self.starts)},  # the first slot that Azure does not fire\n"
            "    catchup=True,  # slots that pass before the DAG is unpaused are run then, so that none is lost\n"
            "    max_active_runs=1,  # Azure would start a run although the last one has not ended\n"
            "):\n"
            f"    {self._invoke()}\n"
        )

    def _for_blobs(self) -> str:
        trigger = self.schedule.data_store_trigger_info
        assert trigger is not None
        options: dict[str, Any] = {
            "task_id": "changed",
            "azureml_conn_id": self.conn_id,
            "datastore": trigger.data_store_name,
            "path": trigger.path_on_data_store or "",
            "mode": "per_blob",
            "since": self.starts,
            "poke_interval": 60 * (trigger.polling_interval or 5),
            "deferrable": True,
            "soft_fail": True,
        }
        sensor = _call("AzureMLBlobChangeSensor", [], options, 4)
        name = trigger.data_path_parameter_name
        each = (
            f"data_paths=changed.output.map(lambda blob: {{{name!r}: blob}})"
            if name
            else ('description=changed.output.map(lambda blob: blob["path"])')
        )
        return (
            "from datetime import UTC, datetime\n\nfrom airflow.sdk import DAG\n\n"
            f"from {_MODULES}.operators.pipelines import AzureMLInvokePipelineOperator\n"
            f"from {_MODULES}.sensors.schedules import AzureMLBlobChangeSensor\n\n"
            f'with DAG({self._dag_id()!r}, schedule="@continuous", start_date={_literal(self.starts)}, '
            "max_active_runs=1):\n"
            f"    changed = {sensor}\n"
            f"    {self._invoke('.partial')}.expand(\n        {each}\n    )\n"
        )

    def _dag_id(self) -> str:
        return self.dag_id or re.sub(r"[^A-Za-z0-9_.-]+", "_", self.schedule.name or self.schedule.id).strip("_")

    def _invoke(self, method: str = "") -> str:
        info = self.schedule.pipeline_submission_info or PipelineSubmissionInfo()
        options: dict[str, Any] = {"task_id": "invoke", "azureml_conn_id": self.conn_id}
        if self.endpoint_name:
            options["pipeline_endpoint"] = self.endpoint_name
        else:
            options["pipeline_id"] = self.schedule.pipeline_id
        options |= {
            "experiment_name": info.experiment_name,
            "description": None if method and not self._has_parameter() else info.description,
            "parameters": info.parameter_assignments or None,
            "datasets": _datasets(info) or None,
            "data_paths": None if method and self._has_parameter() else _data_paths(info) or None,
            "continue_on_step_failure": info.continue_run_on_step_failure,
            "deferrable": True,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return _call(f"AzureMLInvokePipelineOperator{method}", [], given, 4)

    def _has_parameter(self) -> bool:
        trigger = self.schedule.data_store_trigger_info
        return trigger is not None and bool(trigger.data_path_parameter_name)


def _datasets(info: PipelineSubmissionInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in (info.data_set_definition_value_assignments or {}).items():
        if value.data_set_reference is not None:
            reference = value.data_set_reference
            found[name] = {"id": reference.id} | ({"version": reference.version} if reference.version else {})
        elif value.saved_data_set_reference is not None:
            found[name] = {"saved_id": value.saved_data_set_reference.id}
    return found


def _data_paths(info: PipelineSubmissionInfo) -> dict[str, Any]:
    places = dict(info.data_path_assignments or {})
    for name, value in (info.data_set_definition_value_assignments or {}).items():
        if value.literal_value is not None:
            places[name] = value.literal_value
    return {
        name: {"datastore": place.data_store_name, "path": place.relative_path or ""} for name, place in places.items()
    }


def _docstring(lines: Iterable[str]) -> str:
    # Names come from the service and may hold anything.
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""'


def _call(name: str, positional: list[Any], options: Mapping[str, Any], indent: int) -> str:
    arguments = [_literal(value, indent + 4) for value in positional]
    arguments += [f"{option}={_literal(value, indent + 4)}" for option, value in options.items()]
    return f"{name}({_spread(arguments, indent)})"


def _spread(items: list[str], indent: int) -> str:
    """Put items in one line if it is short, otherwise each in its own."""
    line = ", ".join(items)
    if indent + len(line) < _LONGEST_LINE - 40 and "\n" not in line:
        return line
    inner = " " * (indent + 4)
    return "".join(f"\n{inner}{item}," for item in items) + "\n" + " " * indent


def _literal(value: Any, indent: int = 0) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        parts = [utc.year, utc.month, utc.day, utc.hour, utc.minute]
        parts += [utc.second, utc.microsecond] if utc.second or utc.microsecond else []
        return f"datetime({', '.join(str(part) for part in parts)}, tzinfo=UTC)"
    if isinstance(value, Mapping):
        return "{" + _spread([f"{key!r}: {_literal(item, indent + 4)}" for key, item in value.items()], indent) + "}"
    return repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
