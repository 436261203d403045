"""Other products' choices, one rule at a time, and that all of them serve whatever happens."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.routing.cluster import Cluster, equal_pods
from benchmarks.routing.peers.aibrix import AibrixPreble, AibrixPrefixCache, prefill_seconds
from benchmarks.routing.peers.endpoint_picker import EndpointPicker, EndpointPickerNoHitLru
from benchmarks.routing.peers.every import PEERS, peer_replicas
from benchmarks.routing.peers.peer import Peer
from benchmarks.routing.peers.prompt_index import CommonIndex, IndexByPod
from benchmarks.routing.peers.proxies import DynamoKv, PrefixAware, SglangCacheAware
from benchmarks.routing.sources import conversations
from benchmarks.routing.workloads import arrival, named
from routing.spec import PodSpec
from simulator import EngineConfig, LeapingEngine

CONFIG = EngineConfig(block_tokens=512, num_blocks=64, jitter=0.0)
ADDRESSES = ["a", "b", "c"]


def peer_of(kind: type[Peer]) -> Peer:
    """Three idle pods."""
    peer = kind(lambda: 0.0, 1)
    peer.discovered(
        [PodSpec(address, address, ("model",)) for address in ADDRESSES],
        {address: LeapingEngine(CONFIG) for address in ADDRESSES},
    )
    return peer


def book(peer: Peer, text: int, blocks: int = 4, charge_id: str = "") -> str:
    address = peer.book(arrival(0.0, named(text, blocks), 10), charge_id or f"{text}-{len(peer.asked)}")
    assert address is not None
    return address


@pytest.mark.parametrize("name", PEERS)
def test_everyone_serves_all_while_pods_slow_down_come_and_go(name: str):
    cluster = Cluster(name, equal_pods(4), seed=3, replicas=2, sharing=True)
    cluster.agenda.at(2.0, lambda: cluster.slow(cluster.address(0), 4.0))
    cluster.agenda.at(4.0, lambda: cluster.add(equal_pods(1)[0]))
    cluster.agenda.at(6.0, lambda: cluster.drain(cluster.address(1)))
    cluster.agenda.at(8.0, lambda: cluster.lose(cluster.address(2)))
    workload = conversations(150, 10.0, 1)
    report = cluster.run(workload)
    assert report.refused == 0
    assert len(report.served) + report.failed == len(workload)
    # Nothing was measured of the new pod, so that AIBrix's least-latency never sends it anything.
    assert (report.requests_by_pod["10.0.0.5:8000"] > 0) == (name != "aibrix: least-latency")
    for gateway in cluster.gateways:
        assert isinstance(gateway, Peer)
        assert not gateway.asked
        assert not any(gateway.counts.values())


@pytest.mark.parametrize("kind", [AibrixPrefixCache, AibrixPreble, EndpointPicker, SglangCacheAware, PrefixAware])
def test_a_prompt_comes_back_to_its_pod(kind: type[Peer]):
    peer = peer_of(kind)
    first = book(peer, 1)
    book(peer, 2)
    assert [book(peer, 1) for _ in range(4)] == [first] * 4


def test_who_sees_no_load_sends_everything_to_one_pod():
    assert len({book(peer_of(PrefixAware), 1) for _ in range(1)}) == 1
    peer = peer_of(PrefixAware)
    assert Counter(book(peer, 1) for _ in range(90)).most_common(1)[0][1] == 90


def test_sglang_leaves_a_match_when_a_pod_has_64_more():
    peer = peer_of(SglangCacheAware)
    assert len({book(peer, 1) for _ in range(65)}) == 1
    # Now one has 65 more; the others come to hold the prompt, too.
    assert len({book(peer, 1) for _ in range(20)}) > 1


def test_aibrix_leaves_a_match_when_a_pod_has_16_more():
    shares = Counter(book(peer, 1) for peer in [peer_of(AibrixPrefixCache)] for _ in range(30))
    assert max(shares.values()) <= 19
    assert min(shares.values()) >= 3


def test_preble_counts_45_tokens_of_150_ms_and_prefill_by_a_v100():
    assert prefill_seconds(1000, 1000) == pytest.approx((0.27106428 * 1000 + 10.524 + 0.80) / 900)
    peer = peer_of(AibrixPreble)
    assert sorted(book(peer, text) for text in range(3)) == ADDRESSES


def test_llm_d_weighs_prefix_3_against_an_empty_queue_2_and_memory_2():
    peer = peer_of(EndpointPicker)
    first = book(peer, 1)
    engine = peer.engines[first]
    for number in range(300):
        engine.submit(arrival_request(number), 0.0)
    peer.clock = lambda: 5.0
    engine.advance(5.0)
    assert len(engine.waiting) > 0
    # Queue 0 of 2 and memory 0 of 2 against 3 for the match.
    assert book(peer, 1) != first


def arrival_request(number: int):
    """A prompt that fills an eighth of the memory."""
    from simulator import EngineRequest

    return EngineRequest(prompt_tokens=4096, output_tokens=100, block_hashes=named(100 + number, 8))


def test_no_hit_lru_sends_cold_prompts_round():
    peer = peer_of(EndpointPickerNoHitLru)
    assert sorted(book(peer, text) for text in range(3)) == ADDRESSES
    assert sorted(book(peer, text) for text in range(10, 13)) == ADDRESSES


def test_dynamo_counts_prefill_until_the_first_token_and_blocks_until_the_end():
    peer = peer_of(DynamoKv)
    assert isinstance(peer, DynamoKv)
    first = book(peer, 1, charge_id="x")
    assert (peer.prefill_tokens[first], peer.active_tokens[first]) == (2048, 2048)
    peer.first_token("x", 0.1)
    assert (peer.prefill_tokens[first], peer.active_tokens[first]) == (0, 2048)
    peer.ended("x")
    assert (peer.active_tokens[first], peer.counts[first]) == (0, 0)


def test_replicas_share_what_their_product_shares():
    aibrix = peer_replicas("aibrix: prefix-cache", lambda: 0.0, 1, 2, sharing=True)
    picker = peer_replicas("llm-d: default", lambda: 0.0, 1, 2, sharing=True)
    assert aibrix[0].counts is aibrix[1].counts  # type: ignore[attr-defined]
    assert aibrix[0].index is not aibrix[1].index  # type: ignore[attr-defined]
    assert picker[0].counts is not picker[1].counts  # type: ignore[attr-defined]
    alone = peer_replicas("dynamo: kv", lambda: 0.0, 1, 2, sharing=False)
    assert alone[0].prefill_tokens is not alone[1].prefill_tokens  # type: ignore[attr-defined]


def test_a_common_index_loses_roots_first():
    index = CommonIndex(4)
    index.insert((1, 2, 3), "a")
    assert index.matches((1, 2, 9), ("a", "b")) == {"a": 2}
    index.insert((7, 8), "b")
    assert index.longest((1, 2, 3), ("a", "b")) == (0, set())


def test_an_index_by_pod_holds_what_the_pod_can():
    index = IndexByPod()
    index.insert((1, 2, 3), "a", 3)
    index.insert((1, 2, 4), "a", 3)
    assert [index.match(keys, "a") for keys in ((1, 2, 4), (1, 2, 3), (5,))] == [3, 2, 0]
    index.drop("a")
    assert index.match((1,), "a") == 0
