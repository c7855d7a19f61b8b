"""The source of an exported DAG: safe whatever the service says, and complete."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from typing import Any

from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.schedules import DataStoreTriggerInfo, Schedule
from airflow_provider_amlbatch.cli.exported_dag import Export

STARTS = datetime(2026, 12, 3, 6, 30, tzinfo=UTC)
INFO = PipelineSubmissionInfo.model_validate(
    {
        "ExperimentName": "it's",
        "Description": 'says "hello"',
        "ParameterAssignments": {"label": "a\nb'\"\\", "other": "1"},
        "DataPathAssignments": {"place": {"DataStoreName": "store", "RelativePath": "in"}},
        "DataSetDefinitionValueAssignments": {
            "registered": {"DataSetReference": {"Id": "d-1", "Version": "3"}},
            "saved": {"SavedDataSetReference": {"Id": "s-1"}},
        },
        "ContinueRunOnStepFailure": True,
    }
)


def schedule(**fields: Any) -> Schedule:
    given = {"Id": "5e1f", "Name": "daily", "PipelineId": "p-1", "EntityStatus": "Disabled", **fields}
    return Schedule.model_validate(given).model_copy(update={"pipeline_submission_info": INFO})


def calls(source: str, name: str) -> dict[str, Any]:
    """The arguments of the one call of a name, read."""
    found = [
        node for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] == name
        and any(keyword.arg for keyword in node.keywords)
    ]  # fmt: skip
    (call,) = found[:1]
    return {str(keyword.arg): keyword.value for keyword in call.keywords}


def read(values: dict[str, Any], name: str) -> Any:
    return ast.literal_eval(values[name])


def test_all_that_the_schedule_hands_over_is_in_the_dag() -> None:
    recurrence = {
        "Frequency": "Week", "Interval": 2, "StartTime": "2026-12-01T00:00:00", "TimeZone": "UTC",
        "Schedule": {"Hours": [6], "Minutes": [30], "WeekDays": ["Monday"]},
    }  # fmt: skip
    source = Export(schedule(Recurrence=recurrence, ScheduleType="Recurrence"), STARTS, "my_conn").source()
    invoke = calls(source, "AzureMLInvokePipelineOperator")
    assert read(invoke, "pipeline_id") == "p-1"
    assert read(invoke, "azureml_conn_id") == "my_conn"
    assert read(invoke, "experiment_name") == "it's"
    assert read(invoke, "parameters") == {"label": "a\nb'\"\\", "other": "1"}
    assert read(invoke, "datasets") == {"registered": {"id": "d-1", "version": "3"}, "saved": {"saved_id": "s-1"}}
    assert read(invoke, "data_paths") == {"place": {"datastore": "store", "path": "in"}}
    assert read(invoke, "continue_on_step_failure") is True
    timetable = calls(source, "AzureMLRecurrenceTimetable")
    assert (read(timetable, "week_days"), read(timetable, "hours"), "created" in timetable) == (["Monday"], [6], False)
    assert "start_date=datetime(2026, 12, 3, 6, 30, tzinfo=UTC)" in source


def test_a_rule_without_start_gets_the_making_of_the_schedule() -> None:
    made = {"Recurrence": {"Frequency": "Hour", "Interval": 5}, "CreatedDate": "2026-11-21T10:07:08.5Z"}
    source = Export(schedule(**made), STARTS).source()
    assert "created=datetime(2026, 11, 21, 10, 7, 8, 500000, tzinfo=UTC)" in source


def test_a_name_cannot_leave_its_quotes() -> None:
    name = 'x"""\nimport os\nos.abort()\n"""\\'
    source = Export(schedule(Name=name, Recurrence={"Frequency": "Hour", "Interval": 5}), STARTS).source()
    statements = [type(node).__name__ for node in ast.parse(source).body]
    assert statements == ["Expr", "ImportFrom", "ImportFrom", "ImportFrom", "ImportFrom", "With"]
    assert "import os" not in [ast.unparse(node) for node in ast.parse(source).body]


def test_a_data_store_schedule_becomes_a_run_for_each_blob() -> None:
    trigger = DataStoreTriggerInfo(
        data_store_name="store", path_on_data_store="in", polling_interval=7, data_path_parameter_name="place"
    )
    watched = schedule(ScheduleType="DataStore").model_copy(update={"data_store_trigger_info": trigger})
    source = Export(watched, STARTS).source()
    sensor = calls(source, "AzureMLBlobChangeSensor")
    assert [read(sensor, name) for name in ("datastore", "path", "mode", "poke_interval")] == [
        "store", "in", "per_blob", 420,
    ]  # fmt: skip
    assert "data_paths=changed.output.map(lambda blob: {'place': blob})" in source
    assert source.count("data_paths=") == 1
