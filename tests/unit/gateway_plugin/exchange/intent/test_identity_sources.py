"""The address that a request counts against: what Envoy saw, or what trusted proxies tell."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway_plugin.exchange.intent.identity import source_of


@pytest.mark.parametrize(
    ("forwarded_for", "hops", "source"),
    [
        ("10.1.2.3", 0, "10.1.2.3"),
        ("6.6.6.6, 10.1.2.3", 0, "10.1.2.3"),
        ("6.6.6.6,10.1.2.3", 1, "6.6.6.6"),
        ("1.1.1.1, 6.6.6.6, 10.1.2.3", 1, "6.6.6.6"),
        ("1.1.1.1, 6.6.6.6, 10.1.2.3", 2, "1.1.1.1"),
        ("10.1.2.3", 1, "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", 0, "2001:db8:1:2::/64"),
        ("[2001:db8::1]", 0, "2001:db8::/64"),
        ("fe80::1%eth0", 0, "fe80::/64"),
        ("::ffff:10.1.2.3", 0, "10.1.2.3"),
        ("", 0, "unknown"),
        ("lgy", 0, "unknown"),
        ("10.1.2.3, ", 0, "unknown"),
    ],
)
def test_sources(forwarded_for: str, hops: int, source: str):
    assert source_of(forwarded_for, hops) == source


def test_what_clients_write_beside_an_address_is_not_kept():
    hearsay = "6" * 100_000
    tracemalloc.start()
    try:
        kept_before = tracemalloc.get_traced_memory()[0]
        for number in range(20):
            assert source_of(f"{number}{hearsay}, 10.1.2.3") == "10.1.2.3"
            assert source_of(f"{number}{hearsay}") == "unknown"
        assert tracemalloc.get_traced_memory()[0] - kept_before < len(hearsay)
    finally:
        tracemalloc.stop()
