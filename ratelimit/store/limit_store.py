"""What the service asks of a store of limits, users and keys: `memory` and `redis_store`, which pass the same tests.

Every verb raises `InvalidUserName` for a name no user can have, before it changes anything, and `StoreUnavailable` when
the store cannot answer in time. `admit`, `usage` and `read` raise `CorruptUserRecord` for a record they cannot read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from ratelimit.users.api_keys import ApiKey, NewKey
    from ratelimit.users.groups import GroupRecord
    from ratelimit.users.subjects import Subject
    from ratelimit.users.users import CorruptUserRecord, UserRecord
    from ratelimit.windows.decision import Admission, Decision, Report, Settlement, Usage

# How long an admission waits for its settlement. A later one is charged what exceeds the reservation it names.
RESERVATION_SECONDS = 600
# Longer than an access log entry may lag behind its exchange, retries of its delivery included.
SETTLED_SECONDS = 180
# Of one store; more are counted as so many.
MAX_REPLICAS = 256
# A slot whose exchange never told its end.
PARALLEL_SECONDS = 3600


class StoreUnavailable(Exception):  # noqa: N818 - a state of the store, not a mistake of the caller
    """The store at `address` (never with credentials) failed or did not answer in time."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


class ItemRefused(StoreUnavailable):
    """The store is there and refused this one item, as when a stranger put another type under its key: no outage."""


Answer: TypeAlias = "Decision | CorruptUserRecord | ItemRefused"


class Replay(NamedTuple):
    """An admission that a replica decided without the store, what it reserved, and how long ago."""

    admission: Admission
    reserved: int
    age_seconds: float


class LimitStore(Protocol):
    def admit(self, admission: Admission) -> Decision | Awaitable[Decision]:
        """Check every scope, then debit all of them or none; once per `charge_id`. Without I/O it answers at once."""
        ...

    async def settle(self, settlement: Settlement) -> bool:
        """Charge what was used instead of what was reserved, once per `charge_id`; False when it was settled before."""
        ...

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        """`settle` for a batch; how many had not been settled before. Safe to repeat when it failed."""
        ...

    def release(self, subject: Subject, charge_id: str) -> Awaitable[None] | None:
        """Give the parallel slot back: the exchange ended. Safe to repeat, and before the admission."""
        ...

    async def usage(self, user: str) -> Usage | None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class BatchStore(LimitStore, Protocol):
    """A store that answers many admissions in one round trip."""

    async def admit_many(self, admissions: Sequence[Admission]) -> list[Answer]:
        """One answer each, in order. What goes wrong with one is returned in its place: it spoils no other admission.

        May take as long as it likes: whoever batches sees to the time.
        """
        ...

    async def replay_many(self, replays: Sequence[Replay]) -> None:
        """Book what was admitted while the store was away, whatever the limits say; once per charge id."""
        ...

    async def report_many(self, reports: Sequence[Report]) -> None:
        """Book what was admitted under leases, and end them; once per charge id."""
        ...


class UserStore(Protocol):
    async def create(self, record: UserRecord) -> bool:
        """False, and nothing written, when the user exists."""
        ...

    async def read(self, name: str) -> UserRecord | None: ...

    async def update(self, record: UserRecord) -> bool:
        """Replace the whole record; False when there is none."""
        ...

    async def change(self, name: str, change: Callable[[UserRecord], UserRecord]) -> UserRecord | None:
        """Replace the record by what `change` makes of it, which may be asked again when others change it at the same
        time: no change is lost. None: no such user."""
        ...

    async def delete(self, name: str) -> bool:
        """Drop the record, the user's counters and keys; False when there is no record."""
        ...

    async def names(self, limit: int) -> list[str]:
        """At most `limit` names, sorted; which ones, when there are more, is the store's choice."""
        ...


class GroupStore(Protocol):
    async def create_group(self, group: GroupRecord) -> bool:
        """False when it exists; GroupsNotPossible where there can be none."""
        ...

    async def read_group(self, name: str) -> GroupRecord | None: ...

    async def change_group(self, name: str, change: Callable[[GroupRecord], GroupRecord]) -> GroupRecord | None:
        """As `change` of users."""
        ...

    async def delete_group(self, name: str) -> bool:
        """With its counters; its members have only their own limits then."""
        ...

    async def groups(self) -> list[GroupRecord]:
        """All, by name."""
        ...


class KeyStore(Protocol):
    async def create_key(self, user: str, label: str = "", expires_at: int | None = None) -> NewKey:
        """A new secret, told only here; `TooManyKeys` beyond 100, `NoSuchUser` when there is none, also at its end.
        `expires_at`: Unix seconds."""
        ...

    async def expire_key(self, user: str, key_id: str, expires_at: int) -> bool:
        """From when on the key is nobody's, whatever was said before. False when the user has no such key, or it has
        expired already."""
        ...

    async def keys(self, user: str) -> list[ApiKey]:
        """Oldest first."""
        ...

    async def revoke_key(self, user: str, key_id: str) -> bool:
        """False when the user has no such key."""
        ...

    async def user_of_key(self, secret_sha256: str) -> str | None: ...


class UserChange(NamedTuple):
    """That a user, or a key of it, was changed; `gone`: that it was deleted."""

    name: str
    gone: bool = False


class ChangeFeed(Protocol):
    """How replicas that share a store tell each other that what they remember of a user is out of date."""

    async def announce(self, user: str, *, gone: bool = False) -> None:
        """`gone`: the user was deleted."""
        ...

    def changes(self) -> AsyncIterator[UserChange]:
        """What was announced since the first step; raises `StoreUnavailable` when the connection ends."""
        ...
