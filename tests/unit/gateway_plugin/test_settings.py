"""Settings: where values come from, and what bad ones are told."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from gateway_plugin.cli.configuration_page import page
from gateway_plugin.controller.controller_settings import ControllerSettings
from gateway_plugin.settings.settings import Settings, SettingsError, load


def test_defaults_need_nothing():
    loaded = load(environ={})
    assert loaded.settings.grpc_port == 50052
    assert loaded.settings.effective_redis_url == ""
    assert set(loaded.origins.values()) == {"default"}


def test_environment_beats_file_beats_default(tmp_path: Path):
    file = tmp_path / "gateway.yaml"
    file.write_text("grpc_port: 1111\nops_port: 2222\n")
    loaded = load(file, {"GATEWAY_GRPC_PORT": "3333"})
    assert (loaded.settings.grpc_port, loaded.settings.ops_port, loaded.settings.api_port) == (3333, 2222, 8090)
    assert loaded.origins["grpc_port"] == "environment GATEWAY_GRPC_PORT"
    assert loaded.origins["ops_port"] == f"file {file}"


def test_aibrix_names_mean_the_same_and_ours_are_stronger():
    env = {"ROUTING_ALGORITHM": "random", "REDIS_HOST": "r", "REDIS_PASSWORD": "p@ss", "POD_NAME": "gw-1"}
    settings = load(environ=env).settings
    assert (settings.default_strategy, settings.replica) == ("random", "gw-1")
    assert settings.effective_redis_url == "redis://:p%40ss@r:6379"
    assert (
        load(environ=env | {"GATEWAY_DEFAULT_STRATEGY": "least-request"}).settings.default_strategy == "least-request"
    )


def test_empty_variables_count_as_unset():
    assert load(environ={"ROUTING_ALGORITHM": "", "GATEWAY_GRPC_PORT": ""}).settings == Settings()


def test_what_kubernetes_injects_is_not_a_port():
    assert load(environ={"REDIS_PORT": "tcp://10.0.0.1:6379"}).settings.redis_port == 6379


def test_unknown_variables_are_named():
    assert load(environ={"GATEWAY_GPRC_PORT": "1"}).warnings == (
        "environment variable GATEWAY_GPRC_PORT is not a setting and was ignored",
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"GATEWAY_GRPC_PORT": "99999"},
            "grpc_port = '99999' (environment GATEWAY_GRPC_PORT): *less than or equal to 65535; allowed: 1 to 65535",
        ),
        (
            {"GATEWAY_ACCOUNTING": "log"},
            "accounting = 'log' (environment GATEWAY_ACCOUNTING): *; allowed: access_log, ext_proc, none",
        ),
        (
            {"GATEWAY_RELEASE": "access_log", "GATEWAY_ACCOUNTING": "none"},
            "release = 'access_log': nobody releases pods with accounting = 'none'",
        ),
        ({"GATEWAY_QUEUE_LENGTH": "5"}, "queue_length = 5: nobody waits without max_inflight_per_pod"),
        ({"GATEWAY_GRPC_TLS_CERT_FILE": "a.crt"}, "grpc_tls_cert_file and grpc_tls_key_file: set both, or neither"),
        ({"GATEWAY_GRPC_TLS_CLIENT_CA_FILE": "a.crt"}, "grpc_tls_client_ca_file: needs grpc_tls_cert_file *"),
        (
            {"REDIS_PORT": "six"},
            "redis_port = 'six' (environment REDIS_PORT): *valid integer*; allowed: 1 to 65535",
        ),
    ],
)
def test_bad_values_name_key_value_and_what_is_allowed(env: dict[str, str], message: str):
    with pytest.raises(SettingsError) as caught:
        load(environ=env)
    assert fnmatch(str(caught.value), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grpc_prt: 1", "grpc_prt: no such setting"),
        ("- 1", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("default_rpm: 0\nops_port: x", "default_rpm = 0"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str):
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load(file, {})


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"gone\.yaml: No such file"):
        load(tmp_path / "gone.yaml", {})


def test_secrets_are_never_shown():
    env = {"GATEWAY_REDIS_URL": "redis://:hunter2@r:1", "AIBRIX_AUTH_BEARER_TOKEN": "hunter2"}
    assert "hunter2" not in repr(load(environ=env))


@pytest.mark.parametrize("model", [Settings, ControllerSettings])
def test_every_setting_says_what_it_is(model: type[Settings] | type[ControllerSettings]):
    assert all(field.description for field in model.model_fields.values())


def test_the_documentation_is_generated_from_the_settings():
    written = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert written.read_text() == page(), "run: make docs"
