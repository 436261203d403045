"""`GET /v1/usage`: who used what, by day, in the shape of OpenAI's usage API or as CSV."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import common_errors, errors
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit.users.usage_rows import UsedBy, sum_up
from ratelimit.windows.periods import span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from ratelimit.users.usage_rows import LedgerStore, Used

    Prices = Mapping[str, tuple[float, float, float]]

USAGE_PATH = "/v1/usage"
_DEFAULT_DAYS = 30
_MAX_DAYS = 366
"""Of one answer."""
_MAX_RESULTS = 100_000
"""Of one answer: some 40 MB. Whoever wants more asks for fewer days."""
_FIELDS = ("user", "group", "model")
_MILLION = 1e6


class UsageResult(BaseModel):
    """Of one day, and of whom and what is asked by; null: not asked by. Named as OpenAI names it, where it does."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    user_id: str | None
    """Empty: requests in nobody's name."""
    group_id: str | None
    """At the time of writing; empty: none."""
    model: str | None
    num_model_requests: int
    """Those that were sent to a pod, or should have been; not those that the gateway refused."""
    succeeded_requests: int
    failed_requests: int
    aborted_requests: int
    """The client left."""
    input_tokens: int
    """As engines told them, the cached ones included."""
    input_cached_tokens: int
    output_tokens: int
    estimated_tokens: int
    """Prompt and output of answers that never told theirs, most of them aborted."""
    cost: float | None
    """At the prices of now; estimated tokens cost nothing here. Null: no prices are configured."""


class UsageBucket(BaseModel):
    """One day."""

    object: Literal["bucket"] = "bucket"
    date: str
    start_time: int
    end_time: int
    results: list[UsageResult]


class UsagePage(BaseModel):
    """All days that were asked for, also those on which nothing was used."""

    object: Literal["page"] = "page"
    data: list[UsageBucket]
    has_more: Literal[False] = False
    next_page: None = None


Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$", examples=["2026-11-27"])]


def usage_router(
    ledger: LedgerStore | None,
    zone: tzinfo,
    now: Callable[[], float],
    prices: Prices,
    admin_token: str = "",
) -> APIRouter:
    """`ledger`: None where none is kept. `now`: Unix time."""
    router = APIRouter(tags=["usage"], dependencies=admin_guard(admin_token), responses=common_errors(admin_token))

    @router.get(USAGE_PATH, responses=errors(404), response_model=UsagePage)
    async def usage(
        start: Annotated[Day, Query(alias="from", description="the first day; empty: 30 days up to the last")] = "",
        end: Annotated[Day, Query(alias="to", description="the last day; empty: today")] = "",
        group_by: Annotated[str, Query(description="of user, group, model, separated by commas; empty: sums")] = "",
        as_form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> UsagePage | Response:
        if ledger is None:
            raise ApiError(kinds.NO_LEDGER, "no usage ledger is kept here: set usage.ledger (GATEWAY_LEDGER)")
        by, days = _fields_of(group_by), _days(start, end, now(), zone)
        rows = await ledger.read_usage(days)
        results = _results(rows, by, prices)
        if len(results) > _MAX_RESULTS:
            raise ApiError(kinds.BAD_VALUE, f"more than {_MAX_RESULTS} results: ask for fewer days", param="from")
        if as_form == "csv":
            return Response(_csv(results), media_type="text/csv")
        return UsagePage(data=_buckets(days, results, zone))

    return router


def _fields_of(group_by: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in group_by.split(",") if name.strip())
    for name in names:
        if name not in _FIELDS:
            raise ApiError(kinds.BAD_VALUE, f"group_by: {name!r} is none of {', '.join(_FIELDS)}", param="group_by")
    return names


def _days(start: str, end: str, now: float, zone: tzinfo) -> list[str]:
    try:
        last = date.fromisoformat(end) if end else datetime.fromtimestamp(now, zone).date()
        first = date.fromisoformat(start) if start else last - timedelta(days=_DEFAULT_DAYS - 1)
        count = (last - first).days + 1
    except (ValueError, OverflowError) as error:
        raise ApiError(kinds.BAD_VALUE, f"from, to: {error}", param="from") from None
    if not 1 <= count <= _MAX_DAYS:
        raise ApiError(kinds.BAD_VALUE, f"from {first} to {last} are not 1 to {_MAX_DAYS} days", param="from")
    return [(first + timedelta(days=day)).isoformat() for day in range(count)]


def _results(rows: Mapping[UsedBy, Used], by: Sequence[str], prices: Prices) -> list[tuple[UsedBy, UsageResult]]:
    """By day, then by name."""
    fields = ("day", *by)
    costs: dict[UsedBy, float] = {}
    if prices:
        # Models have prices, so that they are summed up last.
        for who, used in sum_up(rows, (*fields, "model")).items():
            key = next(iter(sum_up({who: used}, fields)))
            costs[key] = costs.get(key, 0.0) + cost_of(who.model, used, prices)
    return [(who, _result(who, used, by, costs.get(who))) for who, used in sorted(sum_up(rows, fields).items())]


def cost_of(model: str, used: Used, prices: Prices) -> float:
    """Of what engines told."""
    prompt, cached, output = prices.get(model) or prices.get("*") or (0.0, 0.0, 0.0)
    computed = max(0, used.prompt - used.cached)
    return (computed * prompt + used.cached * cached + used.output * output) / _MILLION


def _result(who: UsedBy, used: Used, by: Sequence[str], cost: float | None) -> UsageResult:
    return UsageResult(
        user_id=who.user if "user" in by else None,
        group_id=who.group if "group" in by else None,
        model=who.model if "model" in by else None,
        num_model_requests=used.requests,
        succeeded_requests=used.succeeded,
        failed_requests=used.failed,
        aborted_requests=used.aborted,
        input_tokens=used.prompt,
        input_cached_tokens=used.cached,
        output_tokens=used.output,
        estimated_tokens=used.estimated,
        cost=None if cost is None else round(cost, 9),
    )


def _buckets(days: Sequence[str], results: Sequence[tuple[UsedBy, UsageResult]], zone: tzinfo) -> list[UsageBucket]:
    by_day: dict[str, list[UsageResult]] = {day: [] for day in days}
    for who, result in results:
        by_day[who.day].append(result)
    buckets = []
    for day, some in by_day.items():
        noon = datetime.combine(date.fromisoformat(day), time(12), zone)
        span = span_of("day", noon.timestamp(), zone)
        buckets.append(UsageBucket(date=day, start_time=span.start, end_time=span.end, results=some))
    return buckets


def _csv(results: Sequence[tuple[UsedBy, UsageResult]]) -> str:
    names = [name for name in UsageResult.model_fields if name != "object"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("date", *names))
    for who, result in results:
        writer.writerow((who.day, *(_cell(getattr(result, name)) for name in names)))
    return text.getvalue()


def _cell(value: object) -> object:
    # Spreadsheets take names that begin so for formulas.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
