"""Cut a byte stream into blocks of whole records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from airflow_provider_amlbatch.results.arrays import Ordinals
from airflow_provider_amlbatch.results.errors import BadRow

#: Text as it was read: a block is not copied once more.
Block = bytes | bytearray

#: Bytes that are read where there may be no more: a million small files are not to cost a block each.
_SMALL_READ = 64 << 10
#: Characters of a bad row that are kept.
SHOWN = 1_000


class Stream(Protocol):
    """A binary file that is open for reading."""

    def read(self, size: int, /) -> bytes:
        """Read at most so many bytes, none at the end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into a buffer, and return how many bytes: 0 at the end."""


@dataclass(frozen=True)
class Gap:
    """A piece of the stream that is no record: too long, cut off, or an opening quote that nothing closes.

    :param row: what is wrong; its line is relative to the gap.
    :param lines: line ends in the gap.
    """

    row: BadRow
    lines: int


def blocks(
    stream: Stream, *, quoted: bool, block_size: int, max_row_bytes: int, needs_line_end: bool
) -> Iterator[Block | Gap]:
    """Yield blocks that begin and end at records, and gaps between them.

    A quote is closed when the number of quotes so far is even: quotes inside quoted fields are doubled.

    :param quoted: True when a line end inside quotes belongs to the record.
    :param block_size: bytes that are read at once.
    :param max_row_bytes: a longer record is a gap, unless it is read within one block.
    :param needs_line_end: True when a last record without a line end is a gap: it was cut off.
    """
    rest: Block = b""
    size = small = min(block_size, _SMALL_READ)
    while (more := len(data := _and_more(rest, stream, size)) - len(rest)) > 0:
        size = small if more < size else block_size
        cut = record_end(data, quoted=quoted)
        rest = data[cut:]
        if cut:
            del data[cut:]
            yield data
        while len(rest) > max_row_bytes:
            gap, rest = _too_long(stream, rest, quoted, block_size, max_row_bytes)
            yield gap
            cut = record_end(rest, quoted=quoted)
            if cut:
                yield rest[:cut]
            rest = rest[cut:]
    while rest:
        if quoted and rest.count(b'"') % 2:
            gap, rest = _unclosed(rest)
            yield gap
            cut = record_end(rest, quoted=quoted)
            if cut:
                yield rest[:cut]
            rest = rest[cut:]
        elif needs_line_end:
            yield Gap(BadRow(1, "the file ends in the middle of this line", shown(rest)), 0)
            return
        else:
            yield rest
            return


def _and_more(rest: Block, stream: Stream, size: int) -> bytearray:
    """Read the next piece of a stream behind what is left of the last one."""
    data = bytearray(len(rest) + size)
    data[: len(rest)] = rest
    with memoryview(data) as view, view[len(rest) :] as free:
        end = len(rest) + stream.readinto(free)
    del data[end:]
    return data


def record_end(data: Block, *, quoted: bool) -> int:
    """Return where the last whole record of ``data`` ends, 0 when there is none."""
    end = data.rfind(b"\n") + 1
    if not quoted or not end:
        return end
    odd = count(data, b'"', 0, end) % 2
    while odd and end:
        before = data.rfind(b"\n", 0, end - 1) + 1
        odd ^= data.count(b'"', before, end) % 2
        end = before
    return end


def count(data: Block, byte: bytes, start: int = 0, end: int | None = None) -> int:
    """Count a byte; numpy does it faster than ``bytes.count`` and lets other threads run."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8)[start:end] == byte[0]))


def pairs(data: Block, pair: bytes) -> Ordinals:
    """Find where two bytes follow each other: first the even positions, then the odd ones."""
    code = np.frombuffer(pair, np.uint16)[0]
    found = []
    for start in (0, 1):
        whole = (len(data) - start) // 2
        found.append(2 * np.flatnonzero(np.frombuffer(data, np.uint16, whole, start) == code) + start)
    positions: Ordinals = np.concatenate(found)
    return positions


def shown(data: Block) -> str:
    """Return the beginning of a row for people."""
    return data[: 4 * SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")[:SHOWN]


def _too_long(stream: Stream, rest: Block, quoted: bool, block_size: int, limit: int) -> tuple[Gap, Block]:
    if quoted and b"\n" in rest:
        return _unclosed(rest)
    head, size = shown(rest), len(rest)
    while True:
        chunk = stream.read(block_size)
        end = chunk.find(b"\n") + 1
        size += end or len(chunk)
        if end or not chunk:
            reason = f"the row has {size:,} bytes, more than max_row_bytes={limit:,}"
            return Gap(BadRow(1, reason, head), 1 if end else 0), chunk[end:]


def _unclosed(rest: Block) -> tuple[Gap, Block]:
    """Take the first line off: the quote that it opens is not closed where it should be."""
    end = rest.find(b"\n") + 1 or len(rest)
    reason = "a quote is opened and never closed (cut off, or not rows of a DataFrame)"
    return Gap(BadRow(1, reason, shown(rest[:end])), rest.count(b"\n", 0, end)), rest[end:]
