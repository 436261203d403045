from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway_plugin.pods.endpoints_file import EndpointsFile, parse_endpoints, read_endpoints
from gateway_plugin.pods.node import EndpointsError
from routing.spec import AdapterSpec

PATH = Path("/etc/endpoints.yaml")
ADDRESS = 'a mapping with an address, or "host[:port]": IPv4, [v6]:port, bare v6 or host name, port 1 to 65535'
FILE = "a mapping with the key models, a list of models"
MODEL = "a mapping with a name (as clients send it) and endpoints (a list, [] for none)"
KEYS = "address, name, engine, metrics_port, labels, draining"
NAME = "the model's name, as clients send it"
ENDPOINTS = 'a list of "host[:port]" or of mappings with an address, [] for none'
ROLESETS = "endpoints instead (prefill/decode disaggregation is not supported yet)"
CUT = "expected the node content, but found '<stream end>'"
ONCE = "an address only once in a model (models[0].endpoints[0] has it)"
UNIQUE = "a pod name that no other endpoint has (models[0].endpoints[0] has it)"


def parse(text: str) -> EndpointsFile:
    return parse_endpoints(text.encode(), PATH)


def model(endpoints: str, name: str = "m", extra: str = "") -> str:
    return f"{{name: {name}, endpoints: {endpoints}{extra}}}"


def models(*written: str) -> str:
    return f"models: [{', '.join(written)}]"


def test_aibrix_file() -> None:
    file = parse("""
models:
  - name: my-model
    engine: sglang
    endpoints: ["127.0.0.2:8000", "127.0.0.3"]
  - name: later
    endpoints: []
""")
    assert file.models == {"my-model": ("127.0.0.2:8000", "127.0.0.3:8000"), "later": ()}
    first, second = file.pods
    assert (first.name, str(first.at), first.models) == ("my-model-127-0-0-2-8000", "127.0.0.2:8000", ("my-model",))
    assert (second.name, second.engine, second.metrics_port) == ("my-model-127-0-0-3-8000", "sglang", 8000)


def test_json_is_read_too() -> None:
    content = {"models": [{"name": "m", "endpoints": ["[fd00::1]:80"]}]}
    assert parse(json.dumps(content, indent=2)).models == {"m": ("[fd00::1]:80",)}


def test_mapping_form() -> None:
    pod = parse(models(model('[{address: "pod:80", name: p, metrics_port: 90, labels: {gpu: a100}}]'))).pods[0]
    assert (pod.name, str(pod.at), pod.metrics_port, pod.labels) == ("p", "pod:80", 90, {"gpu": "a100"})
    assert pod.engine == "vllm"


def test_an_address_under_several_models_is_one_pod_described_anywhere() -> None:
    file = parse(
        models(
            model('["fd00::1"]', "a"),
            model('[{address: "[FD00::1]:8000", name: both, labels: {x: y}}]', "b", ", engine: sglang"),
            model("['fd00::1']", "c", ", engine: sglang"),
        )
    )
    (pod,) = file.pods
    assert (pod.name, pod.models, pod.engine, pod.labels) == ("both", ("a", "b", "c"), "sglang", {"x": "y"})
    assert set(file.models.values()) == {("[fd00::1]:8000",)}


