"""Where webhooks may go: http and https, and public addresses only, unless the operator lets them go anywhere.

A host is looked up once per attempt, all its addresses are checked, and the connection goes to one of these, as a
number: nobody looks it up again (DNS rebinding), and nobody else's idea of what an address is (`0x7f.1`, `2130706433`)
counts. Addresses inside other addresses (IPv4 in IPv6, NAT64, 6to4, Teredo, ISATAP) are taken out and checked, too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_URL_CHARACTERS = 2048
"""What servers commonly take."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Whatever a site's own translator makes of it."""
_WITH_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""NAT64, and IPv4-compatible addresses."""
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


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
    if _is_address(host) and not private:
        check_address(host)


def _is_address(host: str) -> bool:
    """As standards write one; `127.1` and the like pass here for names, and are refused when something is sent."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_address(address: str) -> None:
    """Raises ForbiddenTargetError for an address that is not public."""
    # The zone of a link-local address is not part of it.
    for one in _all_of(ipaddress.ip_address(address.partition("%")[0])):
        if not one.is_global or one.is_multicast or one in _LOCAL_NAT64:
            raise ForbiddenTargetError(f"{address} is not a public address; see the setting webhooks.private_targets")


async def addresses_of(host: str, port: int, *, private: bool) -> list[str]:
    """All addresses of a host, however it is written, if all of them may be used; OSError when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not private:
        for address in addresses:
            check_address(address)
    return addresses


def _all_of(address: _Address) -> Iterator[_Address]:
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(address in network for network in _WITH_IPV4) or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        yield from (one for one in inner if one is not None)
