"""What a pod's labels, annotations and status mean, and what is said of mistakes in them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
from gateway_plugin.pods.kubernetes.pod_objects import decode_pod
from gateway_plugin.pods.kubernetes.pod_reader import IpFamily, PodReader
from gateway_plugin.pods.kubernetes.pod_readings import PodReading
from routing.profiles import ProfileCache
from tests.fake_kubernetes import pod

PORT, METRIC_PORT, ENGINE = "model.aibrix.ai/port", "model.aibrix.ai/metric-port", "model.aibrix.ai/engine"
NAME, CONFIG, RANKS = "model.aibrix.ai/name", "model.aibrix.ai/config", "model.aibrix.ai/data-parallel-size"
IP = "10.0.0.7"


def read(body: dict[str, Any], *, family: IpFamily = "primary", keys: LabelKeys | None = None) -> PodReading | None:
    body["metadata"] |= {"uid": "u1", "namespace": "ns"}
    reader = PodReader(keys or LabelKeys(), ProfileCache(), family)
    return reader.read(decode_pod(msgspec.json.encode(body)))


def reading(model: str | None = "m", ip: str = IP, **more: Any) -> PodReading:
    found = read(pod("p", model, ip, **more))
    assert found is not None
    return found


def addresses(found: PodReading) -> list[str]:
    return [spec.address for spec in found.specs]


def complaints(found: PodReading) -> list[tuple[str, str]]:
    return [(complaint.reason.value, complaint.text) for complaint in found.complaints]


def test_defaults() -> None:
    found = reading()
    (spec,) = found.specs
    assert (spec.name, spec.address, spec.metrics_address) == ("p", "10.0.0.7:8000", "10.0.0.7:8000")
    assert (spec.models, spec.uid, spec.engine, spec.ready) == (("m",), "u1", "vllm", True)
    assert (found.complaints, found.config, found.terminating) == ((), None, False)


def test_labels_say_where_and_what() -> None:
    (spec,) = reading(port=9000, labels={METRIC_PORT: "9100", ENGINE: "sglang", "gpu": "a100"}).specs
    assert (spec.address, spec.metrics_address, spec.engine) == ("10.0.0.7:9000", "10.0.0.7:9100", "sglang")
    assert spec.labels["gpu"] == "a100"


def test_metrics_are_where_the_engine_serves() -> None:
    (spec,) = reading(port=9000).specs
    assert spec.metrics_address == "10.0.0.7:9000"


def test_a_name_that_no_label_can_hold() -> None:
    found = reading(None, annotations={NAME: " org/model ", ENGINE: "sglang"})
    assert found.models == ("org/model",)
    assert (found.specs[0].models, found.specs[0].engine) == (("org/model",), "sglang")


def test_a_pod_with_both_names_serves_both() -> None:
    assert reading("model", annotations={NAME: "org/model"}).models == ("model", "org/model")


def test_pods_without_a_model_are_none_of_ours() -> None:
    assert read(pod("p", None, IP)) is None


@pytest.mark.parametrize(
    "labels", [{"ray.io/node-type": "worker"}, {"stormservice.orchestration.aibrix.ai/pod-group-index": "1"}]
)
def test_followers_take_no_requests(labels: dict[str, str]) -> None:
    assert read(pod("p", "m", IP, labels=labels)) is None


@pytest.mark.parametrize(
    "labels", [{"ray.io/node-type": "head"}, {"stormservice.orchestration.aibrix.ai/pod-group-index": "0"}]
)
def test_leaders_take_requests(labels: dict[str, str]) -> None:
    assert addresses(reading(labels=labels)) == ["10.0.0.7:8000"]


def test_another_prefix() -> None:
    keys = LabelKeys("serving.example.org")
    labels = {"serving.example.org/name": "n", "serving.example.org/port": "81"}
    found = read(pod("p", "m", IP, port=82, labels=labels), keys=keys)
    assert found is not None
    assert (found.models, addresses(found)) == (("n",), ["10.0.0.7:81"])


@pytest.mark.parametrize(
    ("change", "ready"),
    [({}, True), ({"ready": False}, False), ({"phase": "Pending"}, True)],
)
def test_readiness_is_the_condition(change: dict[str, Any], ready: bool) -> None:
    assert [spec.ready for spec in reading(**change).specs] == [ready]


def test_no_condition_is_not_ready() -> None:
    body = pod("p", "m", IP)
    body["status"]["conditions"] = None
    found = read(body)
    assert found is not None
    assert [spec.ready for spec in found.specs] == [False]


def test_a_draining_pod_is_not_ready_but_keeps_its_address() -> None:
    body = pod("p", "m", IP)
    body["metadata"]["annotations"] = {"model.aibrix.ai/draining": "true"}
    found = read(body)
    assert found is not None
    assert (found.terminating, addresses(found), found.specs[0].ready) == (False, ["10.0.0.7:8000"], False)


def test_a_terminating_pod_is_not_ready_but_keeps_its_address() -> None:
    body = pod("p", "m", IP)
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = read(body)
    assert found is not None
    assert (found.terminating, addresses(found), found.specs[0].ready) == (True, ["10.0.0.7:8000"], False)


@pytest.mark.parametrize("change", [{"ip": ""}, {"phase": "Failed"}, {"phase": "Succeeded"}])
def test_without_an_address_only_the_model_is_known(change: dict[str, Any]) -> None:
    found = reading(**change)
    assert (found.specs, found.models) == ((), ("m",))


@pytest.mark.parametrize(
    ("family", "expected"),
    [("primary", ["10.0.0.7:8000"]), ("ipv4", ["10.0.0.7:8000"]), ("ipv6", ["[fd00::7]:8000"])],
)
def test_families(family: IpFamily, expected: list[str]) -> None:
    found = read(pod("p", ips=["10.0.0.7", "FD00:0::7"]), family=family)
    assert found is not None
    assert addresses(found) == expected


def test_a_family_that_the_pod_has_not() -> None:
    found = read(pod("p", ip=IP), family="ipv6")
    assert found is not None
    assert found.specs == ()


def test_data_parallel_ranks_have_ports_of_their_own() -> None:
    found = reading(port=8100, env={"data-parallel-size": "3"}, labels={METRIC_PORT: "9100"})
    assert [(spec.name, spec.address, spec.metrics_address) for spec in found.specs] == [
        ("p-rank-0", "10.0.0.7:8100", "10.0.0.7:9100"),
        ("p-rank-1", "10.0.0.7:8101", "10.0.0.7:9101"),
        ("p-rank-2", "10.0.0.7:8102", "10.0.0.7:9102"),
    ]
    assert {spec.uid for spec in found.specs} == {"u1"}


def test_the_label_goes_before_the_variable() -> None:
    assert len(reading(env={"data-parallel-size": "3"}, labels={RANKS: "2"}).specs) == 2


def test_profiles() -> None:
    config = reading(annotations={CONFIG: '{"lockedRoutingStrategy": "random"}'}).config
    assert config is not None
    assert config.locked_strategy == "random"


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "80 ", "+80", "8_0", "٨٠", "99999999999"])
def test_a_bad_port(text: str) -> None:
    found = reading(labels={PORT: text})
    assert (found.specs, found.models) == ((), ("m",))
    allowed = "allowed: a port from 1 to 65535; it gets no requests"
    assert complaints(found) == [("bad_port", f"label {PORT} is {text!r}; {allowed}")]


def test_a_bad_metric_port_costs_only_metrics() -> None:
    found = reading(port=9000, labels={METRIC_PORT: "metrics"})
    assert found.specs[0].metrics_address == "10.0.0.7:9000"
    ((reason, text),) = complaints(found)
    assert reason == "bad_metric_port"
    assert "'metrics'" in text
    assert text.endswith("its metrics are read from port 9000")


@pytest.mark.parametrize(
    ("change", "allowed"),
    [({"env": {"data-parallel-size": "many"}}, "1 to 64"), ({"labels": {RANKS: "3"}, "port": 65534}, "1 to 2")],
)
def test_bad_ranks(change: dict[str, Any], allowed: str) -> None:
    found = reading(**change)
    assert len(found.specs) == 1
    ((reason, text),) = complaints(found)
    assert reason == "bad_data_parallel_size"
    assert allowed in text


def test_a_bad_config_is_ignored() -> None:
    found = reading(annotations={CONFIG: "{not json"})
    assert (addresses(found), found.config) == (["10.0.0.7:8000"], None)
    ((reason, text),) = complaints(found)
    assert reason == "bad_config"
    assert text.startswith(f"annotation {CONFIG}: config is '{{not json'; allowed: JSON")


def test_an_empty_model_name() -> None:
    found = reading("", annotations={})
    assert (found.specs, found.models) == ((), ())
    ((reason, text),) = complaints(found)
    assert (reason, "it gets no requests" in text) == ("empty_model_name", True)


def test_an_empty_label_beside_a_good_annotation() -> None:
    found = reading("", annotations={NAME: "org/model"})
    assert (found.models, addresses(found)) == (("org/model",), ["10.0.0.7:8000"])
    assert [reason for reason, _ in complaints(found)] == ["empty_model_name"]
