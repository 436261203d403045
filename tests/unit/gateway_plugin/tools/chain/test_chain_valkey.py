"""The one starter of a Valkey: where its data is, what outlives it, and what is said when it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from gateway_plugin.tools.chain.processes import ProcessError
from gateway_plugin.tools.chain.valkey import Valkey

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("keeps", [True, False])
def test_data_outlives_it_where_it_shall_also_below_a_directory_with_blanks(tmp_path: Path, *, keeps: bool):
    with Valkey(tmp_path / "a place with 'blanks'", keeps=keeps) as server, redis.Redis(port=server.port) as client:
        client.set("a", "1")
        server.stop()
        server.start()
        assert client.get("a") == (b"1" if keeps else None)


def test_one_that_does_not_start_says_why_at_once(tmp_path: Path):
    wrong = Valkey(tmp_path / "three", options=["--no-such-option", "1"])
    with pytest.raises(ProcessError, match="no-such-option"):
        wrong.start()
    with Valkey(tmp_path / "one") as running:
        second = Valkey(tmp_path / "two", port=running.port)
        with pytest.raises(ProcessError, match=f"port {running.port} is in use"):
            second.start()


def test_to_end_what_does_not_run_is_nothing(tmp_path: Path):
    server = Valkey(tmp_path)
    server.stop()
    server.kill()
