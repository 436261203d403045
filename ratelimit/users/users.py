"""Users and what they may spend, as AIBrix stores them.

A record is the JSON `{"name","rpm","tpm"}`; 0 means "the default" (see `limits`). Our own fields are written only when
they say something: `max_parallel` (0: no limit), `models` (empty: all), `disabled`, `overrides`, which maps a model
to [rpm, tpm] that hold for it on top of the user's own (0: no such limit), `group`, of which the limits hold, too (see
`groups`), and `quotas`, which maps hour, day and month to [requests, tokens] (0: no limit). Fields that others added
are passed over and are not written back. Limits reach up to the largest signed 64-bit number, which Go callers use for
"no limit".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import msgspec

MAX_NAME_CHARACTERS = 256
"""Of a user: a key of maps and of Redis."""
_MAX_NAMES = 10_000
"""Names that are known to be good: every request has one."""

# A lone surrogate is half a character: no store can encode it.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class InvalidUserName(ValueError):  # noqa: N818 - it says what is wrong, like the other errors of this package
    """A name that no user can have."""


class CorruptUserRecord(Exception):  # noqa: N818
    """What is stored under `key` is not a user record. Updating or deleting the user repairs it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the value stored at {key!r} is not a user record")
        self.key = key


class UserRecord(msgspec.Struct, frozen=True):
    name: str
    rpm: Limit = 0
    tpm: Limit = 0
    max_parallel: Limit = 0
    models: tuple[str, ...] = ()
    disabled: bool = False
    overrides: dict[str, tuple[Limit, Limit]] = {}
    group: str = ""
    quotas: dict[str, tuple[Limit, Limit]] = {}


@lru_cache(_MAX_NAMES)
def check_user_name(name: str) -> None:
    if not name:
        raise InvalidUserName("a user name must not be empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidUserName(f"a user name has at most {MAX_NAME_CHARACTERS} characters, not {len(name)}")
    if _FORBIDDEN.search(name):
        raise InvalidUserName("a user name must not contain control characters")


def check_new_name(name: str) -> None:
    """For users to come: a name with spaces around it could never be meant, as headers lose theirs."""
    check_user_name(name)
    if name != name.strip():
        raise InvalidUserName("a user name must not begin or end with a space")


_OURS = ("max_parallel", "models", "disabled", "overrides", "group", "quotas")
_decoder = msgspec.json.Decoder(UserRecord)


def encode_record(record: UserRecord) -> bytes:
    ours = {name: getattr(record, name) for name in _OURS}
    written = {name: value for name, value in ours.items() if value}
    return msgspec.json.encode({"name": record.name, "rpm": record.rpm, "tpm": record.tpm, **written})


def decode_record(raw: bytes | str, key: str) -> UserRecord:
    """The record in `raw`; `CorruptUserRecord`, naming `key`, when there is none."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CorruptUserRecord(key) from None
