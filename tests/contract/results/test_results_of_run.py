"""A run's results by its id: the job's own counts, which the step posts as metrics, against the rows that came."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_provider_amlbatch.aml import pipelines
from airflow_provider_amlbatch.aml.pipelines import PipelineSubmissionInfo
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import ConnectionSettings
from airflow_provider_amlbatch.cli import main
from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook
from airflow_provider_amlbatch.results.errors import ExtraKeys, FormatError, IncompleteResult
from airflow_provider_amlbatch.results.job import job_counts
from airflow_provider_amlbatch.results.of_run import Inputs
from airflow_provider_amlbatch.results.reconcile import JobCounts, Reconcile
from airflow_provider_amlbatch.sdk import publishing
from airflow_provider_amlbatch.sdk.spec import BatchPipeline, Compute, Environment, Input, Output, ParallelRun
from airflow_provider_amlbatch.testing import ServedEmulator

#: Files are named by numbers; every tenth gets no row.
SCRIPT = (
    "from pathlib import Path\n\n\ndef run(mini_batch):\n    names = [Path(path).name for path in mini_batch]\n"
    "    return [f'{name}: {len(name)}' for name in names if not name.endswith('0.csv')]\n"
)
FILES = 40


@pytest.fixture(scope="module")
def hook(emulator: ServedEmulator) -> AzureMLBatchHook:
    session = Session(ConnectionSettings.from_json("azureml_default", emulator.connection_json))
    hook = AzureMLBatchHook(session=session)
    container = hook.container_client("workspaceblobstore")
    for number in range(FILES):
        container.upload_blob(f"counted/{number:02d}.csv", b"1", overwrite=True)
    return hook


@pytest.fixture(scope="module")
def submit(hook: AzureMLBatchHook, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    source = tmp_path_factory.mktemp("source")
    (source / "score.py").write_text(SCRIPT)
    step = ParallelRun(
        name="names",
        source_directory=source,
        entry_script="score.py",
        inputs=[Input("files", path="counted/*.csv")],
        environment=Environment("plain", pip_packages=["azureml-defaults"]),
        compute_target=Compute("cpu-counted", "STANDARD_D2_V2", max_nodes=1),
        error_threshold=-1,
        process_count_per_node=1,
        allow_reuse=True,
        output=Output("names"),
    )
    published = publishing.publish(hook.session, BatchPipeline("counted", step), python=sys.executable)

    def submit() -> str:
        info = PipelineSubmissionInfo(experiment_name="counted")
        run = hook.session.send(pipelines.submit_pipeline(published.pipeline.id, info))
        assert hook.wait(run.id, poll_interval=0.3, timeout=120).succeeded
        return run.id

    return submit


@pytest.fixture(scope="module")
def run_id(submit: Callable[[], str]) -> str:
    return submit()


def test_a_plain_collect_compares_the_rows_with_the_jobs_own_counts(
    hook: AzureMLBatchHook, run_id: str, tmp_path: Path
) -> None:
    found = hook.collect(run_id, tmp_path / "names.parquet").collected

    assert found.rows == FILES - FILES // 10
    assert found.reconciliation is not None
    assert found.reconciliation.job == JobCounts(total_items=40, succeeded_items=36, failed_items=4)
    assert found.reconciliation.problems() == ["the job counts 4 failed items"]
    assert found.reconciliation.distinct is None, "nobody asked for keys to be counted"


def test_the_jobs_own_counts_tell_whether_the_result_is_complete(
    hook: AzureMLBatchHook, run_id: str, tmp_path: Path
) -> None:
    table = tmp_path / "names.parquet"
    with pytest.raises(IncompleteResult, match=r"90\.00% of the inputs have a row, 100\.00% are required"):
        hook.collect(run_id, table, reconcile=Reconcile(require_complete=True))
    assert not table.exists()
    found = hook.collect(run_id, table, reconcile=Reconcile(require_complete=0.9)).collected
    assert found.reconciliation is not None
    assert found.reconciliation.complete == pytest.approx(0.9)
    with pytest.raises(FormatError, match=r"the rows of '\*\.txt' need not be the job's items"):
        hook.collect(run_id, table, files="*.txt", reconcile=Reconcile(require_complete=True))


def test_of_a_reused_step_the_counts_of_the_run_that_wrote_the_output_are_read(
    hook: AzureMLBatchHook, run_id: str, submit: Callable[[], str], tmp_path: Path
) -> None:
    again = submit()
    ran, reused = (hook.step_output(one).step_run_id for one in (run_id, again))
    assert job_counts(hook.session, reused) is None, "it counted nothing itself"

    result = hook.collect(again, tmp_path / "names.parquet", reconcile=Reconcile(require_complete=0.9))

    told = result.to_json()
    assert (told["run_id"], told["step_run_id"], told["reused_step_run_id"]) == (again, reused, ran)
    assert told["reconciliation"]["job"]["total_items"] == FILES
    assert hook.collect(run_id, tmp_path / "names.parquet").to_json()["reused_step_run_id"] is None


def test_a_row_that_no_input_explains_fails_a_strict_collect(
    hook: AzureMLBatchHook, run_id: str, tmp_path: Path
) -> None:
    inputs, rules = Inputs("workspaceblobstore", "counted/0*.csv"), Reconcile(require_complete=0.9, on_extra="error")
    with pytest.raises(ExtraKeys, match="27 keys without an input"):
        hook.collect(run_id, tmp_path / "names.parquet", inputs=inputs, reconcile=rules)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("listed/*.csv", ["1.csv", "[2].csv"]),
        ("/listed/[2].*", ["[2].csv"]),
        ("listed/?.csv", ["1.csv"]),
        ("listed/**/*.csv", ["1.csv", "[2].csv", "archive/old.csv"]),
        ("listed", ["1.csv", "[2].csv", "archive/old.csv", "notes.txt"]),
        ("listed/none/*", []),
        ("/listed/notes.txt", ["notes.txt"]),
    ],
)
def test_inputs_are_listed_as_a_dataset_lists_them(hook: AzureMLBatchHook, path: str, wanted: list[str]) -> None:
    container = hook.container_client("workspaceblobstore")
    for name in ("listed/1.csv", "listed/[2].csv", "listed/archive/old.csv", "listed/notes.txt", "listed2/1.csv"):
        container.upload_blob(name, b"1", overwrite=True)
    names = [f"listed/{name}" for name in wanted]
    assert sorted(Inputs("workspaceblobstore", path).names(hook.session)) == sorted(names)


def test_inputs_at_the_root_are_all_files(hook: AzureMLBatchHook) -> None:
    every = set(Inputs("workspaceblobstore", "").names(hook.session))
    assert {f"counted/{number:02d}.csv" for number in range(FILES)} < every
    assert every == set(Inputs("workspaceblobstore", "/").names(hook.session))


def test_a_path_without_a_file_makes_no_complete_result(hook: AzureMLBatchHook, run_id: str, tmp_path: Path) -> None:
    inputs = Inputs("workspaceblobstore", "/conuted/")
    with pytest.raises(IncompleteResult, match=r"no input was found in workspaceblobstore/conuted/\*\*; say where"):
        hook.collect(run_id, tmp_path / "names.parquet", inputs=inputs, reconcile=Reconcile(require_complete=True))
    found = hook.collect(run_id, tmp_path / "names.parquet", inputs=inputs).collected.reconciliation
    assert found is not None
    assert "no input was found in workspaceblobstore/conuted/**" in found.problems()


def test_what_the_caller_says_of_the_job_goes_before_what_the_service_says(
    hook: AzureMLBatchHook, run_id: str, tmp_path: Path
) -> None:
    rules = Reconcile(keep=None, job=JobCounts(succeeded_items=50))
    found = hook.collect(run_id, tmp_path / "names.parquet", reconcile=rules).collected
    assert found.reconciliation is not None
    assert found.reconciliation.problems() == ["the job counts 50 succeeded items, but only 36 rows were read"]


def test_files_of_the_scripts_own_need_not_have_a_row_for_each_item(
    hook: AzureMLBatchHook, run_id: str, tmp_path: Path
) -> None:
    found = hook.collect(run_id, tmp_path / "names.parquet", files="*.txt").collected
    assert found.reconciliation is not None
    assert found.reconciliation.job == JobCounts(total_items=40, failed_items=4)


def test_a_service_that_does_not_tell_is_no_failure(hook: AzureMLBatchHook, run_id: str) -> None:
    assert job_counts(hook.session, "there-is-no-such-run") is None
    assert job_counts(hook.session, run_id) is None, "the pipeline's run itself counts no items"


def test_the_command_line_shows_rows_counts_problems_and_how_a_column_is_spread(
    emulator: ServedEmulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
    written = {option: tmp_path / f"it.{option}" for option in ("html", "png")}
    options = [text for option, path in written.items() for text in (f"--{option}", str(path))]
    done = CliRunner().invoke(main, ["results", "show", run_id, "--columns", "file,length", "--rows", "3", *options])

    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["file", "length"] in lines
    assert sum(line[:1] == ["01.csv"] for line in lines) <= 1
    assert sum(len(line) == 2 and line[0].endswith(".csv") and line[1] == "6" for line in lines) == 3
    assert "Rows: 36, Rejected: 0, Items of the job: 40, Failed items: 4" in done.output
    assert "! the job counts 4 failed items" in done.output
    assert ["6", "36", "█" * 40] in lines
    assert written["png"].read_bytes().startswith(b"\x89PNG")
    assert "<td>6</td><td>36</td>" in written["html"].read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--step", "other"], "step 'other', output None fits no output; there is: "),
        (["--require-complete", "1"], "90.00% of the inputs have a row, 100.00% are required"),
        (["--input-path", "counted/0*.csv", "--on-extra", "error"], "27 keys without an input"),
        (["--on-extra", "error"], "on_extra='error' needs inputs"),
        (
            ["--input-path", "counted/*.csv", "--match", "path", "--require-complete", "1"],
            "0.00% of the inputs have a row",
        ),
    ],
)
def test_the_command_line_tells_what_is_wrong_in_one_line(
    emulator: ServedEmulator, run_id: str, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AZUREML_DEFAULT", emulator.connection_json)
    done = CliRunner().invoke(main, ["results", "show", run_id, *options])
    assert done.exit_code == 1
    assert told in done.output
    assert "Traceback" not in done.output


def test_a_frame_of_a_run(hook: AzureMLBatchHook, run_id: str) -> None:
    frame, result = hook.collect_frame(run_id)
    names = [f"{number:02d}.csv" for number in range(FILES) if number % 10]
    assert sorted(frame["name"]) == names
    assert set(frame["prediction"]) == {6}
    assert result.collected.rows == len(names)
