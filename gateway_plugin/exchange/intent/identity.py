"""Who asks. The one place where headers become an identity, by the proofs that the operator accepts.

    KeyOwner         an API key's owner                                                       proof: api-key
    NamedUser        named by the `user` header: of anybody, where the network is trusted     proof: header
                     or of whoever holds the gateway's own token                              proof: bearer
    AnonymousSource  nobody is named; all that is known is where the request comes from

Who is anonymous says the type, and never a name. What counts against whom (`subject_of`) is a type of `ratelimit`.

Without `header`, whoever brings no proof is a stranger. Every answer to a stranger is the same: whether a key is
missing, wrong or of somebody who is gone, and whoever else is named, cannot be told from it.

Where a request comes from is the address that Envoy saw, or one that trusted proxies in front of it tell. Envoy adds
the address that it sees to the end of `x-forwarded-for`. With n trusted proxies in front, each of which did the same,
the client's is the one n places before the end; where there are fewer, somebody went past the proxies, and the last is
theirs. What stands before is hearsay. A client owns a whole IPv6 /64, so that is one source.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.settings.identity_settings import API_KEY, BEARER, HEADER
from ratelimit import InvalidUserName, Source, check_user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimit import Subject


UNKNOWN = "unknown"
_MAX_SOURCES_KEPT = 10_000
"""Addresses that were taken apart lately."""
_MAX_SOURCE_CHARACTERS = 64
"""Of an address, with room for a zone: the header may have 60 KiB."""
_CLIENT_PREFIX_BITS = 64


KEY_PREFIX = "gw-"
AUTHORIZATION = "authorization"
KEY_HEADERS = (AUTHORIZATION, "x-api-key", "api-key")
"""Where an API key may be: OpenAI's, Anthropic's and Azure's clients."""
_HEADER_ONLY = frozenset({HEADER})

Anonymous = Literal["allow", "reject", "limit"]


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """How callers are told apart."""

    proofs: frozenset[str] = _HEADER_ONLY
    """Which are accepted, as in the setting `identity_proofs`."""
    bearer_token: str = ""
    """What the proof "bearer" is."""
    forward_api_keys: bool = False
    anonymous: Anonymous = "allow"
    trusted_hops: int = 0
    """Proxies in front of Envoy whose word on the client's address is taken."""

    @property
    def reads_credentials(self) -> bool:
        """Whether anything but the `user` header matters."""
        return self.proofs != _HEADER_ONLY


class KeyOwner(msgspec.Struct, frozen=True, gc=False):
    """Proven by an API key."""

    user: str


class NamedUser(msgspec.Struct, frozen=True, gc=False):
    """Named by somebody who is believed."""

    user: str


class AnonymousSource(msgspec.Struct, frozen=True, gc=False):
    """Named by nobody."""

    address: str
    user: Literal[""] = ""


Identity: TypeAlias = KeyOwner | NamedUser | AnonymousSource
NOBODY = AnonymousSource("unknown")


class KeyClaim(msgspec.Struct, frozen=True, gc=False):
    """An API key whose owner must be looked up: see `owner_of`."""

    key_sha256: str
    named: str
    """What the `user` header says besides."""
    headers: tuple[str, ...]
    """Which of KEY_HEADERS carry the key."""


def identify(headers: Mapping[str, str], source: str, rules: IdentityRules) -> Identity | KeyClaim:
    """Who asks, as far as headers tell; raises ApiError. `source` is where the request comes from."""
    if rules.reads_credentials:
        claim = _key_claim(headers) if API_KEY in rules.proofs else None
        if claim is not None:
            return claim
        if HEADER not in rules.proofs and not (BEARER in rules.proofs and _is_trusted(headers, rules)):
            raise rejections.bad_credentials()
    user = _user(headers)
    if user:
        return NamedUser(user)
    if rules.anonymous == "reject":
        raise rejections.anonymous()
    return AnonymousSource(source)


def owner_of(claim: KeyClaim, owner: str | None) -> KeyOwner:
    """Whom a key proves, once its owner is known; raises ApiError for nobody's key, and for a contradicting header."""
    if owner is None:
        raise rejections.bad_credentials()
    if claim.named and claim.named != owner:
        raise rejections.foreign_user()
    return KeyOwner(owner)


def subject_of(identity: Identity, rules: IdentityRules) -> Subject | None:
    """Whose limits a request counts against; None: it counts against nobody's."""
    if isinstance(identity, AnonymousSource):
        return Source(identity.address) if rules.anonymous == "limit" else None
    return identity.user


def hidden_headers(
    headers: Mapping[str, str], claim: KeyClaim | None, rules: IdentityRules, engines_have_keys: bool
) -> tuple[str, ...]:
    """Headers that engines shall not see: our own keys, and where engines have keys all that might be one. What takes
    the place of `authorization` there is the engine's key."""
    ours = _carrying_ours(headers, claim, rules) if rules.reads_credentials and not rules.forward_api_keys else ()
    if not engines_have_keys:
        return ours
    return tuple(name for name in KEY_HEADERS if name in ours or (name in headers and name != AUTHORIZATION))


def _carrying_ours(headers: Mapping[str, str], claim: KeyClaim | None, rules: IdentityRules) -> tuple[str, ...]:
    if claim is not None:
        return claim.headers
    # Whoever has the gateway's token may name any user.
    return (AUTHORIZATION,) if BEARER in rules.proofs and _is_trusted(headers, rules) else ()


def fairness_key(identity: Identity) -> str:
    """What tells callers apart where they take turns; no user's name has a control character."""
    return f"\0{identity.address}" if isinstance(identity, AnonymousSource) else identity.user


def _key_claim(headers: Mapping[str, str]) -> KeyClaim | None:
    keys = {name: key for name in KEY_HEADERS if (key := _credential(headers, name)).startswith(KEY_PREFIX)}
    if not keys:
        return None
    secrets = set(keys.values())
    if len(secrets) > 1:
        raise rejections.bad_credentials()
    return KeyClaim(_sha256(secrets.pop()), headers.get("user", "").strip(), tuple(keys))


def _credential(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if name != "authorization":
        return value.strip()
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_trusted(headers: Mapping[str, str], rules: IdentityRules) -> bool:
    given, expected = _sha256(_credential(headers, "authorization")), _sha256(rules.bearer_token)
    return hmac.compare_digest(given, expected)


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _user(headers: Mapping[str, str]) -> str:
    user = headers.get("user", "")
    if user:
        user = user.strip()
    if user:
        try:
            check_user_name(user)
        except InvalidUserName as error:
            raise rejections.bad_user_name(str(error)) from None
    return user


def source_of(forwarded_for: str, trusted_hops: int = 0) -> str:
    """An IPv4 address, an IPv6 /64, or UNKNOWN."""
    told = forwarded_for.rsplit(",", trusted_hops + 1)
    at = -1 - trusted_hops if len(told) > trusted_hops else -1
    text = told[at].strip()
    # Only what may be an address is kept: clients write the rest of the header, as long as they like.
    return _normal_source(text) if len(text) <= _MAX_SOURCE_CHARACTERS else UNKNOWN


@lru_cache(_MAX_SOURCES_KEPT)
def _normal_source(text: str) -> str:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _CLIENT_PREFIX_BITS), strict=False))
