"""Prompts told to other replicas, and what others tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway_plugin.peers.news import MAX_PROMPTS, News
from protos import replica_state_pb2 as pb
from routing.pods.pod_work import uid_hash
from routing.prefix.prefix_blocks import keys_of, prefix_keys
from routing.strategies.policy import RoutingRequest
from tests.unit.gateway_plugin.peers.conftest import PODS, MemoryPeers, Replica, seconds_until

if TYPE_CHECKING:
    from collections.abc import Callable

    Join = Callable[[str], Replica]

pytestmark = pytest.mark.looptime


def ask(replica: Replica, prompt: bytes, charge_id: str = "") -> tuple[str, float]:
    """Books a prompt; returns the pod, and how much of the prompt it was believed to have."""
    policy = replica.router.policy("prefix-cache")
    assert policy is not None
    keys = prefix_keys(1, prompt)
    tokens = len(prompt) / 4
    request = RoutingRequest("m", prompt_tokens=tokens, prefix=keys.hashes, prefix_tokens=keys.tokens)
    booking = replica.router.book(policy, request, charge_id)
    booking.lease.release()
    return booking.pods[0].address, booking.matched_tokens


async def test_what_one_replica_sent_where_another_finds_there(join: Join):
    a, b = join("a"), join("b")
    address, matched = ask(a, b"x" * 4096, "1")
    assert matched == 0.0
    await seconds_until(lambda: b.sharing.news.counts["taken"] == 1, 0.25)
    assert ask(b, b"x" * 4096 + b"y" * 4096) == (address, 1024.0)
    assert a.sharing.news.counts == {"told": 1, "taken": 0, "dropped": 0, "malformed": 0}


async def test_a_replica_that_starts_reads_what_is_still_there(join: Join):
    a = join("a")
    address, _ = ask(a, b"x" * 4096, "1")
    await asyncio.sleep(5)
    b = join("b")
    await asyncio.sleep(0.2)
    assert ask(b, b"x" * 4096) == (address, 1024.0)


async def test_alone_nothing_is_told(join: Join, store: MemoryPeers):
    a = join("a")
    a.alone = True
    ask(a, b"x" * 4096, "1")
    await asyncio.sleep(1)
    assert store.news == []


async def test_news_of_unknown_pods_and_nonsense_are_passed_over(join: Join, store: MemoryPeers):
    a = join("a")
    address, uid = PODS[0].address, uid_hash(PODS[0])
    for pods in (
        pb.PodPrompts(address="10.9.9.9:1", prompts=[pb.Prompt(blocks=[1])]),
        pb.PodPrompts(address=PODS[0].address, uid_hash=1, prompts=[pb.Prompt(blocks=[1])]),
        pb.PodPrompts(address=address, uid_hash=uid, prompts=[pb.Prompt(blocks=[2**60]), pb.Prompt(blocks=range(600))]),
        pb.PodPrompts(address=address, uid_hash=uid, prompts=[pb.Prompt(blocks=[5]), pb.Prompt()]),
    ):
        store.news.append(("x", pb.PromptNews(pods=[pods]).SerializeToString()))
    store.news.append(("x", b"\xff"))
    await asyncio.sleep(0.3)
    assert a.sharing.news.counts == {"told": 0, "taken": 1, "dropped": 0, "malformed": 4}


async def test_a_turn_tells_and_takes_a_bounded_number_of_prompts(store: MemoryPeers):
    a, b = Replica("a", store), Replica("b", store)
    for number in range(MAX_PROMPTS + 20):
        ask(a, f"{number:05}".encode() * 100, str(number))
    ask(a, b"00001" * 100, "again")
    assert a.sharing.news.counts["dropped"] == 20
    news = News(b.pods, b.router, lambda: False)
    value = a.sharing.news.outgoing()
    assert a.sharing.news.outgoing() == b""
    news.take(value)
    assert news.counts["taken"] == MAX_PROMPTS


async def test_more_prompts_than_anybody_sends_are_not_taken_in():
    replica = Replica("a", MemoryPeers())
    pod = pb.PodPrompts(
        address=PODS[0].address, uid_hash=uid_hash(PODS[0]), prompts=[pb.Prompt(blocks=[n]) for n in range(900)]
    )
    replica.sharing.news.take(pb.PromptNews(pods=[pod, pod]).SerializeToString())
    assert replica.sharing.news.counts["taken"] == MAX_PROMPTS


def test_keys_of_hashes_are_those_of_the_prompt():
    keys = prefix_keys(3, np.random.default_rng(0).bytes(100_000))
    assert keys_of(keys.hashes) == keys
    with pytest.raises(ValueError, match="not the blocks"):
        keys_of((2**60,))
