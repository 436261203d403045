"""What replicas of the gateway tell of models, added up; and what is not known."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_plugin.controller.gateway_demand import OLD_SECONDS, GatewayDemand, ModelLoad, ReplicaLoad, load_urls


@dataclass
class Replicas:
    now: float = 0.0
    demand: GatewayDemand = field(init=False)

    def __post_init__(self) -> None:
        self.demand = GatewayDemand(lambda: self.now)
        self.demand.expect(["a", "b"])

    def tell(self, url: str, in_flight: int = 0, held: int = 0, total: int = 0) -> None:
        self.demand.took(url, ReplicaLoad({"llama": ModelLoad(in_flight, held, total)}))


def test_replicas_are_added_up():
    replicas = Replicas()
    replicas.tell("a", 3, 2)
    replicas.tell("b", 4, 3)
    demand = replicas.demand
    assert (demand.in_flight("llama"), demand.waiting("llama"), demand.anybody_waits) == (7, 5, True)


def test_a_model_is_idle_since_the_last_replica_used_it():
    replicas = Replicas()
    for now, total in ((0, 0), (100, 1), (200, 1), (400, 1)):
        replicas.now = now
        replicas.tell("a", total=total)
        replicas.tell("b")
    assert replicas.demand.idle_seconds("llama") == 300
    replicas.now = 401
    replicas.tell("b", in_flight=1)
    assert replicas.demand.idle_seconds("llama") == 0


def test_a_replica_that_tells_nothing_keeps_everything_as_it_is():
    replicas = Replicas()
    demand = replicas.demand
    replicas.tell("a")
    assert demand.in_flight("llama") is None
    replicas.tell("b")
    assert demand.in_flight("llama") == 0
    replicas.now = OLD_SECONDS
    assert demand.in_flight("llama") is None
    assert demand.idle_seconds("llama") == 0
    demand.expect(["a"])
    replicas.tell("a")
    assert demand.idle_seconds("llama") == OLD_SECONDS


def test_nothing_is_known_of_no_replicas():
    demand = GatewayDemand(lambda: 1000.0)
    assert (demand.idle_seconds("llama"), demand.in_flight("llama"), demand.waiting("llama")) == (0, None, 0)


def test_rates_are_smooth_and_a_restart_of_a_replica_is_no_negative_one():
    replicas = Replicas()
    for second in range(60):
        replicas.now = second
        replicas.tell("a", total=second * 4)
    assert abs(replicas.demand.requests_per_second("llama") - 4) < 0.1
    replicas.now = 60
    replicas.tell("a", total=0)
    assert 0 < replicas.demand.requests_per_second("llama") < 4


def test_where_replicas_are_asked():
    ports = [{"name": "grpc", "port": 9002}, {"name": "http-ops", "port": 8080}]
    ready, unready = {"conditions": {"ready": True}}, {"conditions": {"ready": False}}
    endpoints = [
        {"addresses": ["10.0.0.1"], **ready},
        {"addresses": ["fd00::1"]},
        {"addresses": ["10.0.0.2"], **unready},
    ]
    assert load_urls([{"ports": ports, "endpoints": endpoints}, {"ports": []}]) == [
        "http://10.0.0.1:8080/load",
        "http://[fd00::1]:8080/load",
    ]
