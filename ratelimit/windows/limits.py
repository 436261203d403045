"""What a user may spend in a minute, after defaults.

rpm 0 -> the default of 100 requests; tpm 0 -> 1000 tokens for each request the user may make. Both are AIBrix's rules.
max_parallel 0 -> no limit. `lua/record.lua` applies the same rules on the server.
"""

from __future__ import annotations

import msgspec

from ratelimit.users.users import UserRecord


class Limits(msgspec.Struct, frozen=True, gc=False):
    requests_per_minute: int
    tokens_per_minute: int
    max_parallel: int = 0


class LimitDefaults(msgspec.Struct, frozen=True):
    requests_per_minute: int = 100
    tokens_per_request: int = 1000
    source_requests_per_minute: int = 20
    """Of each source: those have no records."""


AIBRIX_DEFAULTS = LimitDefaults()


def source_record(defaults: LimitDefaults) -> UserRecord:
    """What holds for every source, in the form of a record."""
    requests = defaults.source_requests_per_minute
    return UserRecord("", requests, requests * defaults.tokens_per_request)


def effective_limits(record: UserRecord, defaults: LimitDefaults) -> Limits:
    requests = record.rpm or defaults.requests_per_minute
    return Limits(requests, record.tpm or requests * defaults.tokens_per_request, record.max_parallel)
