"""What one host runs and where."""

from __future__ import annotations

import socket
from pathlib import Path

from gateway_plugin.tools.envoy_config.model import Address, EnvoyConfig, ListenerTls, Model
from gateway_plugin.tools.envoy_config.render import render
from gateway_plugin.tools.up.host_plan import (
    HostOptions,
    HostPorts,
    default_directory,
    envoy_config,
    gateway_url,
    worker_environment,
)
from gateway_plugin.tools.up.kept_process import LONGEST_DELAY_SECONDS, delay_seconds
from gateway_plugin.tools.up.systemd_unit import tell_ready, unit

HERE = Path("/here")


def test_every_worker_has_ports_of_its_own_and_envoy_knows_all():
    options = HostOptions(HERE, workers=3)
    ports = HostPorts.pick(options)
    own = [port for worker in ports.workers for port in (worker.grpc, worker.ops, worker.api)]
    assert len({*own, ports.redis, ports.envoy_admin}) == 11
    config = envoy_config(options, ports, EnvoyConfig(upload_seconds=7, models=(Model("m", ("127.0.0.1:1",)),)))
    assert (config.upload_seconds, config.models[0].name, config.listener_host) == (7, "m", "127.0.0.1")
    text = render(config, "/e")["envoy.yaml"]
    for worker in ports.workers:
        assert f"port_value: {worker.grpc}" in text


def test_settings_of_the_operator_go_on_to_the_plugin():
    options, ports = HostOptions(HERE), HostPorts.pick(HostOptions(HERE))
    told = worker_environment(options, ports, 0, "redis://x", {})
    assert told["GATEWAY_DEFAULT_STRATEGY"] == "prefix-cache-and-load"
    assert told["GATEWAY_BIND_HOST"] == "127.0.0.1"
    assert "GATEWAY_DEFAULT_STRATEGY" not in worker_environment(options, ports, 0, "", {"ROUTING_ALGORITHM": "random"})
    with_file = HostOptions(HERE, config_file=Path("/c.yaml"))
    assert worker_environment(with_file, ports, 0, "", {})["GATEWAY_CONFIG"] == "/c.yaml"


def test_clients_are_told_an_address_that_works():
    assert gateway_url(HostOptions(HERE)) == "http://127.0.0.1:10080"
    assert gateway_url(HostOptions(HERE, Address("0.0.0.0", 80))) == "http://127.0.0.1:80"
    tls = ListenerTls("/tls/a.pem", "/tls/b.pem")
    assert gateway_url(HostOptions(HERE, Address("fd00::1", 443), tls=tls)) == "https://[fd00::1]:443"


def test_tls_is_a_file_that_envoy_follows():
    files = render(EnvoyConfig(listener_tls=ListenerTls("/tls/a.pem", "/tls/b.pem")), "/e")
    assert "/e/listener_tls.yaml" in files["envoy.yaml"]
    assert 'watched_directory: {path: "/tls"}' in files["listener_tls.yaml"]
    assert "listener_tls.yaml" not in render(EnvoyConfig(), "/e")


def test_state_is_kept_where_programs_keep_it():
    assert default_directory({"STATE_DIRECTORY": "/var/lib/a:/b", "XDG_STATE_HOME": "/x"}) == Path("/var/lib/a")
    assert default_directory({"XDG_STATE_HOME": "/x"}) == Path("/x/gateway-plugin")


def test_what_does_not_last_is_started_ever_later():
    delays = [delay_seconds(lives) for lives in range(100)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.05, LONGEST_DELAY_SECONDS)


def test_a_unit_runs_the_same_command():
    text = unit(["/v/bin/gateway-plugin", "up", "--pod", "http://a:1", "--tls-cert", "/a b/%.pem"], "me", 10)
    assert "ExecStart=/v/bin/gateway-plugin up --pod http://a:1 --tls-cert '/a b/%%.pem'" in text
    assert "User=me" in text
    assert "TimeoutStopSec=30" in text


def test_systemd_is_told(tmp_path: Path):
    tell_ready({})
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(5)
        tell_ready({"NOTIFY_SOCKET": address})
        assert heard.recv(100) == b"READY=1"
