"""A body that no engine could read, and that is long."""

from __future__ import annotations

import json

import pytest

from simulator import openai_requests
from simulator.openai_requests import EngineError, parse_chat


def test_is_not_looked_at_twice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openai_requests, "decode_exactly", lambda *_, **__: pytest.fail("seconds of everybody's time"))
    body = {"model": "m", "messages": [0] * 600_000}
    with pytest.raises(EngineError, match="cannot read the request"):
        parse_chat(json.dumps(body).encode())
