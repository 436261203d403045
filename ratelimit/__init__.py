"""How much a user may: requests and tokens per minute, decided in one atomic step.

A user's record says how much (`users`, `limits`). A sliding-window counter says how much was spent in the last minute
(`window`). An admission checks both limits, then debits both or neither (`admission`, `decision`). Tokens of a response
are settled later, once per charge id. `MemoryStore` and `RedisStore` do this behind the same protocols (`store`).
"""

from __future__ import annotations

from ratelimit.decision import Cost, Decision, Outcome, Settlement, Usage
from ratelimit.limits import AIBRIX_DEFAULTS, LimitDefaults, Limits, effective_limits
from ratelimit.memory import MemoryStore
from ratelimit.redis_store import RedisStore
from ratelimit.store import LimitStore, StoreUnavailable, UserStore
from ratelimit.users import CorruptUserRecord, InvalidUserName, UserRecord, check_user_name

__all__ = [
    "AIBRIX_DEFAULTS",
    "CorruptUserRecord",
    "Cost",
    "Decision",
    "InvalidUserName",
    "LimitDefaults",
    "LimitStore",
    "Limits",
    "MemoryStore",
    "Outcome",
    "RedisStore",
    "Settlement",
    "StoreUnavailable",
    "Usage",
    "UserRecord",
    "UserStore",
    "check_user_name",
    "effective_limits",
]
