"""Finished exchanges: what is charged, learned and counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from gateway_plugin.accounting.accountant import Accountant, charged_tokens, tpot_seconds
from gateway_plugin.accounting.cut_off import CutOffTokens
from gateway_plugin.metrics.families import Metrics
from protos.access_log import FinishedExchange, UnreadableEntry, entries_of
from ratelimit import LimitDefaults, MemoryStore, Settlement, StoreUnavailable, UserRecord
from routing.pods.circuit import Failure
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest


def entry(charge: str = "c-1", **changes: Any) -> FinishedExchange:
    values: dict[str, Any] = {
        "charge_id": charge,
        "user": "kim",
        "model": "m",
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
        self.now = 0.0
        self.pods = PodTable(lambda: self.now)
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


async def test_tokens_of_an_earlier_response_are_not_counted_again(office: Office):
    await office.accountant.finish([entry(), entry("c-2", uncounted=True)])
    assert office.count("gateway_output_tokens_total", model="m") == 4


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
        ({"tokens": {}}, 30 + 2),
        ({"tokens": {}, "reserved_tokens": 30, "response_bytes": 5000}, 30),
        ({"tokens": {"total_tokens": 9}, "uncounted": True, "reserved_tokens": 0, "prompt_tokens_estimate": 0}, 0),
        ({"tokens": {}, "uncounted": True, "streamed": True, "reserved_tokens": 30, "response_bytes": 400_000}, 30),
        ({"tokens": {}, "client_aborted": True}, 30 + 2),
        ({"tokens": {}, "client_aborted": True, "streamed": True, "response_bytes": 4000}, 30 + 20),
        ({"tokens": {}, "client_aborted": True, "response_bytes": 0, "status": 0, "duration_seconds": 0.0}, 30),
        ({"tokens": {}, "client_aborted": True, "response_bytes": 0, "status": 0, "duration_seconds": 2.0}, 30 + 40),
        ({"tokens": {}, "client_aborted": True, "response_bytes": 0, "status": 0, "duration_seconds": 60.0}, 100),
        ({"tokens": {}, "client_aborted": True, "response_bytes": 0, "status": 0, "pod_address": ""}, 0),
        ({"tokens": {}, "flags": frozenset({"upstream_connection_termination"})}, 30 + 2),
        ({"tokens": {"total_tokens": 9}, "flags": frozenset({"upstream_connection_termination"})}, 9),
        ({"tokens": {}, "status": 503}, 0),
        ({"tokens": {}, "status": 400}, 0),
        ({"tokens": {}, "status": 399}, 30 + 2),
    ],
)
def test_charges(changes: dict[str, Any], charged: int):
    base = {"response_bytes": 10, "reserved_tokens": 100, "prompt_tokens_estimate": 30}
    assert charged_tokens(entry(**(base | changes)), CutOffTokens()) == charged


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
    targets = "10.0.0.1:8000,[fd00::1]:8000"
    log = log_entry(message, charge_id="c", user="kim", model="m", strategy="random", request_id="r", targets=targets)
    usage = log.common_properties.metadata.filter_metadata["gateway_plugin.usage"]
    usage.update({"tokens": {"total_tokens": 7, "prompt_tokens": 3, "odd": "text", "cached_tokens": -1}})
    log.common_properties.upstream_remote_address.socket_address.address = "fd00::1"
    log.common_properties.upstream_remote_address.socket_address.port_value = 8000
    log.common_properties.time_to_first_upstream_rx_byte.nanos = 250_000_000
    log.common_properties.duration.seconds = 2
    log.common_properties.upstream_request_attempt_count = 2
    log.common_properties.response_flags.upstream_protocol_error = True
    log.response.response_code.value = 200
    log.response.response_code_details = "upstream_reset_after_response_started{protocol_error}"
    log.response.response_body_bytes = 77
    (parsed,) = entries_of(message.SerializeToString())
    assert parsed == FinishedExchange(
        charge_id="c",
        user="kim",
        model="m",
        status=200,
        pod_address="[fd00::1]:8000",
        duration_seconds=2.0,
        ttft_seconds=None,
        attempts=2,
        client_aborted=False,
        response_bytes=77,
        streamed=False,
        targets=("10.0.0.1:8000", "[fd00::1]:8000"),
        flags=frozenset({"upstream_protocol_error"}),
        details="upstream_reset_after_response_started{protocol_error}",
        request_id="r",
        strategy="random",
        tokens={"total_tokens": 7, "prompt_tokens": 3},
    )


FIRST_OUTPUT = {
    "after the headers": (1_700_000_000_900.0, 0.4),
    "in the headers' own millisecond": (1_700_000_000_749.0, 0.25),
    "a clock that was set back": (1_699_999_990_000.0, 0.25),
    "a clock that was set forward": (1_700_000_010_000.0, 2.0),
    "nobody noted it": (None, None),
}


@pytest.mark.parametrize(("noted", "expected"), FIRST_OUTPUT.values(), ids=FIRST_OUTPUT)
def test_the_first_output_is_the_first_token(noted: float | None, expected: float | None):
    message = StreamAccessLogsMessage()
    log = log_entry(message, charge_id="c")
    usage = log.common_properties.metadata.filter_metadata["gateway_plugin.usage"]
    usage.update({"first_body_at_ms": noted} if noted else {})
    log.common_properties.start_time.seconds, log.common_properties.start_time.nanos = 1_700_000_000, 500_000_000
    log.common_properties.time_to_first_upstream_rx_byte.nanos = 250_000_000
    log.common_properties.time_to_last_downstream_tx_byte.seconds = 2
    (parsed,) = entries_of(message.SerializeToString())
    assert isinstance(parsed, FinishedExchange)
    assert parsed.ttft_seconds == (expected and pytest.approx(expected, abs=1e-6))
    assert parsed.tokens == {}


def test_only_a_stream_has_a_time_to_first_token():
    message = StreamAccessLogsMessage()
    log = log_entry(message, charge_id="c")
    log.common_properties.time_to_first_upstream_rx_byte.seconds = 3
    (parsed,) = entries_of(message.SerializeToString())
    assert isinstance(parsed, FinishedExchange)
    assert parsed.ttft_seconds is None


def test_foreign_and_unfinished_entries_are_none():
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.add()
    log_entry(message, user="kim")
    log_entry(message, charge_id="c").common_properties.access_log_type = 5  # a periodic report
    assert list(entries_of(message.SerializeToString())) == [None, None, None]


async def test_failures_teach_the_health_of_the_pods_that_were_met(office: Office):
    second = PodSpec("second", "10.0.0.2:8000", ("m",))
    office.pods.apply(ClusterState((PodSpec("pod", "10.0.0.1:8000", ("m",)), second), frozenset()))
    targets = ("10.0.0.1:8000", "10.0.0.2:8000")
    office.now += 10
    for charge in "ab":
        await office.accountant.finish([entry(charge, pod_address=targets[1], attempts=2, targets=targets)])
    assert [office.pods.health.describe(row) for row in (0, 1)] == ["open", "closed"]
    assert office.count("gateway_retries_total", model="m") == 2


async def test_an_exchange_older_than_its_pod_is_a_predecessors(office: Office):
    office.now += 1
    await office.accountant.finish([entry(status=503, duration_seconds=1.1)])
    assert office.pods.health.describe(0) == "closed"
    await office.accountant.finish([entry(status=503, duration_seconds=0.9)])
    assert office.pods.health.describe(0) == "open"


async def test_a_probe_is_decided_by_its_own_entry(office: Office):
    health = office.pods.health
    office.now += 10
    await office.accountant.finish([entry("a", status=503)])
    policy = office.router.policy("random")
    assert policy is not None
    for charge, changes, state in (
        ("left", {"client_aborted": True}, "half_open"),
        ("unknown to Envoy", {"pod_address": "10.9.9.9:1", "targets": ("10.0.0.1:8000",)}, "half_open"),
        ("good", {}, "closed"),
    ):
        office.now += 60
        for _, circuit in health.due():
            circuit.checked(passed=True)
        office.router.book(policy, RoutingRequest("m"), charge)
        await office.accountant.finish([entry("begun long ago", duration_seconds=office.now - 5)])
        assert health.describe(0) == "half_open"
        await office.accountant.finish([entry(charge, **changes)])
        assert health.describe(0) == state


async def test_a_broken_stream_is_no_success(office: Office):
    office.now += 10
    await office.accountant.finish([entry(flags=frozenset({"upstream_protocol_error"}))])
    assert office.count("gateway_request_model_fail_total", model="m", status_code="200") == 1
    assert str(office.pods.columns.ttft_seconds[0]) == "nan"
    circuit = office.pods.health.circuit(0)
    assert circuit is not None
    assert circuit.failures == {Failure.RESET: 1}


async def test_an_entry_that_cannot_be_booked_harms_no_other(office: Office, caplog, monkeypatch):
    settle = office.router.settle

    def fails_for_b(charge_id: str, *args: Any, **values: Any) -> bool:
        if charge_id == "b":
            raise RuntimeError("a fault of ours")
        return settle(charge_id, *args, **values)

    monkeypatch.setattr(office.router, "settle", fails_for_b)
    bad_name = entry("d", user="a\nb")
    await office.accountant.finish([entry("a"), entry("b"), UnreadableEntry("torn"), bad_name, entry("c")])
    # What "b" cost is charged, too.
    assert await office.used() == 3 * 14
    assert office.count("gateway_access_log_entries_total", outcome="failed") == 2
    assert office.count("gateway_access_log_entries_total", outcome="unreadable") == 1
    assert len(caplog.records) == 2


async def test_a_flood_of_bad_entries_is_one_line_of_the_log(office: Office, caplog):
    await office.accountant.finish([UnreadableEntry("torn")] * 50)
    assert len(caplog.records) == 1


def test_an_entry_with_torn_metadata_is_unreadable_and_the_next_one_is_not():
    message = StreamAccessLogsMessage()
    torn = log_entry(message, charge_id="c", user="kim")
    torn.common_properties.metadata.filter_metadata["gateway_plugin.usage"].update({"tokens": {"prompt_tokens": 1}})
    log_entry(message, charge_id="d", user="kim")
    raw = message.SerializeToString()
    at = raw.index(b"kim")
    parsed, sound = entries_of(raw[:at] + b"\xff\xfe\xfd" + raw[at + 3 :])
    assert isinstance(parsed, UnreadableEntry)
    assert isinstance(sound, FinishedExchange)


async def test_a_model_whose_series_went_counts_anew(office: Office):
    await office.accountant.finish([entry("a")])
    office.metrics.forget_model("m")
    assert office.metrics.registry.get_sample_value("gateway_output_tokens_total", {"model": "m"}) is None
    await office.accountant.finish([entry("b")])
    assert office.count("gateway_output_tokens_total", model="m") == 4
