"""What the service asks of a store of limits and users; `memory` and `redis_store` answer, and pass the same tests.

Every verb raises `InvalidUserName` for a name no user can have, before it changes anything, and `StoreUnavailable` when
the store cannot answer in time. `admit`, `usage` and `read` raise `CorruptUserRecord` for a record they cannot read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from ratelimit.decision import Cost, Decision, Settlement, Usage
    from ratelimit.users import UserRecord

# Longer than an access log entry may lag behind its exchange, retries of its delivery included.
SETTLED_SECONDS = 180


class StoreUnavailable(Exception):  # noqa: N818 - a state of the store, not a mistake of the caller
    """The store at `address` (never with credentials) failed or did not answer in time."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


class LimitStore(Protocol):
    def admit(self, user: str, cost: Cost) -> Decision | Awaitable[Decision]:
        """Check every limit, then debit all of them or none. A store without I/O answers at once."""
        ...

    async def settle(self, user: str, charge_id: str, tokens: int) -> bool:
        """Charge tokens once per `charge_id`, remembered for 180 s; False when it was settled before."""
        ...

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """`settle` for a batch; how many had not been settled before. Safe to repeat when it failed."""
        ...

    async def usage(self, user: str) -> Usage | None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class UserStore(Protocol):
    async def create(self, record: UserRecord) -> bool:
        """False, and nothing written, when the user exists."""
        ...

    async def read(self, name: str) -> UserRecord | None: ...

    async def update(self, record: UserRecord) -> bool:
        """Replace the whole record; False when there is none."""
        ...

    async def delete(self, name: str) -> bool:
        """Drop the record and the user's counters; False when there is no record."""
        ...

    async def names(self, limit: int) -> list[str]:
        """At most `limit` names, sorted; which ones, when there are more, is the store's choice."""
        ...
