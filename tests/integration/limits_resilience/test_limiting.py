"""The limiter as the service puts it together, over a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway_plugin.intent.headers import ANONYMOUS_PREFIX
from gateway_plugin.limiting import Limiting
from gateway_plugin.settings import Settings
from ratelimit import Admission, Outcome, UserRecord

pytestmark = pytest.mark.redis


@pytest.fixture
async def limiting(valkey):
    opened = Limiting(Settings(endpoints_file=Path("none"), redis_url=valkey.url))
    yield opened
    await opened.close()


async def admit(limiting: Limiting, user: str, charge_id: str) -> Outcome:
    answer = limiting.admit(Admission(user, charge_id, "m"))
    assert not hasattr(answer, "outcome"), "a server is asked"
    return (await answer).outcome


async def test_a_user_who_has_spent_their_requests_is_refused_without_asking(limiting: Limiting):
    await limiting.store.create(UserRecord("lgy", rpm=1))
    assert await admit(limiting, "lgy", "a") is Outcome.ADMITTED
    assert limiting.refusal("lgy", "m") is None
    assert await admit(limiting, "lgy", "b") is Outcome.REQUESTS_EXCEEDED
    # The first refusal of a user reads their record, to know for which models it holds.
    await asyncio.sleep(0.1)
    refusal = limiting.refusal("lgy", "other")
    assert refusal is not None
    assert refusal.outcome is Outcome.REQUESTS_EXCEEDED
    assert limiting.exhausted is not None
    limiting.exhausted.clear()
    assert await admit(limiting, "lgy", "c") is Outcome.REQUESTS_EXCEEDED
    assert limiting.refusal("lgy", "other") is not None, "the record is known by now"


async def test_what_passes_is_not_remembered(limiting: Limiting):
    await limiting.store.create(UserRecord("lgy", max_parallel=1))
    outcomes = [await admit(limiting, "lgy", charge) for charge in "ab"]
    assert outcomes == [Outcome.ADMITTED, Outcome.PARALLEL_EXCEEDED]
    assert await admit(limiting, "nobody", "c") is Outcome.UNKNOWN_USER
    await asyncio.sleep(0.1)
    assert [limiting.refusal(user, "m") for user in ("lgy", "nobody")] == [None, None]


async def test_users_without_a_name_are_limited_at_once(limiting: Limiting):
    decision = limiting.admit(Admission(f"{ANONYMOUS_PREFIX}10.0.0.9", "a", "m"))
    assert getattr(decision, "outcome", None) is Outcome.ADMITTED
