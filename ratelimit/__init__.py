"""How much a user may: requests and tokens per minute, decided in one atomic step.

A user's record says how much (`users`, `limits`), a window what was spent in the last minute (`spending`). An admission
checks every scope, then debits all or none, and reserves tokens (`admission`, `decision`). What a response really cost
is settled later, once per charge id (`admission`). `MemoryStore` and `RedisStore` do this behind the same protocols
(`store`), and keep API keys (`api_keys`).
"""

from __future__ import annotations

from ratelimit.store.limit_store import (
    BatchStore,
    ChangeFeed,
    GroupStore,
    KeyStore,
    LimitStore,
    StoreUnavailable,
    UserStore,
)
from ratelimit.store.memory import MemoryStore
from ratelimit.store.redis_store import RedisStore
from ratelimit.users.api_keys import ApiKey, NewKey, NoSuchUser, TooManyKeys, secret_sha256
from ratelimit.users.groups import GroupRecord
from ratelimit.users.subjects import Source, Subject, check_subject
from ratelimit.users.users import CorruptUserRecord, InvalidUserName, UserRecord, check_user_name
from ratelimit.windows.decision import Admission, Decision, Outcome, Settlement, Usage
from ratelimit.windows.limits import AIBRIX_DEFAULTS, LimitDefaults, Limits, effective_limits

__all__ = [
    "AIBRIX_DEFAULTS",
    "Admission",
    "ApiKey",
    "BatchStore",
    "ChangeFeed",
    "CorruptUserRecord",
    "Decision",
    "GroupRecord",
    "GroupStore",
    "InvalidUserName",
    "KeyStore",
    "LimitDefaults",
    "LimitStore",
    "Limits",
    "MemoryStore",
    "NewKey",
    "NoSuchUser",
    "Outcome",
    "RedisStore",
    "Settlement",
    "Source",
    "StoreUnavailable",
    "Subject",
    "TooManyKeys",
    "Usage",
    "UserRecord",
    "UserStore",
    "check_subject",
    "check_user_name",
    "effective_limits",
    "secret_sha256",
]
