"""The demo's live table can be read at the width that terminals have."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gateway_plugin.tools.demo.table import pods_table


def pod(number: int) -> dict[str, Any]:
    known = {"waiting_requests": 0.0, "kv_usage_ratio": 0.015, "prefix_hit_tokens": 10.0, "prefix_query_tokens": 20.0}
    return {
        "name": f"llama-3-8b-{number}",
        "address": f"127.0.0.1:800{number}",
        "inflight_requests": 1,
        "requests_total": 12345,
        "ttft_seconds": 0.123,
        **known,
    }


@pytest.mark.parametrize(("width", "shows_address"), [(80, False), (120, True)])
def test_names_are_whole(width: int, shows_address: bool):
    shown = Console(file=io.StringIO(), width=width)
    shown.print(pods_table([pod(0), pod(1)], width))
    assert isinstance(shown.file, io.StringIO)
    text = shown.file.getvalue()
    for whole in ("llama-3-8b-0", "llama-3-8b-1", "12345", "0.123 s", "50%"):
        assert whole in text, text
    assert ("127.0.0.1:8000" in text) is shows_address
    assert len(text.splitlines()) == 4
