"""Groups of users: limits that hold for all members together, on top of each one's own.

A record is the JSON `{"name", ...}`; here 0 says "no limit", since defaults are for users. A group that is gone limits
nobody.
"""

from __future__ import annotations

import re

import msgspec

from ratelimit.users.users import CorruptUserRecord, InvalidUserName, Limit

MAX_GROUPS = 10_000
"""Of one store: all are listed at once."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A label of metrics, and part of a key of Redis."""


class GroupRules(msgspec.Struct, frozen=True):
    """What holds on top of a user's own limits; 0 and empty: nothing."""

    rpm: Limit = 0
    tpm: Limit = 0
    max_parallel: Limit = 0
    models: tuple[str, ...] = ()
    disabled: bool = False
    quotas: dict[str, tuple[Limit, Limit]] = {}


class GroupRecord(msgspec.Struct, frozen=True):
    name: str
    rpm: Limit = 0
    tpm: Limit = 0
    max_parallel: Limit = 0
    models: tuple[str, ...] = ()
    disabled: bool = False
    quotas: dict[str, tuple[Limit, Limit]] = {}


def rules_of(group: GroupRecord) -> GroupRules:
    """What it limits."""
    return GroupRules(group.rpm, group.tpm, group.max_parallel, group.models, group.disabled, group.quotas)


def check_group_name(name: str) -> None:
    """Raises InvalidUserName."""
    if not _NAME.fullmatch(name):
        raise InvalidUserName("a group's name has 1 to 64 letters, digits, dots, dashes and underscores")


_decoder = msgspec.json.Decoder(GroupRecord)


def encode_rules(rules: GroupRecord) -> bytes:
    """Nothing but what is said, and a group's name."""
    fields = msgspec.structs.asdict(rules)
    return msgspec.json.encode({key: value for key, value in fields.items() if value or key == "name"})


def decode_group(raw: bytes | str, key: str) -> GroupRecord:
    """Raises CorruptUserRecord, naming `key`."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CorruptUserRecord(key) from None
