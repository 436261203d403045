"""Redis keys: the user's record under AIBrix's name, and our counters in the record's cluster slot.

    aibrix-users/<name>                      the record
    gateway:{aibrix-users/<name>}:requests   what was spent, by bucket; tokens alike, each with its own expiry
    gateway:{aibrix-users/<name>}:parallel   the charges that hold a slot
    gateway:{aibrix-users/<name>}:charge:<id>
    gateway:model:{<model>}:rate             the model's requests of the last second, in a slot of its own
    gateway-keys/<SHA-256>                   whose an API key is
    gateway:{gateway-sources/<address>}:...  the counters of a source; nothing is ever stored at the tag itself

A cluster hashes what stands between the first `{` and the next `}` (the tag), or the whole key when nothing does. So
the record's key serves as tag, unless the name has braces of its own. If those make a tag, it is used, and shared with
every other name that has it: the quoted record key then follows, to keep users apart. If they do not (`a}b`), no tag
can spell the record's key, and a number that hashes to the same slot stands in.
"""

from __future__ import annotations

import functools
from binascii import crc_hqx
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ratelimit.users.subjects import Source, check_subject
from ratelimit.users.users import check_user_name

if TYPE_CHECKING:
    from ratelimit.users.subjects import Subject

RECORD_PREFIX = "aibrix-users/"
_SOURCE_PREFIX = "gateway-sources/"
SLOTS = 16384
_MAX_REMEMBERED = 10_000
"""Keys of subjects, those used last."""


class SubjectKeys(NamedTuple):
    record: str
    """Of a source: where none is."""
    counters: str
    """What the keys of the counters begin with."""


@functools.lru_cache(_MAX_REMEMBERED)
def keys_of(subject: Subject) -> SubjectKeys:
    """`InvalidUserName` for a name no user can have."""
    if isinstance(subject, Source):
        check_subject(subject)
        record = _SOURCE_PREFIX + subject.address
    else:
        record = record_key(subject)
    return SubjectKeys(record, counter_prefix(record))


def record_key(name: str) -> str:
    check_user_name(name)
    return RECORD_PREFIX + name


def counter_prefix(record: str) -> str:
    """What the keys of a record's counters begin with; no two records share it."""
    tag = _hash_tag(record)
    if tag is None and "}" not in record:
        return f"gateway:{{{record}}}"
    return f"gateway:{{{tag or _tags_by_slot()[_slot(record)]}}}:{quote(record)}"


def charge_key(prefix: str, charge_id: str) -> str:
    return f"{prefix}:charge:{charge_id}"


def model_rate_key(model: str) -> str:
    return f"gateway:model:{{{quote(model)}}}:rate"


def secret_key(sha256: str) -> str:
    return f"gateway-keys/{sha256}"


def _hash_tag(key: str) -> str | None:
    start = key.find("{") + 1
    end = key.find("}", start) if start else -1
    return key[start:end] if end > start else None


def _slot(tag: str) -> int:
    # The cluster's CRC16 is the XModem one, which is this one.
    return crc_hqx(tag.encode(), 0) % SLOTS


@functools.cache
def _tags_by_slot() -> dict[int, str]:
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < SLOTS:
        tags.setdefault(_slot(str(number)), str(number))
        number += 1
    return tags
