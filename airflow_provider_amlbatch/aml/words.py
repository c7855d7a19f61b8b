"""Numbers as people read them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``, ``3 mini-batches``."""
    return f"{number:,} {noun_for(number, noun)}"


def noun_for(number: int, noun: str) -> str:
    """The noun of so many things."""
    if number == 1:
        return noun
    return f"{noun}es" if noun.endswith("ch") else f"{noun}s"
