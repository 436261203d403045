"""The live table: pods as the router sees them, and what users have left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

from ratelimit import RedisStore, StoreUnavailable

if TYPE_CHECKING:
    import aiohttp
    from rich.console import RenderableType

    from ratelimit import Usage

_MAX_USERS = 10
WIDE_COLUMNS = 100
"""What the whole table takes with names as they are in the demo."""


async def picture(session: aiohttp.ClientSession, ops_url: str, users: RedisStore, width: int) -> RenderableType:
    """The state of this moment, ready to print."""
    async with session.get(f"{ops_url}/debug/pods") as response:
        pods = await response.json()
    return Group(pods_table(pods, width), users_table(await _usages(users)))


def pods_table(pods: list[dict[str, Any]], width: int) -> Table:
    """One line a pod, in so many columns of a terminal; "-" is "not known". Names are told in full."""
    table = Table("pod", "address", "in flight", "waiting", "KV usage", "requests", "hit rate", "TTFT", show_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[0].min_width = max((len(pod["name"]) for pod in pods), default=0)
    if width < WIDE_COLUMNS:
        # Who wants an address finds it in the lines above, and in `gateway-plugin pods`.
        del table.columns[1]
    for pod in pods:
        address = [pod["address"]] if width >= WIDE_COLUMNS else []
        table.add_row(
            pod["name"],
            *address,
            str(pod["inflight_requests"]),
            _number(pod["waiting_requests"], "{:.0f}"),
            _number(pod["kv_usage_ratio"], "{:.1%}"),
            str(pod["requests_total"]),
            _number(_ratio(pod["prefix_hit_tokens"], pod["prefix_query_tokens"]), "{:.0%}"),
            _number(pod["ttft_seconds"], "{:.3f} s"),
        )
    return table


def users_table(usages: dict[str, Usage]) -> Table:
    """One line a user: what is left of this minute."""
    table = Table("user", "requests/min left", "tokens/min left", show_edge=False)
    for name, usage in usages.items():
        limits = usage.limits
        table.add_row(
            name,
            f"{max(0, limits.requests_per_minute - usage.requests_used):.0f} of {limits.requests_per_minute}",
            f"{max(0, limits.tokens_per_minute - usage.tokens_used):.0f} of {limits.tokens_per_minute}",
        )
    if not usages:
        table.add_row("(none yet)", "", "")
    return table


async def _usages(users: RedisStore) -> dict[str, Usage]:
    try:
        found = {name: await users.usage(name) for name in await users.names(_MAX_USERS)}
    except StoreUnavailable:
        return {}
    return {name: usage for name, usage in found.items() if usage is not None}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
