from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import RedisCluster, SSLConnection

from ratelimit import RedisStore
from ratelimit.store.urls import connect


@pytest.mark.parametrize(
    ("url", "address", "options"),
    [
        (
            "redis://me:s%40cret@h:1/2",
            "redis://h:1/2",
            {"host": "h", "port": 1, "db": 2, "username": "me", "password": "s@cret"},
        ),
        ("rediss://me:cret@h:1/2?password=cret", "rediss://h:1/2", {"password": "cret"}),
        ("unix://me:cret@/run/x.sock?db=3", "unix:///run/x.sock", {"path": "/run/x.sock", "db": 3, "password": "cret"}),
        (
            "redis+sentinel://me:s%2Fcret@a,b:2/svc/4",
            "redis+sentinel://a,b:2/svc/4",
            {"username": "me", "password": "s/cret", "db": 4},
        ),
        ("redis+cluster://me:cret@a:1,b", "redis+cluster://a:1,b", {"username": "me", "password": "cret"}),
        ("redis+cluster://a:1/0", "redis+cluster://a:1/0", {}),
    ],
)
def test_a_url_says_where_and_hides_who(url, address, options):
    server = connect(url, 0.5)
    source = server.client if isinstance(server.client, RedisCluster) else server.client.connection_pool
    assert options.items() <= source.connection_kwargs.items()
    assert server.address == address
    assert server.password == options.get("password")
    assert repr(RedisStore.from_url(url)) == f"RedisStore({address})"


def test_sentinels_and_nodes_are_all_known():
    sentinel: Any = connect("redis+sentinel://a,b:2/svc", 0.5).client
    manager = sentinel.connection_pool.sentinel_manager
    known = [one.connection_pool.connection_kwargs for one in manager.sentinels]
    assert [(options["host"], options["port"]) for options in known] == [("a", 26379), ("b", 2)]
    assert sentinel.connection_pool.service_name == "svc"
    cluster: Any = connect("redis+cluster://a:1,[::1]:2,c", 0.5).client
    assert set(cluster.nodes_manager.startup_nodes) == {"a:1", "::1:2", "c:6379"}


@pytest.mark.parametrize("rest", ["://a", "+sentinel://a/svc", "+cluster://a"])
def test_the_way_to_the_server_is_encrypted_when_asked(rest):
    for scheme, expected in (("redis", False), ("rediss", True)):
        client = connect(scheme + rest, 0.5).client
        source = client.connection_kwargs if isinstance(client, RedisCluster) else vars(client.connection_pool)
        assert issubclass(source["connection_class"], SSLConnection) is expected


UNREADABLE = [
    "redis://:s#cret@h:1", "redis://:12#s@h", "redis://:s/cret@h:1", "redis://:[cret@h", "x", "",
    "http://h:1", "redis+other://h", "unix+cluster://h", "redis+cluster://h/3", "redis+cluster://", "redis+cluster://a,,b",
    "redis+cluster://:cr,et@h/cret", "redis+sentinel://h", "redis+sentinel://h/svc/cret", "redis+sentinel://:s/cret@h/svc",
    "redis+sentinel://h:cret/svc", "redis+sentinel://h/svc?password=cret",
    "redis://h:1/cret", "rediss://:s@h:1/cret",
]  # fmt: skip


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_cannot_be_read_is_not_quoted(url):
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        RedisStore.from_url(url)
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__
