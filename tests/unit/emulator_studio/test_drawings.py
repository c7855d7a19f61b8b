"""Where boxes, arrows and bars go, and what is shown of a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_amlbatch.aml.history import Run
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.studio.chart import HEIGHT, WIDTH, throughput
from airflow_provider_amlbatch.emulator.studio.graph import BOX_HEIGHT, BOX_WIDTH, Box, Drawing, lay_out
from airflow_provider_amlbatch.emulator.studio.pages import rate, size, took, words
from airflow_provider_amlbatch.emulator.studio.preview import SHOWN_BYTES, preview

HEADER = "mini_batch_id,start_time,elapsed_seconds,succeeded,failed\n"


def corners(drawing: Drawing) -> dict[str, tuple[float, float]]:
    return {placed.box.id: (placed.x, placed.y) for placed in drawing.boxes}


def test_a_step_stands_below_everything_it_waits_for_and_in_the_middle_of_it() -> None:
    edges = [("a", "c"), ("b", "c"), ("c", "d"), ("a", "d"), ("d", "nowhere")]
    drawing = lay_out([Box(name, name) for name in "dcba"], edges)
    at = corners(drawing)
    assert at["a"][1] == at["b"][1] < at["c"][1] < at["d"][1]
    assert at["c"][0] == pytest.approx((at["a"][0] + at["b"][0]) / 2)
    assert len(drawing.arrows) == 4


@given(st.integers(0, 9), st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_whatever_the_graph_boxes_lie_inside_and_never_on_each_other(count: int, pairs: set[tuple[int, int]]) -> None:
    drawing = lay_out([Box(str(n), str(n)) for n in range(count)], [(str(a), str(b)) for a, b in pairs])
    places = list(corners(drawing).values())
    assert len(places) == count
    for index, (x, y) in enumerate(places):
        assert 0 <= x <= drawing.width - BOX_WIDTH
        assert 0 <= y <= drawing.height - BOX_HEIGHT
        for other_x, other_y in places[:index]:
            assert abs(x - other_x) >= BOX_WIDTH or abs(y - other_y) >= BOX_HEIGHT


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_arrows_of_a_graph_without_circles_point_down(pairs: set[tuple[int, int]]) -> None:
    forward = {(a, b) for a, b in pairs if a < b}
    at = corners(lay_out([Box(str(n), str(n)) for n in range(10)], [(str(a), str(b)) for a, b in forward]))
    assert all(at[str(a)][1] < at[str(b)][1] for a, b in forward)


def test_mini_batches_count_in_the_second_in_which_they_ended() -> None:
    rows = [
        "0,2026-11-20 10:00:00,0.5,8,0\n",
        "1,2026-11-20 10:00:00,1.5,6,2\n",
        "2,2026-11-20 10:00:02,0.1,0,4\n",
        "3,2026-11-20 10:00",  # still being written
    ]
    chart = throughput([HEADER, *rows])
    assert chart is not None
    assert [(bar.succeeded, bar.failed) for bar in chart.bars] == [(8, 0), (6, 2), (0, 4)]
    assert (chart.seconds, chart.items, chart.failed, chart.peak, chart.mean) == (3, 20, 6, 8, 20 / 3)
    assert chart.bars[1].succeeded_height == pytest.approx(HEIGHT * 6 / 8)


def test_a_long_job_is_drawn_in_few_bars_that_lose_nothing() -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    rows = (f"{n},{datetime.fromtimestamp(start + 7 * n, UTC):%Y-%m-%d %H:%M:%S},0,3,1\n" for n in range(10_000))
    chart = throughput([HEADER, *rows])
    assert chart is not None
    assert len(chart.bars) <= 48
    assert sum(bar.succeeded for bar in chart.bars) == 30_000
    assert (chart.items, chart.failed) == (40_000, 10_000)
    assert max(bar.x + bar.width for bar in chart.bars) <= WIDTH
    assert max(bar.succeeded_height + bar.failed_height for bar in chart.bars) == pytest.approx(HEIGHT)


def test_nothing_is_drawn_of_an_empty_report() -> None:
    assert throughput([HEADER]) is None
    assert throughput([]) is None
    assert throughput(["something,else\n", "1,2\n"]) is None


def test_of_a_log_the_end_is_shown_and_of_data_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("".join(f"line {n:07}\n" for n in range(20_000)))
    end, beginning = preview(file, is_log=True), preview(file, is_log=False)
    assert end.text.endswith("line 0019999\n")
    assert beginning.text.startswith("line 0000000\n")
    for shown in (end, beginning):
        assert len(shown.text) <= SHOWN_BYTES
        assert all(len(line) == 12 for line in shown.text.splitlines())
        assert shown.size == 20_000 * 13


def test_tables_are_shown_as_tables(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    text = tmp_path / "a.csv"
    text.write_text('store,note\n1,"two\nlines"\n' + "2,x\n" * 80)
    shown = preview(text, is_log=False)
    assert (shown.kind, shown.columns, shown.rows[0], len(shown.rows)) == (
        "table",
        ["store", "note"],
        ["1", "two\nlines"],
        50,
    )
    parquet.write_table(pyarrow.table({"store": list(range(70))}), tmp_path / "b")
    shown = preview(tmp_path / "b", is_log=False)
    assert (shown.kind, shown.columns, shown.rows[:2], shown.note) == (
        "table",
        ["store"],
        [["0"], ["1"]],
        "50 of 70 rows.",
    )


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.bin", b"\x00\x01" * 300, "binary"),
        ("a.parquet", b"PAR1 and not more", "binary"),
        ("a.txt", b"", "empty"),
        ("a.png", b"\x89PNG", "picture"),
        ("a.csv", b"\n\n", "table"),
        ("a.txt", "grüße".encode("latin-1"), "text"),
    ],
)
def test_no_file_is_too_odd_to_be_looked_at(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert preview(tmp_path / name, is_log=False).kind == kind


def test_numbers_and_words_are_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 << 20)] == ["0 B", "1,023 B", "1.0 KB", "5.0 MB"]
    assert [rate(n) for n in (0.123, 1.26, 1234.5)] == ["0.12", "1.3", "1,234"]
    assert words("CancelRequested") == "Cancel requested"
    clock = Clock()
    clock.freeze(datetime(2026, 11, 20, 12, 1, 1, tzinfo=UTC))
    began = datetime(2026, 11, 20, 10, 59, tzinfo=UTC)
    assert took(Run(run_id="r", start_time_utc=began), clock) == "1 h 02 min"
    assert took(Run(run_id="r", start_time_utc=began, end_time_utc=began), clock) == "0.0 s"
    assert took(Run(run_id="r"), clock) == ""
