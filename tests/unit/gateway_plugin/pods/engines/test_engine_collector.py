from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway_plugin.pods.engines.engine_metrics import EngineCollector
from gateway_plugin.pods.engines.fetch import FetchOutcome
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


class World:
    """Pods, scrapes, and the page that operators read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.table = PodTable(lambda: self.now)
        self.outcomes = dict.fromkeys(FetchOutcome, 0)
        self.registry = CollectorRegistry()
        self.registry.register(EngineCollector(self.table, self.outcomes))

    def serve(self, *names: str) -> None:
        pods = tuple(PodSpec(name=name, address=f"{name}:8000", models=("m", "n")) for name in names)
        self.table.apply(ClusterState(pods, frozenset()))

    def polled(self, name: str, **values: float) -> int:
        row = self.table.row_of(f"{name}:8000")
        assert row is not None
        assert self.table.polled(row, self.table.incarnation(row), values)
        return row

    def samples(self) -> dict[tuple[str, str], float]:
        """Values by metric and label value."""
        text = generate_latest(self.registry).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        values = {(sample.name, next(iter(sample.labels.values()))): sample.value for sample in samples}
        assert len(values) == len(samples)
        return values


@pytest.fixture
def world() -> World:
    return World()


def test_scrapes_by_outcome(world: World) -> None:
    world.outcomes[FetchOutcome.OK] = 7
    world.outcomes[FetchOutcome.TIMEOUT] += 2
    scrapes = {
        label: value for (name, label), value in world.samples().items() if name == "gateway_engine_scrapes_total"
    }
    assert scrapes == {"ok": 7, "timeout": 2, "refused": 0, "bad_status": 0, "bad_page": 0, "too_large": 0}


def test_what_routing_sees_of_each_pod(world: World) -> None:
    world.serve("a", "b")
    row = world.polled("a", running_requests=3.0, waiting_requests=1.0, kv_usage_ratio=0.25)
    world.table.book(row)
    world.now += 4.0
    pods = {key: value for key, value in world.samples().items() if key[0].startswith("gateway_pod_")}
    assert pods == {
        ("gateway_pod_running_requests", "a"): 3.0,
        ("gateway_pod_waiting_requests", "a"): 1.0,
        ("gateway_pod_kv_usage_ratio", "a"): 0.25,
        ("gateway_pod_in_flight_requests", "a"): 1.0,
        ("gateway_pod_metrics_age_seconds", "a"): 4.0,
        # Never polled.
        ("gateway_pod_in_flight_requests", "b"): 0.0,
    }


def test_numbers_too_old_for_routing_are_not_shown_but_their_age_is(world: World) -> None:
    world.serve("a")
    world.polled("a", running_requests=3.0)
    world.now += 10.0
    assert ("gateway_pod_running_requests", "a") in world.samples()
    world.now += 0.1
    samples = world.samples()
    assert ("gateway_pod_running_requests", "a") not in samples
    assert samples["gateway_pod_metrics_age_seconds", "a"] == pytest.approx(10.1)


def test_a_pod_that_is_gone_leaves_nothing_behind(world: World) -> None:
    world.serve("a", "b")
    world.polled("a", running_requests=3.0)
    world.serve("b")
    assert "a" not in {label for _, label in world.samples()}
