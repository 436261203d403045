"""`GET /v1/usage`: by day and by what is asked for, as JSON and CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.usage_rest import usage_router
from gateway_plugin.settings.prices import parse_prices
from gateway_plugin.settings.usage_settings import UsageSettings
from ratelimit import MemoryStore, UserRecord
from ratelimit.store.memory_ledger import MemoryLedger
from ratelimit.users.usage_rows import UsageBatch, Used

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
PRICES = parse_prices("m=1/0.5/2, *=10/10/10")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    users = MemoryStore(lambda: 0.0)
    await users.create(UserRecord("kim", group="research"))
    ledger = MemoryLedger(users.read)
    rows = {
        ("2026-11-26", "kim", "m"): Used(1, prompt=1_000_000, cached=400_000, output=500_000),
        ("2026-11-27", "kim", "m"): Used(2, 1, 1, 10, 5, 4, 3),
        ("2026-11-27", "=lee", "n"): Used(1, prompt=100_000),
    }
    await ledger.write_usage(UsageBatch("w", 1, rows), 30)
    app = new_app("test", "test", admin_token="secret")
    app.include_router(usage_router(ledger, UTC, lambda: NOW, PRICES, "secret"))
    headers = {"authorization": "Bearer secret"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def test_days_are_buckets(http: httpx.AsyncClient):
    page = (await http.get("/v1/usage", params={"from": "2026-11-25", "group_by": "user,group"})).json()
    assert page["object"] == "page"
    assert [(one["date"], len(one["results"])) for one in page["data"]] == [
        ("2026-11-25", 0),
        ("2026-11-26", 1),
        ("2026-11-27", 2),
    ]
    assert page["data"][2]["start_time"] == NOW - 12 * 3600
    assert page["data"][2]["end_time"] == NOW + 12 * 3600
    assert page["data"][2]["results"][1] == {
        "object": "organization.usage.completions.result",
        "user_id": "kim",
        "group_id": "research",
        "model": None,
        "num_model_requests": 4,
        "succeeded_requests": 2,
        "failed_requests": 1,
        "aborted_requests": 1,
        "input_tokens": 10,
        "input_cached_tokens": 5,
        "output_tokens": 4,
        "estimated_tokens": 3,
        "cost": 0.0000155,
    }


async def test_models_have_prices(http: httpx.AsyncClient):
    page = (await http.get("/v1/usage", params={"from": "2026-11-26"})).json()
    assert [one["results"][0]["cost"] for one in page["data"]] == [0.6 + 0.2 + 1.0, 1.0000155]


async def test_csv_has_a_row_for_each_result(http: httpx.AsyncClient):
    answer = await http.get("/v1/usage", params={"from": "2026-11-27", "group_by": "user", "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    header, lee, kim = answer.text.splitlines()
    assert header.startswith("date,user_id,group_id,model,num_model_requests,")
    assert lee == "2026-11-27,'=lee,,,1,1,0,0,100000,0,0,0,1.0"
    assert kim == "2026-11-27,kim,,,4,2,1,1,10,5,4,3,1.55e-05"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"group_by": "pod"}, "group_by"),
        ({"from": "2026-11-28"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "yesterday"}, "query.from"),
        ({"format": "xml"}, "query.format"),
    ],
)
async def test_bad_questions_are_named(http: httpx.AsyncClient, query: dict[str, str], param: str):
    answer = await http.get("/v1/usage", params=query)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == param


async def test_it_needs_the_admin_token(http: httpx.AsyncClient):
    answer = await http.get("/v1/usage", headers={"authorization": "Bearer other"})
    assert answer.status_code == 401


async def test_where_no_ledger_is_kept_it_says_so():
    app = new_app("test", "test")
    app.include_router(usage_router(None, ZoneInfo("Europe/Berlin"), lambda: NOW, {}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.get("/v1/usage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "usage_not_kept")


def test_prices_are_read():
    assert parse_prices("a=b/c=1/0.5/2, *=0/0/0") == {"a=b/c": (1.0, 0.5, 2.0), "*": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize("text", ["m", "m=1", "m=1/2", "=1/2/3", "m=1/x/3", "m=1/-2/3", "m=1/inf/3", "m=1/nan/3"])
def test_bad_prices_are_refused(text: str):
    with pytest.raises(ValueError, match=r"is not|price"):
        UsageSettings(prices=text)
