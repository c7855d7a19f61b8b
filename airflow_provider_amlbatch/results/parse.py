"""Delimited text to record batches: blocks are read in one thread and parsed in others, in order and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

import pyarrow as pa

from airflow_provider_amlbatch.results.blocks import Block, Gap, Stream, blocks
from airflow_provider_amlbatch.results.errors import BadRow, BadRows, SchemaMismatch, WrongGuess
from airflow_provider_amlbatch.results.fields import BYTE_ORDER_MARK, first_record
from airflow_provider_amlbatch.results.format import Layout
from airflow_provider_amlbatch.results.quick import Parsed, parse_block

#: Bytes of text that become one record batch.
BLOCK_SIZE = 4 << 20
#: A row with more bytes than this is a bad row.
MAX_ROW_BYTES = 16 << 20
#: Threads that parse, and blocks that may be waiting or in work.
WORKERS, IN_FLIGHT = 2, 3
#: Bad rows that an error shows.
SHOWN_ROWS = 10


def parse(
    stream: Stream,
    layout: Layout,
    *,
    source: str = "",
    reject: Callable[[BadRow], None] | None = None,
    block_size: int = BLOCK_SIZE,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Read delimited text as record batches of ``layout.schema``, in the order of the text.

    :param source: name of the file, for messages.
    :param reject: called with each row that cannot be read; None means that such rows are errors.
    :raises BadRows: rows cannot be read and ``reject`` is None.
    :raises SchemaMismatch: the text begins with another header than ``layout`` has.
    :raises WrongGuess: types that were inferred from a sample do not hold, but wider ones would.
    """
    form = layout.format
    pieces = blocks(
        stream,
        quoted=form.quoted,
        block_size=block_size,
        max_row_bytes=max_row_bytes,
        needs_line_end=form.kind != "csv",
    )
    line = 0
    for parsed in _in_order(_from_first_row(pieces, layout, source), layout):
        if isinstance(parsed, Gap):
            bad, lines = [parsed.row], parsed.lines
        else:
            bad, lines = parsed.bad, parsed.lines
            if parsed.wider:
                row = min((row for _, row in parsed.wider.values()), key=lambda row: row.line)
                types = {name: dtype for name, (dtype, _) in parsed.wider.items()}
                raise WrongGuess(types, replace(row, line=row.line + line, source=source))
        bad = [replace(row, line=row.line + line, source=source) for row in bad]
        if bad and reject is None:
            raise BadRows(f"Rows do not fit {describe(layout)}:", bad[:SHOWN_ROWS])
        for row in bad:
            reject(row)  # type: ignore[misc]
        line += lines
        if isinstance(parsed, Parsed) and parsed.batch.num_rows:
            yield parsed.batch


def describe(layout: Layout) -> str:
    """Say in a few words how rows are read."""
    form = layout.format
    columns = ", ".join(f"{name} {dtype}" for name, dtype in layout.types.items())
    apart = "whole lines" if form.delimiter is None else f"{form.kind} separated by {form.delimiter!r}"
    return f"{apart} ({columns})"


def _in_order(pieces: Iterator[Block | Gap], layout: Layout) -> Iterator[Parsed | Gap]:
    first, second = next(pieces, None), next(pieces, None)
    if second is None:  # a small file: threads would cost more than the parsing does
        if first is not None:
            yield first if isinstance(first, Gap) else parse_block(first, layout)
        return
    waiting: deque[Future[Parsed] | Gap] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="parse")
    try:
        for piece in chain((first, second), pieces):
            if piece is None:
                continue
            waiting.append(piece if isinstance(piece, Gap) else pool.submit(parse_block, piece, layout))
            while len(waiting) >= IN_FLIGHT:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _result(item: Future[Parsed] | Gap) -> Parsed | Gap:
    return item if isinstance(item, Gap) else item.result()


def _from_first_row(pieces: Iterator[Block | Gap], layout: Layout, source: str) -> Iterator[Block | Gap]:
    """Drop what precedes the first byte of data: a byte order mark in files that scripts write themselves.

    The header must be that of the layout: another one would put values into columns of other names.
    """
    first = True
    for piece in pieces:
        if first and not isinstance(piece, Gap) and layout.format.kind == "csv":
            piece = piece.removeprefix(BYTE_ORDER_MARK)
        if first and layout.header and not isinstance(piece, Gap):
            header = first_record(piece, layout.format.delimiter)
            if header != layout.header:
                names = [name[:60] for name in header]  # it may be a row
                raise SchemaMismatch(f"{source} has the columns {names}, but the first file {list(layout.header)}")
        first = False
        yield piece
