"""Where a request comes from: the address that Envoy saw, or one that trusted proxies in front of it tell.

Envoy adds the address that it sees to the end of `x-forwarded-for`. With n trusted proxies in front, each of which did
the same, the client's is the one n places before the end; where there are fewer, somebody went past the proxies, and
the last is theirs. What stands before is hearsay. A client owns a whole IPv6 /64, so that is one source.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

UNKNOWN = "unknown"
_MAX_KEPT = 10_000
_MAX_CHARACTERS = 64
_CLIENT_PREFIX_BITS = 64


def source_of(forwarded_for: str, trusted_hops: int = 0) -> str:
    """An IPv4 address, an IPv6 /64, or UNKNOWN."""
    told = forwarded_for.rsplit(",", trusted_hops + 1)
    at = -1 - trusted_hops if len(told) > trusted_hops else -1
    text = told[at].strip()
    # Only what may be an address is kept: clients write the rest of the header, as long as they like.
    return _normal(text) if len(text) <= _MAX_CHARACTERS else UNKNOWN


@lru_cache(_MAX_KEPT)
def _normal(text: str) -> str:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _CLIENT_PREFIX_BITS), strict=False))
