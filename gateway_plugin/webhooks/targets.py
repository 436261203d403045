"""Where webhooks may go: http and https, and public addresses only, unless the operator lets them go anywhere.

A name is looked up once per attempt and the connection goes to the very address that was checked, so a name that
changes its address in between (DNS rebinding) gains nothing. Addresses inside other addresses (IPv4 in IPv6, NAT64,
6to4, Teredo) are taken out and checked, too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_URL_CHARACTERS = 2048
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenTargetError(OSError):
    """The webhook may not go there."""


def check_url(url: str, *, private: bool) -> None:
    """Raises ValueError for a URL that no webhook can have. Names are looked up only when something is sent."""
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"allowed: printable ASCII without spaces, at most {MAX_URL_CHARACTERS} characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("allowed: http://host[:port][/path] or https://...")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user and password may stand in it; the signature says who sends")
    if parts.fragment:
        raise ValueError("a fragment is never sent")
    if is_address(host) and not private:
        check_address(host)


def is_address(host: str) -> bool:
    """Whether the host is an address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_address(address: str) -> None:
    """Raises ForbiddenTargetError for an address that is not public."""
    # The zone of a link-local address is not part of it.
    for one in _all_of(ipaddress.ip_address(address.partition("%")[0])):
        if not one.is_global or one.is_multicast:
            raise ForbiddenTargetError(f"{address} is not a public address; see the setting webhook_private_targets")


class GuardedResolver(AbstractResolver):
    """Names to addresses that may be connected to; what it returns is what the connection uses."""

    def __init__(self, *, private: bool) -> None:
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of the name, if all of them may be used."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        if not self._private:
            for *_, address in found:
                check_address(str(address[0]))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held open."""


def _all_of(address: _Address) -> Iterator[_Address]:
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        yield from (one for one in inner if one is not None)
