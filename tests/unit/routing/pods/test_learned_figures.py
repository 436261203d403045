"""Learned figures in words, with their ages."""

from __future__ import annotations

from routing.pods.learned_figures import learned_figures
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def test_what_is_known_and_how_old_it_is():
    pods = PodTable(lambda: 100.0)
    pods.apply(ClusterState((PodSpec("pod-0", "10.0.0.0:8000", ("m",)),), frozenset()))
    assert learned_figures(pods.books, 0) == {
        "prefill": "8,000 tokens/s (assumed)",
        "queue": "0 tokens, 0.00 s (no page yet)",
        "decoding": "assumed",
        "speed": "as ever",
    }
    columns = pods.columns
    columns.prefill_tokens_per_second[0], columns.prefill_done_at_seconds[0] = 7412.0, 97.9
    columns.polled_at_seconds[0], columns.adapter_slots[0] = 99.6, 4.0
    columns.decode_base_seconds[0], columns.decode_request_seconds[0] = 0.0062, 0.00035
    columns.prefill_backlog_tokens[0], columns.prefill_backlog_at_seconds[0] = 3706.0, 100.0
    pods.books.adapters.began(0, "sql")
    assert learned_figures(pods.books, 0) == {
        "prefill": "7,412 tokens/s (first token 2.1 s ago)",
        "queue": "3,706 tokens, 0.50 s (page 0.4 s ago)",
        "decoding": "6.2 ms a token, 0.35 ms more a request (page 0.4 s ago)",
        "speed": "as ever",
        "adapters": "sql in 4 slots",
    }


def test_a_sudden_change_is_told():
    pods = PodTable(lambda: 100.0)
    pods.apply(ClusterState((PodSpec("pod-0", "10.0.0.0:8000", ("m",)),), frozenset()))
    for work in (1.0,) * 20 + (0.2,) * 6:
        pods.books.speeds.seen(0, work, 1.0, 0.3)
    assert learned_figures(pods.books, 0)["speed"].endswith("of what it was (no page yet)")
