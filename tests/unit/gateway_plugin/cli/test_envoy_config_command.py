"""`gateway-plugin envoy-config`: what can be set, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.settings.settings import Settings
from gateway_plugin.tools.envoy_config.model import EnvoyConfig

ENDPOINTS = Path(__file__).parents[4] / "deploy/envoy/standalone/endpoints.yaml"


def run(directory: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, what was said, and envoy.yaml."""
    result = CliRunner().invoke(cli, ["envoy-config", str(ENDPOINTS), str(directory), *options], env=environment)
    file = directory / "envoy.yaml"
    return result.exit_code, result.output, file.read_text() if file.exists() else ""


def test_the_bounds_of_waiting_and_memory_can_be_set(tmp_path: Path):
    options = ("--body-limit", "20", "--idle-timeout", "7200", "--message-timeout", "8", "--max-heap", "512")
    code, said, text = run(tmp_path, *options, "--max-connections", "77", GATEWAY_UPLOAD_SECONDS="33")
    assert code == 0, said
    for part in (
        "per_connection_buffer_limit_bytes: 20971520",
        "stream_idle_timeout: 7200.0s",
        "message_timeout: 8.0s",
        "max_heap_size_bytes: 536870912",
        "max_active_downstream_connections: 77",
        "request_timeout: 33.0s",
    ):
        assert part in text


def test_a_body_that_the_plugin_would_not_take_is_noticed(tmp_path: Path):
    code, said, text = run(tmp_path, "--body-limit", "100")
    assert (code, text) == (1, "")
    assert "--body-limit 100" in said
    assert "grpc_max_message_bytes to at least 105906176" in said
    assert run(tmp_path, "--body-limit", "100", GATEWAY_GRPC_MAX_MESSAGE_BYTES="105906176")[0] == 0


def test_a_queue_that_outlasts_envoys_patience_is_noticed(tmp_path: Path):
    queue = {"GATEWAY_QUEUE_LENGTH": "5", "GATEWAY_MAX_INFLIGHT_PER_POD": "5", "GATEWAY_QUEUE_SECONDS": "6"}
    code, said, _ = run(tmp_path, **queue)
    assert code == 1
    assert "longer than overload.queue_seconds" in said
    assert run(tmp_path, "--message-timeout", "7", **queue)[0] == 0


@pytest.mark.parametrize(
    "option", [("--body-limit", "0"), ("--idle-timeout", "0"), ("--max-heap", "1"), ("--max-requests-per-second", "-1")]
)
def test_wrong_values_are_refused(tmp_path: Path, option: tuple[str, str]):
    assert run(tmp_path, *option)[0] == 2


def test_the_defaults_let_engines_think_and_bodies_be_large():
    config, settings = EnvoyConfig(), Settings()
    assert config.idle_timeout_seconds >= 3600
    assert config.body_limit_bytes == 64 << 20
    assert settings.listeners.grpc_max_message_bytes >= config.body_limit_bytes + (1 << 20)
    assert config.upload_seconds == settings.overload.upload_seconds