def test_default_names_are_made_of_plain_characters_and_bounded() -> None:
    pods = parse(models(model('["fd00::1", "a.b"]', '"Meta/Llama 3.1"'), model("['10.0.0.1']", "x" * 99))).pods
    assert [pod.name for pod in pods] == [
        "meta-llama-3-1-fd00--1-8000",
        "meta-llama-3-1-a-b-8000",
        "x" * 50 + "-10-0-0-1-8000",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"the file is empty; allowed: {FILE}"),
        ("# nothing\n", f"the file is empty; allowed: {FILE}"),
        ("just words", f"the file is 'just words'; allowed: {FILE}"),
        ("[1, 2]", f"the file is [1, 2]; allowed: {FILE}"),
        ("{}", f"models is missing; allowed: {FILE}"),
        ("{models: [], nodes: []}", "nodes is an unknown key; allowed: the keys models"),
        (
            "models: [{name: m, endpoints: [], root: x}]",
            "models[0].root is 'x'; allowed: a root only beside a parent",
        ),
        (
            "models: [{name: m, endpoints: [], parent: 5}]",
            "models[0].parent is 5; allowed: the name of the model that this adapter belongs to",
        ),
        ("models: {a: b}", "models is {'a': 'b'}; allowed: a list of models"),
        ("models:", "models is None; allowed: a list of models"),
        ("models: [llama]", f"models[0] is 'llama'; allowed: {MODEL}"),
        ("models: [{endpoints: []}]", f"models[0].name is missing; allowed: {MODEL}"),
        ("models: [{name: m}]", f"models[0].endpoints is missing; allowed: {MODEL}"),
        (models(model("[]", "8")), f"models[0].name is 8; allowed: {NAME}"),
        (models(model("[]", '" "')), f"models[0].name is ' '; allowed: {NAME}"),
        (
            models(model("[]"), model("[]")),
            "models[1].name is 'm'; allowed: a name that no other model has (models[0] has it)",
        ),
        (
            models(model("[]", extra=", port: 1")),
            "models[0].port is an unknown key; allowed: the keys name, engine, endpoints, config, parent, root",
        ),
        (models(model("[]", extra=", engine: 1")), "models[0].engine is 1; allowed: an engine's name"),
        (
            "models: [{name: m, rolesets: [{name: rs0}]}]",
            f"models[0].rolesets is given; allowed: {ROLESETS}",
        ),
        (models(model("host")), f"models[0].endpoints is 'host'; allowed: {ENDPOINTS}"),
        (models(model("[8000]")), f"models[0].endpoints[0] is 8000; allowed: {ADDRESS}"),
        (models(model("[a, 'b:99999']")), f"models[0].endpoints[1] is 'b:99999'; allowed: {ADDRESS}"),
        (models(model("[{name: p}]")), f"models[0].endpoints[0].address is missing; allowed: {ADDRESS}"),
        (models(model("[{address: 'b:x'}]")), f"models[0].endpoints[0].address is 'b:x'; allowed: {ADDRESS}"),
        (
            models(model("[{address: b, port: 8000}]")),
            f"models[0].endpoints[0].port is an unknown key; allowed: the keys {KEYS}",
        ),
        (models(model("[{address: b, name: ''}]")), "models[0].endpoints[0].name is ''; allowed: the pod's name"),
        (
            models(model("[{address: b, metrics_port: 0}]")),
            "models[0].endpoints[0].metrics_port is 0; allowed: a port from 1 to 65535",
        ),
        (
            models(model("[{address: b, metrics_port: true}]")),
            "models[0].endpoints[0].metrics_port is True; allowed: a port from 1 to 65535",
        ),
        (
            models(model("[{address: b, labels: {gpu: 80}}]")),
            "models[0].endpoints[0].labels is {'gpu': 80}; allowed: a mapping of text to text",
        ),
        (
            models(model("[b, 'B:8000']")),
            f"models[0].endpoints[1] is 'B:8000'; allowed: {ONCE}",
        ),
        (
            models(model("[{address: b, name: p}, {address: c, name: p}]")),
            f"models[0].endpoints[1].name is 'p'; allowed: {UNIQUE}",
        ),
        (
            models(model("[a.b, a-b]")),
            f"models[0].endpoints[1].name is 'm-a-b-8000'; allowed: {UNIQUE}",
        ),
        (
            models(model("[{address: b, metrics_port: 1}]"), model("[{address: b, metrics_port: 2}]", "n")),
            "models[1].endpoints[0].metrics_port is 2; allowed: 1, as said of b:8000 before",
        ),
        (
            models(model("[b]", extra=", engine: vllm"), model("[b]", "n", ", engine: sglang")),
            "models[1].engine is 'sglang'; allowed: 'vllm', as said of b:8000 before",
        ),
        (
            "models: []\nmodels: []",
            f"the file is not YAML (key 'models' stands twice, line 2, column 1); allowed: {FILE}",
        ),
        (
            "models: [",
            f"the file is not YAML ({CUT}, line 1, column 10); allowed: {FILE}",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(EndpointsError) as caught:
        parse(text)
    assert str(caught.value) == f"/etc/endpoints.yaml: {message}"


def test_the_error_carries_its_parts() -> None:
    with pytest.raises(EndpointsError) as caught:
        parse(models(model("['b:0']")))
    error = caught.value
    assert (error.path, error.where, error.value, error.allowed) == (PATH, "models[0].endpoints[0]", "'b:0'", ADDRESS)


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(EndpointsError) as caught:
        parse(models(model(f"['{'x' * 100_000}']")))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"models: \x00", b"\xc3(", b"models: 2024-13-45", b"[" * 100_000])
def test_unreadable_bytes(data: bytes) -> None:
    with pytest.raises(EndpointsError, match="the file is not YAML"):
        parse_endpoints(data, PATH)


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(EndpointsError) as caught:
        read_endpoints(path)
    assert str(caught.value) == f"{path}: the file is missing; allowed: {FILE}"


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError) as caught:
        read_endpoints(tmp_path)
    assert str(caught.value) == f"{tmp_path}: the file is not readable (Is a directory); allowed: {FILE}"


def test_a_model_may_be_configured() -> None:
    configured = parse(
        "models: [{name: m, endpoints: [], config: {lockedRoutingStrategy: random}}, {name: n, endpoints: []}]"
    )
    assert {name: config.locked_strategy for name, config in configured.configs.items()} == {"m": "random"}
    as_text = parse("""models: [{name: m, endpoints: [], config: '{"lockedRoutingStrategy": "random"}'}]""")
    assert as_text.configs == configured.configs


@pytest.mark.parametrize("config", ["3", "{profiles: 7}", "'{'", "{profiles: {a: {requestsPerSecond: many}}}"])
def test_a_bad_configuration_is_named(config: str) -> None:
    with pytest.raises(EndpointsError, match=r"models\[0\]\.config is .*model\.aibrix\.ai/config"):
        parse(f"models: [{{name: m, endpoints: [], config: {config}}}]")


def test_adapters_have_a_parent():
    adapter = "{name: sql, parent: m, root: 's3://sql', endpoints: ['h:1']}"
    found = parse(f"models: [{{name: m, endpoints: ['h:1']}}, {adapter}]")
    assert found.adapters == {"sql": AdapterSpec("m", "s3://sql")}
    (pod,) = found.pods
    assert pod.models == ("m", "sql")
