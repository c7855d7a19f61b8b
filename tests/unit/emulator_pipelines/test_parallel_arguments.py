from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.services.parallel_arguments import CommandLine

#: What the SDK sends for the worked example of the wire reference.
SETTINGS: tuple[Any, ...] = (
    *("--client_sdk_version", "1.61.0", "--scoring_module_name", "batch_diabetes.py", "--mini_batch_size", "5"),
    *("--error_threshold", "10", "--output_action", "append_row", "--logging_level", "INFO"),
    *("--run_invocation_timeout", "600", "--run_max_try", "3", "--create_snapshot_at_runtime", "True"),
    *("--append_row_file_name", "parallel_run_step.txt", "--output", {"output": "inferences"}),
    *("--process_count_per_node", "2"),
)


def line(*user: Any, inputs: tuple[Any, ...] = ("--input_fds_0", "diabetes_batch"), **changed: str) -> CommandLine:
    settings = list(SETTINGS)
    for name, value in changed.items():
        flag = f"--{name}"
        if flag in settings:
            settings[settings.index(flag) + 1] = value
        else:
            settings += [flag, value]
    return CommandLine.parse((*settings, *user, *inputs))


def test_the_worked_example_is_read() -> None:
    parsed = line("--threshold", "0.5")
    settings = parsed.to_settings(node_count=2)
    assert parsed.user == ("--threshold", "0.5")
    assert settings.entry_script == "batch_diabetes.py"
    assert settings.input_names == ("diabetes_batch",)
    assert (settings.mini_batch_size, settings.error_threshold, settings.output_action) == (5, 10, "append_row")
    assert (settings.run_invocation_timeout, settings.run_max_try, settings.logging_level) == (600, 3, "INFO")
    assert (settings.output_name, settings.append_row_file_name) == ("inferences", "parallel_run_step.txt")
    assert (settings.node_count, settings.process_count_per_node) == (2, 2)
    assert settings.allowed_failed_count is None
    assert settings.partition_keys is None


def test_a_users_argument_that_looks_like_a_setting_stays_the_users() -> None:
    parsed = line("--mine", "1", "--logging_level_of_mine", "x", "--input_fds_0", "not the last")
    assert parsed.user == ("--mine", "1", "--logging_level_of_mine", "x")
    assert parsed.input_names == ("not the last", "diabetes_batch")


def test_inputs_are_read_in_their_order_whatever_their_kind() -> None:
    inputs = (
        "--input_ds_0",
        "a",
        "--input_ds_1",
        "b",
        "--input2",
        {"input": "c"},
        "--input_pipeline_param_0",
        {"input": "a"},
    )
    assert line(inputs=inputs).input_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("1kb", 1024), ("1MB", 1 << 20), ("3Gb", 3 << 30), ("1048576", 1 << 20)]
)
def test_sizes_are_read_as_the_driver_reads_them(text: str, size: int) -> None:
    assert line(mini_batch_size=text).to_settings(1).mini_batch_size == size


def test_optional_settings_and_the_drivers_own_are_read() -> None:
    parsed = line(
        *("--append_row_dataframe_header", "True", "--task_overhead_timeout=5", "--progress_update_timeout", "70"),
        *("--resource_monitor_interval", "0", "--rank_mini_batch_count=4"),
        allowed_failed_count="3",
        allowed_failed_percent="12.5",
        partition_keys='["store", "brand"]',
        output_action="Summary_Only",
    )
    settings = parsed.to_settings(1)
    assert (settings.allowed_failed_count, settings.allowed_failed_percent) == (3, 12.5)
    assert settings.partition_keys == ("store", "brand")
    assert settings.output_action == "summary_only"
    assert settings.append_row_dataframe_header is True
    assert (settings.task_overhead_timeout, settings.progress_update_timeout) == (5, 70)
    assert (settings.resource_monitor_interval, settings.rank_mini_batch_count) == (0, 4)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"mini_batch_size": "many"}, "'mini_batch_size' cannot be 'many'"),
        ({"mini_batch_size": "1kbkb"}, "1kbkb"),
        ({"mini_batch_size": "0"}, "positive"),
        ({"process_count_per_node": "0"}, "at least 1"),
        ({"run_max_try": "x"}, "run_max_try"),
        ({"partition_keys": '{"a": 1}'}, "JSON list"),
        ({"partition_keys": "a"}, "partition_keys"),
        ({"output_action": "append"}, "summary_only"),
        ({"scoring_module_name": ""}, "entry script"),
        ({"error_threshold": "-2"}, "at least -1"),
        ({"allowed_failed_count": "-2"}, "at least -1"),
        ({"allowed_failed_percent": "101"}, "between 0 and 100"),
        ({"logging_level": "LOUD"}, "WARNING, INFO, DEBUG"),
        ({"append_row_file_name": "../scores.txt"}, "append_row_file_name"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(changed: dict[str, Any], part: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        line(**changed).to_settings(1)
    assert part in refusal.value.message


def test_a_number_of_empty_mini_batches_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadRequest, match="rank_mini_batch_count"):
        line("--rank_mini_batch_count", "many").to_settings(1)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_a_time_that_cannot_be_is_refused_by_name(value: str) -> None:
    with pytest.raises(BadRequest, match="progress_update_timeout"):
        line(f"--progress_update_timeout={value}").to_settings(1)


def test_what_the_emulator_does_not_do_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="copy_logs_to_parent"):
        line("--copy_logs_to_parent", "x").to_settings(1)
