"""Names of prompt prefixes: the same everywhere, shared exactly as far as prompts begin alike."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from routing.prefix.prefix_blocks import BLOCKS_PER_SIZE, FIRST_BLOCK_BYTES, MAX_BLOCKS, prefix_keys, prefix_seed

KIB = 1024
TEXT = bytes(range(256)) * 16
EXPECTED_SEED = 0x8C75D9CDB6AE2BC4
EXPECTED_HASHES = (0x6A24C39D699BBAF, 0x54D4E1650BB3386)


def test_the_values_are_part_of_the_contract_between_replicas():
    seed = prefix_seed("llama", "lora", "salt")
    assert seed == EXPECTED_SEED
    assert prefix_keys(seed, TEXT).hashes[:2] == EXPECTED_HASHES


def test_another_process_finds_the_same_names():
    program = (
        "from routing.prefix.prefix_blocks import *; "
        "print(*prefix_keys(prefix_seed('llama', 'lora', 'salt'), bytes(range(256)) * 16).hashes[:2])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert tuple(map(int, output.split())) == EXPECTED_HASHES


@given(*[st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))] * 2)
def test_two_seeds_are_equal_only_for_equal_parts(first: tuple[str, str, str], second: tuple[str, str, str]):
    assert (prefix_seed(*first) == prefix_seed(*second)) == (first == second)


def test_parts_do_not_run_into_each_other():
    seeds = {prefix_seed("ab"), prefix_seed("a", "b"), prefix_seed("a", "", "b"), prefix_seed("", "ab")}
    assert len(seeds) == 4
    assert prefix_keys(prefix_seed("a"), TEXT).hashes[0] != prefix_keys(prefix_seed("b"), TEXT).hashes[0]


def test_incomplete_blocks_have_no_name():
    assert prefix_keys(1, b"") == prefix_keys(1, TEXT[: FIRST_BLOCK_BYTES - 1])
    assert prefix_keys(1, b"").hashes == prefix_keys(1, b"").tokens == ()
    assert prefix_keys(1, TEXT[:FIRST_BLOCK_BYTES]) == prefix_keys(1, TEXT[: 2 * FIRST_BLOCK_BYTES - 1])


def test_blocks_grow_with_their_offset():
    keys = prefix_keys(1, bytes(12 * KIB))
    assert len(keys.hashes) == len(keys.tokens) == 2 * BLOCKS_PER_SIZE
    assert keys.tokens[:2] == (64.0, 128.0)
    assert keys.tokens[BLOCKS_PER_SIZE - 1 : BLOCKS_PER_SIZE + 1] == (1024.0, 1024.0 + 128.0)
    assert keys.tokens[-1] == 12 * KIB / 4


def test_what_is_hashed_is_bounded():
    keys = prefix_keys(1, bytes(5000 * KIB))
    assert len(keys.hashes) == MAX_BLOCKS
    assert keys.tokens[-1] == 4092 * KIB / 4


def test_equal_blocks_at_different_places_have_different_names():
    assert len(set(prefix_keys(1, bytes(64 * KIB)).hashes)) == len(prefix_keys(1, bytes(64 * KIB)).hashes)


@given(st.integers(0, 40 * KIB), st.integers(0, 4 * KIB), st.integers(0, 4 * KIB), st.integers(0, 2**32))
def test_prompts_share_names_exactly_as_far_as_they_begin_alike(shared: int, first: int, second: int, seed: int):
    source = random.Random(seed)
    root = source.randbytes(shared)
    # The first byte after the shared part differs.
    one = prefix_keys(1, root + b"a" + source.randbytes(first))
    other = prefix_keys(1, root + b"b" + source.randbytes(second))
    alike = prefix_keys(1, root)
    count = len(alike.hashes)
    assert one.hashes[:count] == other.hashes[:count] == alike.hashes
    assert one.tokens[:count] == alike.tokens
    assert not set(one.hashes[count:]) & set(other.hashes[count:])
