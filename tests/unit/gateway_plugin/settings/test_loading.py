"""Settings: where values come from, and what bad ones are told."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from gateway_plugin.cli.configuration_page import page
from gateway_plugin.controller.controller_settings import ControllerSettings
from gateway_plugin.settings.loading import SettingsError, load, settings_of
from gateway_plugin.settings.settings import Settings
from gateway_plugin.settings.topic import Topic


def test_defaults_need_nothing():
    loaded = load(environ={})
    assert loaded.settings.listeners.grpc_port == 50052
    assert loaded.settings.redis.effective_url == ""
    assert set(loaded.origins.values()) == {"default"}


def test_environment_beats_file_beats_default(tmp_path: Path):
    file = tmp_path / "gateway.yaml"
    file.write_text("listeners:\n  grpc_port: 1111\n  ops_port: 2222\nredis:\n")
    loaded = load(file, {"GATEWAY_GRPC_PORT": "3333"})
    listeners = loaded.settings.listeners
    assert (listeners.grpc_port, listeners.ops_port, listeners.api_port) == (3333, 2222, 8090)
    assert loaded.origins["listeners.grpc_port"] == "environment GATEWAY_GRPC_PORT"
    assert loaded.origins["listeners.ops_port"] == f"file {file}"


def test_aibrix_names_mean_the_same_and_ours_are_stronger():
    env = {"ROUTING_ALGORITHM": "random", "REDIS_HOST": "r", "REDIS_PASSWORD": "p@ss", "POD_NAME": "gw-1"}
    settings = load(environ=env).settings
    assert (settings.routing.default_strategy, settings.process.replica) == ("random", "gw-1")
    assert settings.redis.effective_url == "redis://:p%40ss@r:6379"
    assert (
        load(environ=env | {"GATEWAY_DEFAULT_STRATEGY": "least-request"}).settings.routing.default_strategy
        == "least-request"
    )


def test_empty_variables_count_as_unset():
    assert load(environ={"ROUTING_ALGORITHM": "", "GATEWAY_GRPC_PORT": ""}).settings == Settings()


def test_what_kubernetes_injects_is_not_a_port():
    assert load(environ={"REDIS_PORT": "tcp://10.0.0.1:6379"}).settings.redis.port == 6379


def test_unknown_variables_are_named():
    assert load(environ={"GATEWAY_GPRC_PORT": "1"}).warnings == (
        "environment variable GATEWAY_GPRC_PORT is not a setting and was ignored",
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"GATEWAY_GRPC_PORT": "99999"},
            "listeners.grpc_port = '99999' (environment GATEWAY_GRPC_PORT): *or equal to 65535; allowed: 1 to 65535",
        ),
        (
            {"GATEWAY_ACCOUNTING": "log"},
            "usage.accounting = 'log' (environment GATEWAY_ACCOUNTING): *; allowed: access_log, ext_proc, none",
        ),
        (
            {"GATEWAY_RELEASE": "access_log", "GATEWAY_ACCOUNTING": "none"},
            "usage.release = 'access_log': nobody releases pods with usage.accounting = 'none'",
        ),
        (
            {"GATEWAY_QUEUE_LENGTH": "5"},
            "overload.queue_length = 5: nobody waits without overload.max_inflight_per_pod",
        ),
        ({"GATEWAY_GRPC_TLS_CERT_FILE": "a.crt"}, "tls.cert_file and tls.key_file: set both, or neither"),
        ({"GATEWAY_GRPC_TLS_CLIENT_CA_FILE": "a.crt"}, "tls.client_ca_file: needs tls.cert_file *"),
        (
            {"REDIS_PORT": "six"},
            "redis.port = 'six' (environment REDIS_PORT): *valid integer*; allowed: 1 to 65535",
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
        ("listeners: {grpc_prt: 1}", r"listeners\.grpc_prt: no such setting"),
        ("grpc_port: 1", r"grpc_port: no such setting .*; did you mean listeners\.grpc_port\?"),
        ("redis_url: redis://r", r"redis_url: no such setting .*; did you mean redis\.url\?"),
        ("redis: redis://r", "redis = 'redis://r': is a topic"),
        ("- 1", "must be a mapping"),
        ("a: [", "is not YAML"),
        (
            "users: {default_rpm: 0}\nlisteners: {ops_port: x}",
            r"users\.default_rpm = 0 .*\n*listeners\.ops_port = 'x'|x'",
        ),
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
    assert all(setting.field.description for setting in settings_of(model))


def test_every_topic_says_what_it_is():
    for field in Settings.model_fields.values():
        assert isinstance(field.annotation, type)
        assert "__doc__" in vars(field.annotation)


@pytest.mark.parametrize("topic", [*(field.annotation for field in Settings.model_fields.values()), ControllerSettings])
def test_second_variables_belong_to_fields(topic: type[Topic]):
    assert set(topic.env_also) <= set(topic.model_fields)


def test_no_two_settings_share_a_variable():
    variables = [variable for setting in settings_of(Settings) for variable in setting.variables]
    assert len(variables) == len(set(variables))


def test_the_documentation_is_generated_from_the_settings():
    written = Path(__file__).parents[4] / "docs" / "configuration.md"
    assert written.read_text() == page(), "run: make docs"
