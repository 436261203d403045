"""What people hear of a finding: once, again after an hour, and when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway_plugin.controller.announcing import RouteAnnouncer
from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.route_client import connected
from gateway_plugin.controller.workloads import Ref
from tests.fake_kubernetes import FakeServer

_START = datetime(2026, 5, 1, tzinfo=UTC)
_FINDING = Finding(Ref("Deployment", "default", "a"), "BadPort", "port 0", "use another")


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = _START


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def announcer(server: FakeServer, tmp_path: Path, clock: Clock) -> AsyncIterator[RouteAnnouncer]:
    async with connected(server.kubeconfig(tmp_path)) as client:
        yield RouteAnnouncer(client, lambda: clock.now)


def uid(ref: Ref) -> str:
    return f"uid of {ref.name}"


async def test_once_then_hourly_then_over(
    server: FakeServer, announcer: RouteAnnouncer, clock: Clock, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "gateway_plugin")
    for minutes in (0, 10, 50):
        clock.now = _START + timedelta(minutes=minutes)
        await announcer.announce([_FINDING, _FINDING], uid)
    assert server.requests.count("create events") == 1
    clock.now = _START + timedelta(minutes=61)
    await announcer.announce([_FINDING], uid)
    (name,) = server.cluster.names("events")
    event = server.cluster.get("events", name)
    assert event["firstTimestamp"] == "2026-05-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-05-01T01:01:00Z"
    assert event["involvedObject"]["uid"] == "uid of a"
    await announcer.announce([], uid)
    await announcer.announce([_FINDING], uid)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("gateway_plugin")]
    told = "BadPort: Deployment default/a: port 0; use another"
    assert lines == [told, "BadPort of Deployment default/a is over", told]


async def test_events_that_nobody_may_write_stop_nothing(server: FakeServer, announcer: RouteAnnouncer):
    server.faults.refuse_events = True
    other = Finding(Ref("Deployment", "nowhere", "b"), "BadPort", "port 0", "use another")
    await announcer.announce([_FINDING, other], uid)
    assert server.requests.count("create events") == 2


async def test_many_findings_come_in_portions(server: FakeServer, announcer: RouteAnnouncer):
    findings = [Finding(Ref("Deployment", "default", f"d-{n}"), "BadPort", "port 0", "fix") for n in range(120)]
    for expected in (50, 100, 120, 120):
        await announcer.announce(findings, uid)
        assert len(server.cluster.names("events")) == expected
