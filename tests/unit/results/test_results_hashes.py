"""Hashes of keys: no collision by structure, and what is left of a path hashes as itself."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_amlbatch.results.hashes import Hashes, hash_keys, hash_names, matched
from airflow_provider_amlbatch.results.reconcile import Match

#: Lengths around the words of eight bytes that a key is read in, and around those that are hashed one by one.
LENGTHS = (0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 255, 256, 257, 300)


Bytes = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def hashed(keys: list[str | None], seed: int = 0) -> list[int]:
    found: list[int] = hash_keys([pa.array(keys, pa.string())], seed).tolist()
    return found


def of_bytes(rows: Bytes, seed: int = 0) -> Hashes:
    """Hash rows of bytes as texts, UTF-8 or not."""
    count, length = rows.shape
    offsets: np.ndarray[tuple[int], np.dtype[np.int32]] = np.arange(count + 1, dtype=np.int32) * length
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(rows.astype(np.uint8).tobytes())]
    return hash_keys([pa.Array.from_buffers(pa.string(), count, buffers)], seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_short_keys_share_a_hash(seed: int) -> None:
    few = ("".join(key) for size in range(10) for key in itertools.product("\0\x01a", repeat=size))
    ascii_pairs = (chr(one) + chr(two) for one in range(128) for two in range(128))
    keys = sorted({*few, *ascii_pairs, *map(chr, range(128))})
    assert len(set(hashed([*keys, None], seed))) == len(keys) + 1


@st.composite
def near_misses(draw: st.DrawFn) -> list[str | None]:
    """Keys of one filling and of lengths that are critical, with a few characters replaced."""
    filling = draw(st.sampled_from("\0\x01a"))
    keys = {filling * length for length in LENGTHS}
    for _ in range(draw(st.integers(1, 25))):
        key = list(filling * draw(st.sampled_from(LENGTHS)))
        for place in draw(st.lists(st.integers(0, max(0, len(key) - 1)), max_size=3)) if key else ():
            key[place] = draw(st.sampled_from("\0\x01ab\x7f"))
        keys.add("".join(key))
    return draw(st.permutations([*keys, None]))


@settings(deadline=None, max_examples=30)
@given(near_misses())
def test_a_hash_depends_on_the_key_alone_and_tells_similar_keys_apart(keys: list[str | None]) -> None:
    for seed in (0, 1):
        together = hashed(keys, seed)
        assert len(set(together)) == len(keys)
        assert together == [hashed([key], seed)[0] for key in keys]
    assert not set(hashed(keys)) & set(hashed(keys, 1)), "the seeds are independent"


@pytest.mark.parametrize("length", [7, 8, 12, 16, 17, 24, 256])
def test_keys_that_differ_in_any_two_places_differ(length: int) -> None:
    values = np.frombuffer(b"0123456789abcdef", np.uint8)
    places = sorted({0, 1, 3, 7, 8, 11, 15, 16, length // 2, length - 8, length - 2, length - 1} & {*range(length)})
    tables = []
    for one, two in itertools.combinations(places, 2):
        rows: Bytes = np.full((256, length), ord("x"), np.uint8)
        rows[:, one], rows[:, two] = np.repeat(values, 16), np.tile(values, 16)
        tables.append(rows)
    together = np.concatenate(tables)
    assert len(set(of_bytes(together).tolist())) == len(together)


@pytest.mark.parametrize("length", [5, 8, 13, 16, 24])
def test_each_bit_of_a_key_bears_on_nearly_each_bit_of_its_hash(length: int) -> None:
    random = np.random.default_rng(length)
    keys = random.integers(0, 256, (600, length), np.uint8)
    before = of_bytes(keys)
    for place in range(length):
        for bit in range(8):
            other = keys.copy()
            other[:, place] ^= np.uint8(1 << bit)
            changed = np.unpackbits((before ^ of_bytes(other)).view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
            assert np.count_nonzero(changed) > 56, f"byte {place} bit {bit}"
            assert 0.3 < changed.mean() < 0.7, f"byte {place} bit {bit}"


def test_keys_of_several_columns_are_kept_apart() -> None:
    texts = ["", "\0", "\x01", "a", "aa", "ab", "abc", "a" * 8, "a" * 9, "b" * 300, None]
    pairs = list(itertools.product(texts, repeat=2))
    columns = [pa.array(column, pa.string()) for column in zip(*pairs, strict=True)]
    for seed in (0, 1):
        assert len(set(hash_keys(columns, seed).tolist())) == len(pairs)
    same = pa.array([f"id-{number}" for number in range(100_000)])
    assert len(set(hash_keys([same, same]).tolist())) == 100_000
    assert len(set(hash_keys([same, same, same]).tolist())) == 100_000


def cut(path: str, match: Match) -> str:
    name = path if match == "path" else path.rpartition("/")[2]
    return name.rpartition(".")[0] or name if match == "stem" else name


paths = st.lists(st.text("ab/.\n", max_size=14), max_size=20)
in_one_folder = st.lists(st.text("ab.", min_size=1, max_size=3).map(lambda name: f"a/b.b/{name}"), max_size=20)
of_one_length = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.text("a/.", min_size=size, max_size=size), max_size=12)
)
equally_deep = st.lists(
    st.tuples(st.text("ab", max_size=2), st.text("ab.", max_size=3)).map(lambda parts: "/".join(parts)), max_size=12
)


@settings(deadline=None, max_examples=150)
@given(st.one_of(paths, in_one_folder, of_one_length, equally_deep), st.sampled_from(["name", "stem", "path"]))
@example(["a/.b", "./bb", "a/b."], "stem")
def test_a_name_hashes_as_what_is_left_of_it(listed: list[str], match: Match) -> None:
    array = pa.array(["x", *listed], pa.string()).slice(1)
    left = [cut(path, match) for path in listed]
    assert hash_names(array, match).tolist() == hashed(left)  # type: ignore[arg-type]
    assert matched(array, match).to_pylist() == left
