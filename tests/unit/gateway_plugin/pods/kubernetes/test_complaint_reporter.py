"""Each mistake is said once, in the log and as an Event that the API server takes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from gateway_plugin.pods.kubernetes.complaints import Complaint, ComplaintReason, ObjectRef
from gateway_plugin.pods.kubernetes.events import event_body
from gateway_plugin.pods.kubernetes.reporter import REPEAT_AFTER_SECONDS, Reporter
from tests.fake_kubernetes import Cluster

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def complaint(name: str = "p", text: str = "label port is 'x'") -> Complaint:
    return Complaint(ObjectRef("Pod", "v1", "ns", name, f"uid-{name}"), ComplaintReason.BAD_PORT, text)


class World:
    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.posted: list[Complaint] = []
        self.reporter = Reporter(self.posted.append, lambda: self.now_seconds)


def test_a_mistake_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            world.reporter.tell([complaint()])
    assert caplog.messages == ["Pod ns/p: label port is 'x'"]
    assert world.posted == [complaint()]
    assert world.reporter.standing == {ComplaintReason.BAD_PORT: 1}


def test_another_mistake_is_another_line() -> None:
    world = World()
    world.reporter.tell([complaint()])
    world.reporter.tell([complaint(text="label port is 'y'"), complaint("q")])
    assert len(world.posted) == 3
    assert world.reporter.standing == {ComplaintReason.BAD_PORT: 2}
    world.reporter.tell([])
    assert not world.reporter.standing


def test_what_stands_for_long_is_said_again() -> None:
    world = World()
    world.reporter.tell([complaint()])
    world.now_seconds = REPEAT_AFTER_SECONDS + 1
    world.reporter.tell([complaint()])
    assert len(world.posted) == 2


def test_the_server_takes_the_event() -> None:
    cluster = Cluster()
    body = event_body(complaint(), "gateway-1", AT)
    stored = cluster.create("events", body, "ns")
    assert (stored["reason"], stored["type"], stored["message"]) == ("BadPort", "Warning", "label port is 'x'")
    assert stored["involvedObject"]["uid"] == "uid-p"
    assert stored["lastTimestamp"] == "2026-01-02T03:04:05Z"


def test_replicas_make_the_same_event_and_longest_names_fit() -> None:
    name = "a" * 199 + "-" + "b" * 53
    first, second = event_body(complaint(name), "one", AT), event_body(complaint(name), "two", AT)
    assert first["metadata"] == second["metadata"]
    assert event_body(complaint(name, "other"), "one", AT)["metadata"] != first["metadata"]
    assert Cluster().create("events", first, "ns")["metadata"]["name"].startswith("a" * 199 + ".")
