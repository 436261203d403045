"""Rendering: valid YAML whatever the names, atomic writing, and the checked-in example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.envoy_config.model import Address, EnvoyConfig, EnvoyPorts, Model
from gateway_plugin.tools.envoy_config.render import render, write

STANDALONE = Path("deploy/envoy/standalone")
names = st.text(min_size=1).filter(str.isprintable)


def resources(config: EnvoyConfig, file: str) -> Any:
    return yaml.safe_load(render(config, "/etc/gateway")[file])["resources"]


@pytest.mark.parametrize("file", ["envoy.yaml", "clusters.yaml", "routes.yaml"])
def test_the_example_is_what_the_renderer_gives(file: str) -> None:
    root = Path(__file__).parents[5]
    endpoints = yaml.safe_load((root / STANDALONE / "endpoints.yaml").read_text())
    models = tuple(Model(model["name"], tuple(model["endpoints"])) for model in endpoints["models"])
    example = EnvoyConfig(models=models, lua_path="deploy/envoy/lua/gateway.lua")
    assert (root / STANDALONE / file).read_text() == render(example, STANDALONE)[file], "run: make envoy-config"


@given(name=names)
def test_any_model_name_survives(name: str) -> None:
    config = EnvoyConfig(models=(Model(name, ("10.0.0.1:8000",)),))
    (cluster,) = resources(config, "clusters.yaml")
    (virtual_host,) = resources(config, "routes.yaml")[0]["virtual_hosts"]
    (route,) = (route for route in virtual_host["routes"] if route["name"] == f"model/{name}")
    assert route["match"]["headers"][0]["string_match"]["exact"] == name
    assert route["route"]["cluster"] == cluster["name"] == cluster["load_assignment"]["cluster_name"] == f"model/{name}"


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ((), "STATIC"),
        (("10.0.0.1:8000", "[fd00::1]:8000"), "STATIC"),
        (("10.0.0.1:8000", "vllm-0.vllm:8000"), "STRICT_DNS"),
    ],
)
def test_names_are_resolved(endpoints: tuple[str, ...], expected: str) -> None:
    (cluster,) = resources(EnvoyConfig(models=(Model("m", endpoints),)), "clusters.yaml")
    assert cluster["type"] == expected
    hosts = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    addresses = [host["endpoint"]["address"]["socket_address"] for host in hosts]
    assert [item["address"] for item in addresses] == [Address.parse(text).host for text in endpoints]


def test_no_models() -> None:
    assert resources(EnvoyConfig(), "clusters.yaml") == []
    assert len(resources(EnvoyConfig(), "routes.yaml")[0]["virtual_hosts"][0]["routes"]) == 5


def test_the_lua_script_is_inside_unless_a_path_is_given() -> None:
    inside = render(EnvoyConfig(), "/etc/gateway")["envoy.yaml"]
    filters = yaml.safe_load(inside)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    by_name = {item["name"]: item["typed_config"] for item in filters["typed_config"]["http_filters"]}
    lua = by_name["envoy.filters.http.lua"]["default_source_code"]["inline_string"]
    assert lua.strip() == Path(__file__).parents[5].joinpath("deploy/envoy/lua/gateway.lua").read_text().strip()
    assert "inline_string" not in render(EnvoyConfig(lua_path="gateway.lua"), STANDALONE)["envoy.yaml"]


def test_every_setting_reaches_the_bootstrap() -> None:
    config = EnvoyConfig(
        ports=EnvoyPorts(1001, 1002, 1003, 1004),
        listener_host="192.0.2.7",
        admin_host="::1",
        plugin_host="fd00::7",
        body_limit_bytes=1005,
        message_timeout_seconds=10.5,
        idle_timeout_seconds=11.5,
        upload_seconds=13.5,
        header_seconds=14.5,
        max_heap_bytes=1_016_017,
        max_connections=1018,
        max_streams_per_connection=1019,
        max_requests_per_second=1020,
        fail_open=True,
        access_log_flush_seconds=12.5,
        log_path="/logs/envoy.log",
    )
    text = render(config, "/etc/gateway")["envoy.yaml"]
    for number in (1001, 1002, 1003, 1004):
        assert f"port_value: {number}}}" in text
    for part in ("192.0.2.7", '"::1"', "fd00::7", ": 1005", "10.5s", "11.5s", "12.5s", "13.5s", "14.5s"):
        assert part in text
    for part in (
        "failure_mode_allow: true",
        ": 1016017",
        "connections: 1018",
        "streams: 1019",
        "tokens: 2040",
        "fill: 1020",
    ):
        assert part in text
    assert '"/logs/envoy.log"' in text
    assert '"/etc/gateway/clusters.yaml"' in text


def test_without_accounting_or_log_there_is_no_access_log() -> None:
    assert "access_log:" not in render(EnvoyConfig(accounting="none"), "/etc/gateway")["envoy.yaml"]


def test_only_changed_files_are_written_clusters_first(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    first = EnvoyConfig(models=(Model("m", ("10.0.0.1:8000",)),))
    assert write(first, directory) == ["clusters.yaml", "routes.yaml", "envoy.yaml"]
    assert write(first, directory) == []
    assert write(EnvoyConfig(models=(Model("m", ("10.0.0.2:8000",)),)), directory) == ["clusters.yaml"]
    assert write(EnvoyConfig(), directory) == ["clusters.yaml", "routes.yaml"]
    assert sorted(path.name for path in directory.iterdir()) == ["clusters.yaml", "envoy.yaml", "routes.yaml"]


@pytest.mark.parametrize(
    "text", ["", "8000", ":8000", "host", "host:", "host:0", "host:65536", "::1:8000", "[x]:1", "h:-1"]
)
def test_bad_endpoints_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither host:port"):
        Model("m", (text,))


@pytest.mark.parametrize(("text", "host", "is_name"), [("[::1]:80", "::1", False), ("a.b:80", "a.b", True)])
def test_endpoints(text: str, host: str, is_name: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.is_name) == (host, 80, is_name)


def test_mistakes_in_models_are_refused() -> None:
    with pytest.raises(ValueError, match="named twice"):
        EnvoyConfig(models=(Model("m", ()), Model("m", ())))
    with pytest.raises(ValueError, match="endpoint twice"):
        Model("m", ("10.0.0.1:1", "10.0.0.1:1"))
    for name in ("", "a\nb"):
        with pytest.raises(ValueError, match="model name"):
            Model(name, ())
