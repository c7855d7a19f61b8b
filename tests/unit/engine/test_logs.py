"""Where the logs of a parallel step go."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow_provider_amlbatch.emulator.engine.logs import StepLogs


def test_progress_goes_to_a_new_file_each_day_and_errors_do_not(tmp_path: Path) -> None:
    moments = [
        datetime(2026, 3, 28, 23, 59, 58, tzinfo=UTC),
        datetime(2026, 3, 28, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 30, 12, 0, 0, tzinfo=UTC),
    ]
    now = moments[0]
    logs = StepLogs(tmp_path, lambda: now.timestamp())
    for now in moments:
        logs.progress(f"{now.day} {now.hour}")
        logs.error("0", "process000", "run()", "bad", "worse")
    logs.close()
    overviews = {path.name: path.read_text() for path in tmp_path.glob("logs/job_progress_overview.*")}
    assert overviews == {
        "job_progress_overview.2026-03-28-23-59-58.txt": "2026-03-28 23:59:58 28 23\n2026-03-28 23:59:59 28 23\n",
        "job_progress_overview.2026-03-29-00-00-01.txt": "2026-03-29 00:00:01 29 0\n2026-03-29 23:59:59 29 23\n",
        "job_progress_overview.2026-03-30-12-00-00.txt": "2026-03-30 12:00:00 30 12\n",
    }
    assert [path.name for path in tmp_path.glob("logs/job_error.*")] == ["job_error.2026-03-28-23-59-58.txt"]
