"""What holds beside a user's own limits for one admission: of its group, of its key, and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ratelimit.users.groups import Rules
    from ratelimit.windows.quotas import Asked


class Tenant(NamedTuple):
    """Empty rules limit nothing."""

    group: str
    """Empty: of none."""
    rules: Rules
    """The group's."""
    key: tuple[str, str] | None
    """User and id of a key with limits of its own."""
    key_rules: Rules
    asked: tuple[Asked, ...]


class BookedIn(NamedTuple):
    """Where a charge was booked beside the user's own windows, and when, in seconds since 1970."""

    tenant: Tenant
    at_seconds: float
