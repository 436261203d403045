"""What holds beside a user's own limits for one admission: of its group, and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ratelimit.users.groups import GroupRules
    from ratelimit.windows.quotas import AskedQuotas


class Tenant(NamedTuple):
    """Empty rules limit nothing."""

    group: str
    """Empty: of none."""
    rules: GroupRules
    """The group's."""
    asked: tuple[AskedQuotas, ...]


class BookedIn(NamedTuple):
    """Where a charge was booked beside the user's own windows, and when, in seconds since 1970."""

    tenant: Tenant
    at_seconds: float
