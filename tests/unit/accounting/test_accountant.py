"""Finished exchanges: what is charged, learned and counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway_plugin.accounting.accountant import Accountant, charged_tokens, tpot_seconds
from gateway_plugin.metrics import Metrics
from protos.access_log import FinishedExchange, StreamAccessLogsMessage, entries_of
from ratelimit import LimitDefaults, MemoryStore, Settlement, StoreUnavailable, UserRecord
from routing.pods import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec


def entry(charge: str = "c-1", **changes: Any) -> FinishedExchange:
    values: dict[str, Any] = {
        "charge_id": charge,
        "request_id": "r",
        "user": "kim",
        "model": "m",
        "strategy": "random",
        "status": 200,
        "pod_address": "10.0.0.1:8000",
        "duration_seconds": 2.0,
        "ttft_seconds": 0.5,
        "attempts": 1,
        "client_aborted": False,
        "tokens": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
    return FinishedExchange(**(values | changes))


class Office:
    def __init__(self) -> None:
        self.limits = MemoryStore(lambda: 1000.0, LimitDefaults())
        self.pods = PodTable(lambda: 0.0)
        self.pods.apply(ClusterState((PodSpec("pod", "10.0.0.1:8000", ("m",)),), frozenset()))
        self.metrics = Metrics()
        self.router = Router(self.pods, np.random.default_rng(0))
        self.accountant = Accountant(self, self.pods, self.router, self.metrics)  # type: ignore[arg-type]

    async def settle_many(self, charges: list[Settlement]) -> int:
        return await self.limits.settle_many(charges)

    async def used(self) -> float:
        usage = await self.limits.usage("kim")
        assert usage is not None
        return usage.tokens_used

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def office() -> Office:
    opened = Office()
    await opened.limits.create(UserRecord("kim", rpm=10, tpm=100))
    return opened


async def test_tokens_are_charged_once_per_charge_id(office: Office):
    await office.accountant.finish([entry("a"), entry("b")])
    await office.accountant.finish([entry("a")])
    assert await office.used() == 28
    assert office.count("gateway_settlements_total", outcome="charged") == 2
    assert office.count("gateway_settlements_total", outcome="repeated") == 1


async def test_latency_goes_to_the_pod_that_answered(office: Office):
    await office.accountant.finish([entry()])
    assert office.pods.columns.ttft_seconds[0] == 0.5
    assert office.pods.columns.tpot_seconds[0] == pytest.approx(1.5 / 3)


async def test_failures_teach_no_latency(office: Office):
    await office.accountant.finish([entry("a", status=500), entry("b", client_aborted=True), entry("c", status=0)])
    assert str(office.pods.columns.ttft_seconds[0]) == "nan"
    for status in ("500", "499", "0"):
        assert office.count("gateway_request_model_fail_total", model="m", status_code=status) == 1
    assert office.count("gateway_request_model_success_total", model="m", status_code="200") == 0


async def test_foreign_entries_are_skipped_and_counted(office: Office):
    await office.accountant.finish([None, None, entry(user="")])
    assert office.count("gateway_access_log_entries_total", outcome="foreign") == 2
    assert office.count("gateway_access_log_entries_total", outcome="ours") == 1
    assert await office.used() == 0


async def test_a_model_not_served_here_is_no_new_label(office: Office):
    await office.accountant.finish([entry(model="elsewhere")])
    assert office.count("gateway_output_tokens_total", model="other") == 4


async def test_a_limiter_that_is_away_loses_charges_and_says_so(office: Office, monkeypatch: pytest.MonkeyPatch):
    async def away(_: object) -> int:
        raise StoreUnavailable("redis:6379", "refused")

    monkeypatch.setattr(office.limits, "settle_many", away)
    await office.accountant.finish([entry()])
    assert office.count("gateway_settlements_total", outcome="lost") == 1


@pytest.mark.parametrize(
    ("changes", "charged"),
    [
        ({"tokens": {"total_tokens": 9}}, 9),
        ({"tokens": {"prompt_tokens": 3, "completion_tokens": 4}}, 7),
        ({"tokens": {"total_tokens": 0, "prompt_tokens": 3}}, 3),
        ({"tokens": {"total_tokens": 9}, "status": 500}, 9),
        ({"tokens": {}}, 100),
        ({"tokens": {}, "client_aborted": True}, 30),
        ({"tokens": {}, "client_aborted": True, "response_bytes": 0}, 0),
        ({"tokens": {}, "status": 503}, 0),
    ],
)
def test_charges(changes: dict[str, Any], charged: int):
    base = {"response_bytes": 10, "reserved_tokens": 100, "prompt_tokens_estimate": 30}
    assert charged_tokens(entry(**(base | changes))) == charged


@pytest.mark.parametrize(
    ("generated", "ttft", "expected"), [(4, 0.5, 0.5), (1, 0.5, None), (4, None, None), (2, 3.0, 0.0)]
)
def test_tpot(generated: int, ttft: float | None, expected: float | None):
    assert tpot_seconds(entry(tokens={"completion_tokens": generated}, ttft_seconds=ttft)) == expected


def log_entry(message: StreamAccessLogsMessage, **metadata: str) -> Any:
    log = message.http_logs.log_entry.add()
    for name, value in metadata.items():
        log.common_properties.metadata.filter_metadata["gateway_plugin"].fields[name].string_value = value
    return log


def test_entries_are_parsed():
    message = StreamAccessLogsMessage()
    log = log_entry(message, charge_id="c", user="kim", model="m", strategy="random", request_id="r")
    usage = log.common_properties.metadata.filter_metadata["gateway_plugin.usage"]
    usage.update({"streamed": True, "total_tokens": 7, "prompt_tokens": 3, "odd": "text", "negative": -1})
    log.common_properties.upstream_remote_address.socket_address.address = "fd00::1"
    log.common_properties.upstream_remote_address.socket_address.port_value = 8000
    log.common_properties.time_to_first_upstream_rx_byte.nanos = 250_000_000
    log.common_properties.duration.seconds = 2
    log.common_properties.upstream_request_attempt_count = 2
    log.response.response_code.value = 200
    (parsed,) = entries_of(message)
    assert parsed == FinishedExchange(
        charge_id="c",
        request_id="r",
        user="kim",
        model="m",
        strategy="random",
        status=200,
        pod_address="[fd00::1]:8000",
        duration_seconds=2.0,
        ttft_seconds=0.25,
        attempts=2,
        client_aborted=False,
        tokens={"total_tokens": 7, "prompt_tokens": 3},
    )


def test_only_a_stream_has_a_time_to_first_token():
    message = StreamAccessLogsMessage()
    log = log_entry(message, charge_id="c")
    log.common_properties.time_to_first_upstream_rx_byte.seconds = 3
    (parsed,) = entries_of(message)
    assert parsed is not None
    assert parsed.ttft_seconds is None


def test_foreign_and_unfinished_entries_are_none():
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.add()
    log_entry(message, user="kim")
    log_entry(message, charge_id="c").common_properties.access_log_type = 5  # a periodic report
    assert list(entries_of(message)) == [None, None, None]
