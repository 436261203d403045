"""Ids of kept responses (`/v1/responses`): they say which pod keeps one, and whose it is.

    resp_<pod><owner><unique>      16 hexadecimal digits for the pod and the owner each, then what nobody can guess

Engines name a response as the request asks (vLLM and SGLang: `request_id`), so the gateway chooses the name when it
has chosen the pod. Nothing is remembered anywhere: every replica reads the id, also after a restart, and no answer is
rewritten. The id needs no signature, because the engine knows only the whole of it: whoever writes another owner or pod
into an id has made one that no engine ever gave. It tells neither address nor name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2s

import msgspec

from gateway_plugin.openai.members import with_value
from routing.strategies.session_affinity import token_of

_ID = re.compile(r"resp_([0-9a-f]{16})([0-9a-f]{16})[A-Za-z0-9-]{1,64}")
_MEMBER = "request_id"


class ResponseId(msgspec.Struct, frozen=True, gc=False):
    """What an id says."""

    pod: str
    """As `token_of` makes it of an address."""
    owner: str
    """As `owner_tag` makes it of a user's name."""


@lru_cache(maxsize=1024)
def owner_tag(user: str) -> str:
    """Stands for a user; the empty name for everybody who is not named."""
    return blake2s(user.encode(), digest_size=8, person=b"response").hexdigest()


def new_response_id(address: str, user: str, unique: str) -> str:
    """The id of a response that the pod at `address` is to keep for the user."""
    return f"resp_{token_of(address)}{owner_tag(user)}{unique}"


def parse_response_id(text: str) -> ResponseId | None:
    """None for an id that the gateway did not choose."""
    match = _ID.fullmatch(text)
    return ResponseId(match[1], match[2]) if match is not None else None


def with_response_id(body: bytes, response_id: str, *, replaces: bool) -> bytes:
    """The body, asking for this id; `replaces` where it names one itself, which might be another user's."""
    value = b'"%b"' % response_id.encode()
    if replaces:
        return with_value(body, _MEMBER, value)
    start = body.index(b"{") + 1
    return b"".join((memoryview(body)[:start], b'"%b":%b,' % (_MEMBER.encode(), value), memoryview(body)[start:]))
