"""Files with one JSON object a line: blocks of whole lines to record batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.json

from airflow_provider_amlbatch.results.blocks import Block, Gap, Stream, blocks, count, shown
from airflow_provider_amlbatch.results.errors import BadRow, BadRows, EmptyResult, FormatError, WrongGuess
from airflow_provider_amlbatch.results.format import Layout
from airflow_provider_amlbatch.results.parse import BLOCK_SIZE, IN_FLIGHT, MAX_ROW_BYTES, WORKERS

#: Bytes that pyarrow parses at a time, several at once, unless a row is longer.
_PIECE = 1 << 20


def json_schema(stream: Stream, name: str) -> pa.Schema:
    """Infer columns and types from the first block of a file.

    :param name: of the file, for messages.
    :raises EmptyResult: there is no object in it.
    :raises FormatError: it does not hold one JSON object a line.
    """
    for line, block in _numbered_blocks(stream, name, MAX_ROW_BYTES):
        try:
            schema = _read(block, None).schema
        except pa.ArrowInvalid as error:
            raise _no_objects(name, line, error) from None
        if schema.names:
            return schema
    raise EmptyResult(f"{name} is empty")


def json_batches(stream: Stream, name: str, layout: Layout, max_row_bytes: int) -> Iterator[pa.RecordBatch]:
    """Read a file as record batches that have the columns of ``layout``, and after them those that it does not know.

    :raises WrongGuess: whole numbers were inferred where a later row has a fraction.
    :raises FormatError: it does not hold one JSON object a line, or none of the types that were said or inferred.
    """

    def batches_of(line: int, block: Block, reading: Future[pa.Table]) -> list[pa.RecordBatch]:
        try:
            return list(reading.result().to_batches())
        except pa.ArrowInvalid as error:
            raise _wrong_guess(block, layout, name, line) or _no_objects(name, line, error) from None

    waiting: deque[tuple[int, Block, Future[pa.Table]]] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="json")
    try:
        for line, block in _numbered_blocks(stream, name, max_row_bytes):
            waiting.append((line, block, pool.submit(_read, block, layout.schema)))
            if len(waiting) >= IN_FLIGHT:
                yield from batches_of(*waiting.popleft())
        while waiting:
            yield from batches_of(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _numbered_blocks(stream: Stream, name: str, max_row_bytes: int) -> Iterator[tuple[int, Block]]:
    """Yield blocks of whole lines, each with the number of its first line."""
    line = 1
    for piece in blocks(stream, quoted=False, block_size=BLOCK_SIZE, max_row_bytes=max_row_bytes, needs_line_end=False):
        if isinstance(piece, Gap):
            raise BadRows("Rows do not fit JSON lines:", [replace(piece.row, line=line, source=name)])
        yield line, piece
        line += count(piece, b"\n")


def _read(block: Block, schema: pa.Schema | None) -> pa.Table:
    options = pa.json.ParseOptions(explicit_schema=schema)
    try:
        return pa.json.read_json(pa.BufferReader(block), pa.json.ReadOptions(block_size=_PIECE), options)
    except pa.ArrowInvalid:  # a row that is longer than a piece is no error yet
        return pa.json.read_json(pa.BufferReader(block), pa.json.ReadOptions(block_size=len(block) + 1), options)


def _wrong_guess(block: Block, layout: Layout, name: str, line: int) -> WrongGuess | None:
    """Find inferred whole numbers that are fractions in this block."""
    try:
        found = _read(block, None).schema
    except pa.ArrowInvalid:
        return None
    wider = {
        field.name: "double"
        for field in found
        if pa.types.is_floating(field.type)
        and field.name in layout.inferred
        and pa.types.is_integer(layout.types[field.name])
    }
    if not wider:
        return None
    reason = f"here or in one of the next rows {', '.join(wider)} is no whole number"
    return WrongGuess(wider, BadRow(line, reason, shown(block.partition(b"\n")[0]), name))


def _no_objects(name: str, line: int, error: Exception) -> FormatError:
    return FormatError(
        f"{name} is not one JSON object a line, or not with the types of the first, at line {line} or after: {error}"
    )
