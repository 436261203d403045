"""Clients from URLs. What follows `@` may be shown, what stands before it never.

    redis://[user:password@]host:port[/db]      rediss:// with TLS      unix://[user:password@]/path[?db=n]
    redis+sentinel://[user:password@]host:port,host:port/service[/db]   user and password are the server's
    redis+cluster://[user:password@]host:port,host:port                 rediss+sentinel, rediss+cluster: TLS

Clients connect at the first call, never retry, and give every attempt to connect or to read `timeout_seconds`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

if TYPE_CHECKING:
    from ratelimit.store.scripts import Client

_PORTS = {"sentinel": 26379, "cluster": 6379}
_URL = re.compile(r"([a-z+]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?")
_UNREADABLE = "not a Redis URL; a database is a number; / # ? @ , in a password must be percent-encoded"


class Server(NamedTuple):
    """A client, the address that may be shown, and what must not appear in errors."""

    client: Client
    address: str
    password: str | None


def connect(url: str, timeout_seconds: float) -> Server:
    # The URL is not quoted: what makes it unreadable is usually its password.
    try:
        parts = _split(url)
        client = _client(url, parts, timeout_seconds)
        return Server(client, _address(parts), _password(client))
    except (ValueError, TypeError):
        raise ValueError(_UNREADABLE) from None


def _split(url: str) -> SplitResult:
    """By RFC 3986, appendix B. `urlsplit` refuses brackets behind the first host, in most releases of Python."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("not a URL")
    return SplitResult(*(part or "" for part in match.groups()))


def is_of_closed_connection(error: RuntimeError) -> bool:
    """Whether it is what uvloop says of a write to a connection that the peer has reset; redis-py hands it on."""
    return "the handler is closed" in str(error)


async def close_client(client: Client) -> None:
    """Closes the connections to sentinels, too."""
    await client.aclose()
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        for sentinel in client.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _client(url: str, parts: SplitResult, timeout_seconds: float) -> Client:
    options: dict[str, Any] = {
        "socket_connect_timeout": timeout_seconds,
        # The library may swallow a cancellation that comes while it looks whether a connection is readable, and would
        # then wait for its own 5 s.
        "socket_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    transport, _, mode = parts.scheme.partition("+")
    if not mode:
        # The library takes a database that is no number for the first one.
        if transport != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
            raise ValueError("a database is a number")
        return Redis.from_url(url, **options)
    if transport not in ("redis", "rediss") or mode not in _PORTS or parts.query:
        raise ValueError(parts.scheme)
    credentials, _, listed = parts.netloc.rpartition("@")
    options |= _credentials(credentials) | ({"ssl": True} if transport == "rediss" else {})
    hosts = [_host(host, _PORTS[mode]) for host in listed.split(",")]
    path = parts.path.strip("/")
    return _cluster(hosts, path, options) if mode == "cluster" else _sentinel(hosts, path, options)


def _cluster(hosts: list[tuple[str, int]], path: str, options: dict[str, Any]) -> RedisCluster:
    if path not in ("", "0"):
        raise ValueError("a cluster has one database")
    nodes = [ClusterNode(host, port) for host, port in hosts]
    return RedisCluster(startup_nodes=nodes, **options)


def _sentinel(hosts: list[tuple[str, int]], path: str, options: dict[str, Any]) -> Redis:
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("a service is missing")
    own = {name: options[name] for name in ("socket_connect_timeout", "socket_timeout", "retry")}
    sentinel = Sentinel(hosts, sentinel_kwargs=own)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(unquote(service), db=int(database or 0), **options)
    return client


def _credentials(text: str) -> dict[str, str]:
    if not text:
        return {}
    user, _, password = text.partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or default_port


def _address(parts: SplitResult) -> str:
    """The URL without credentials, which may stand before the host and in the query."""
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("credentials are not where they belong")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _password(client: Client) -> str | None:
    source = client if isinstance(client, RedisCluster) else client.connection_pool
    password: str | None = source.connection_kwargs.get("password")
    return password
