"""AIBrix's manager beside ours, and what replicas of the gateway tell."""

from __future__ import annotations

from gateway_plugin.controller.coexistence import SILENT_SECONDS, AibrixWatch
from gateway_plugin.controller.gateway_demand import OLD_SECONDS, GatewayDemand, ModelLoad, ReplicaLoad


def test_a_manager_that_renews_is_active_and_one_that_is_silent_is_not():
    watch = AibrixWatch()
    assert watch.is_active({"holderIdentity": "a", "renewTime": "1"}, 0)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50 + SILENT_SECONDS - 1)
    assert not watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50 + SILENT_SECONDS)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "3"}, 200)


def test_no_lease_and_one_that_was_given_back_mean_nobody():
    assert not AibrixWatch().is_active(None, 0)
    assert not AibrixWatch().is_active({"holderIdentity": "", "renewTime": "1"}, 0)


def load(held: int = 0, idle: float = 400.0) -> ReplicaLoad:
    return ReplicaLoad({"llama": ModelLoad(1, held, idle, 2.0)}, {"default/p0": {"llama": 3}})


def test_replicas_are_added_up_and_the_least_idle_one_counts():
    demand = GatewayDemand(lambda: 0.0)
    demand.expect(["a", "b"])
    demand.took("a", load(2, 400))
    demand.took("b", load(3, 350))
    assert (demand.waiting("llama"), demand.idle_seconds("llama")) == (5, 350)
    assert demand.in_flight() == {("default/p0", "llama"): 6}
    assert demand.requests_per_second("llama") == 4


def test_a_replica_that_tells_nothing_keeps_everything_as_it_is():
    clock = [0.0]
    demand = GatewayDemand(lambda: clock[0])
    assert demand.in_flight() is None
    demand.expect(["a", "b"])
    demand.took("a", load())
    assert demand.in_flight() is None
    assert demand.idle_seconds("llama") == 0
    demand.took("b", load())
    assert demand.in_flight() is not None
    clock[0] = OLD_SECONDS
    assert demand.in_flight() is None
    demand.expect(["a"])
    demand.took("a", load())
    assert demand.idle_seconds("llama") == 400
