"""The list of engines of one host, and the endpoints file that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.pods.addresses import HostPort
from gateway_plugin.pods.endpoints_file import parse_endpoints
from gateway_plugin.pods.engines.engine_probe import FoundEngine
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.pods.pod_list import (
    ListedPod,
    PodList,
    endpoints_text,
    parse_pod_list,
    parse_pod_url,
    read_pod_list,
    write_pod_list,
)

PATH = Path("/etc/pods.yaml")
A, B = HostPort("127.0.0.1", 8000), HostPort("10.0.0.2", 8000)


def parse(text: str) -> PodList:
    return parse_pod_list(text.encode(), PATH)


def test_urls_and_mappings_are_read():
    pods = parse("pods: [http://127.0.0.1:8000, {url: '10.0.0.2', engine: SGLang, models: [m], draining: true}]")
    assert pods.pods == (ListedPod(A), ListedPod(B, "sglang", ("m",), draining=True))


@pytest.mark.parametrize(
    ("text", "where", "allowed"),
    [
        ("pods: 1", "pods", "a mapping with the key pods, a list of URLs"),
        ("pods: ['ftp://a:1']", "pods[0]", "http://HOST:PORT (ftp:// needs"),
        ("pods: ['http://a:1/x']", "pods[0]", "without a path"),
        ("pods: ['http://u:p@a:1']", "pods[0]", "without a path"),
        ("pods: [{url: 'a:1', engin: vllm}]", "pods[0].engin", "did you mean engine"),
        ("pods: [{url: 'a:1', engine: vlm}]", "pods[0].engine", "did you mean vllm"),
        ("pods: ['a:1', 'http://a:1']", "pods[1]", "an address only once"),
        ("pods: [{url: 'a:1', draining: 'yes'}]", "pods[0].draining", "true or false"),
    ],
)
def test_mistakes_are_named(text: str, where: str, allowed: str):
    with pytest.raises(EndpointsError) as caught:
        parse(text)
    assert caught.value.where == where
    assert allowed in caught.value.allowed


def test_a_url_names_what_is_allowed():
    for text in ("https://a:1", "http://a:1/v1", "http://a:99999", "http://10.0.0.300"):
        with pytest.raises(ValueError, match="allowed: http://HOST:PORT"):
            parse_pod_url(text)


pods_of_all_kinds = st.lists(
    st.builds(
        ListedPod,
        st.builds(HostPort, st.just("127.0.0.1"), st.integers(1, 65535)),
        st.sampled_from(["", "vllm", "sglang"]),
        st.lists(st.sampled_from(["a", "b", "true", "1"]), unique=True, max_size=3).map(tuple),
        st.just(""),
        st.booleans(),
    ),
    unique_by=lambda pod: pod.at,
    max_size=6,
).map(lambda pods: PodList(tuple(pods)))


@given(pods_of_all_kinds)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pods: PodList):
    path = tmp_path_factory.mktemp("pods") / "pods.yaml"
    write_pod_list(path, pods)
    assert read_pod_list(path) == pods


@given(pods_of_all_kinds)
def test_the_endpoints_file_is_one_that_the_plugin_takes(pods: PodList):
    found = {pod.at: FoundEngine("vllm", ("own",), (("lora", "own"),)) for pod in pods.pods[::2]}
    read = parse_endpoints(endpoints_text(pods, found).encode(), PATH)
    for pod in pods.pods:
        models = pod.models or (found[pod.at].models if pod.at in found else ())
        listed = {name for name, addresses in read.models.items() if str(pod.at) in addresses}
        assert set(models) == listed - {"lora"}
    assert {pod.at for pod in read.pods if pod.draining} == {
        pod.at for pod in pods.pods if pod.draining and (pod.models or pod.at in found)
    }


def test_what_the_operator_says_wins_over_what_is_found():
    pods = PodList((ListedPod(A, "sglang", ("m",)), ListedPod(B)))
    found = {A: FoundEngine("vllm", ("x",)), B: FoundEngine("tgi", ("m",), (("lora", "m"),))}
    read = parse_endpoints(endpoints_text(pods, found).encode(), PATH)
    assert read.models == {"m": (str(A), str(B)), "lora": (str(B),)}
    assert [pod.engine for pod in read.pods] == ["sglang", "tgi"]
    assert read.adapters["lora"].parent == "m"


def test_pods_come_go_and_drain():
    pods = PodList().with_pod(ListedPod(A)).with_pod(ListedPod(B)).with_pod(ListedPod(A, "tgi"))
    assert pods.pods == (ListedPod(A, "tgi"), ListedPod(B))
    assert pods.drained(B, draining=True).find(B) == ListedPod(B, draining=True)
    assert pods.without(A).pods == (ListedPod(B),)
    assert read_pod_list(Path("/nowhere/pods.yaml")) == PodList()
