"""A look into a file, whatever it is and however large."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: No more of a text is shown: the beginning of data, the end of a log.
SHOWN_BYTES = 64 << 10

#: No more of a table is shown.
SHOWN_ROWS = 50
_SHOWN_COLUMNS = 40
_SHOWN_CELL = 200

_TABLES = {".csv": ",", ".tsv": "\t"}
#: Pictures that a browser shows without running anything.
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Preview:
    """What is shown of a file, and what is not.

    :param note: says what part of the file it is; empty when it is all of it.
    """

    kind: Literal["text", "table", "picture", "binary", "empty"]
    size: int
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""


def preview(path: Path, *, is_log: bool) -> Preview:
    """Look into a file.

    :param is_log: of a log the end is shown, of anything else the beginning.
    :raises FileNotFoundError: if there is no such file.
    """
    size = path.stat().st_size
    suffix = path.suffix.lower()
    if size == 0:
        return Preview("empty", 0)
    if suffix in PICTURES:
        return Preview("picture", size)
    start = max(size - SHOWN_BYTES, 0) if is_log else 0
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(SHOWN_BYTES)
    if content.startswith(b"PAR1") and start == 0:
        return _parquet(path, size)
    if b"\0" in content:
        return Preview("binary", size, text=_dump(content[:256]), note="The first 256 bytes.")
    text = _whole_lines(content, cut_before=start > 0, cut_after=not is_log and size > len(content))
    part = f"The {'last' if is_log else 'first'} {SHOWN_BYTES >> 10} KB." if size > len(content) else ""
    if suffix in _TABLES:
        return _table(text, _TABLES[suffix], size, part)
    return Preview("text", size, text=text, note=part)


def _whole_lines(content: bytes, *, cut_before: bool, cut_after: bool) -> str:
    if cut_before and b"\n" in content:
        content = content.partition(b"\n")[2]
    if cut_after and b"\n" in content:
        content = content.rpartition(b"\n")[0]
    return content.decode("utf-8", errors="replace")


def _table(text: str, delimiter: str, size: int, part: str) -> Preview:
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return Preview("text", size, text=text, note=part)
    header, *rows = [line for line in lines if line] or [[]]
    note = f"The first {SHOWN_ROWS} rows." if len(rows) > SHOWN_ROWS else part
    return Preview("table", size, columns=_cells(header), rows=[_cells(row) for row in rows[:SHOWN_ROWS]], note=note)


def _parquet(path: Path, size: int) -> Preview:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            total = file.metadata.num_rows
            batch = next(file.iter_batches(batch_size=SHOWN_ROWS), None)
            columns = file.schema_arrow.names
    except (pyarrow.ArrowException, OSError) as error:
        return Preview("binary", size, note=f"Not readable as Parquet: {error}")
    rows = [] if batch is None else [_cells(row.values()) for row in batch.to_pylist()]
    note = f"{min(total, SHOWN_ROWS):,} of {total:,} rows."
    return Preview("table", size, columns=_cells(columns), rows=rows, note=note)


def _cells(values: Any) -> list[str]:
    texts = [str(value) for value in values]
    shown = [text if len(text) <= _SHOWN_CELL else text[:_SHOWN_CELL] + "…" for text in texts[:_SHOWN_COLUMNS]]
    return [*shown, "…"] if len(texts) > _SHOWN_COLUMNS else shown


def _dump(content: bytes) -> str:
    lines = []
    for offset in range(0, len(content), 16):
        piece = content[offset : offset + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{offset:08x}  {piece.hex(' '):<47}  {letters}")
    return "\n".join(lines)
