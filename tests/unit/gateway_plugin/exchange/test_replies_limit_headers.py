"""What a user has left, as OpenAI's headers say it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.replies import decision_headers, duration
from ratelimit import Decision, Limits, Outcome

LIMIT, USED, SECONDS = st.integers(1, 2**63 - 1), st.integers(0, 2**63), st.floats(-1.0, 65.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0s"), (0.0, "0s"), (0.2501, "251ms"), (0.9999, "1s"), (1.0, "1s"), (59.1, "1m0s"), (90.0, "1m30s")],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


@given(LIMIT, USED, SECONDS, LIMIT, USED, SECONDS)
def test_each_kind_tells_its_own(
    requests: int, requests_used: int, requests_reset: float, tokens: int, tokens_used: int, tokens_reset: float
):
    limits = Limits(requests, tokens)
    decision = Decision(Outcome.ADMITTED, limits, requests_used, tokens_used, 0.0, 0, requests_reset, tokens_reset)
    told = {}
    for kind, limit, used, reset in (
        ("requests", requests, requests_used, requests_reset),
        ("tokens", tokens, tokens_used, tokens_reset),
    ):
        told[f"x-ratelimit-limit-{kind}"] = str(limit)
        told[f"x-ratelimit-remaining-{kind}"] = str(max(0, limit - used))
        whole = math.ceil(max(0.0, reset))
        text = f"{whole}s" if whole < 60 else f"1m{whole - 60}s"
        milliseconds = math.ceil(max(0.0, reset) * 1000)
        told[f"x-ratelimit-reset-{kind}"] = f"{milliseconds}ms" if 0 < milliseconds < 1000 else text
    assert decision_headers(decision) == told


def test_who_has_no_limits_is_told_nothing():
    assert decision_headers(Decision(Outcome.ADMITTED, None)) == {}
