"""The command line as a whole: version, help, configuration files, options that contradict each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from gateway_plugin import plugin_version
from gateway_plugin.cli.application import cli

ENDPOINTS = "models: [{name: m, endpoints: ['127.0.0.1:8000']}]"


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments), env={"COLUMNS": "200", **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_it_says_its_version_and_helps_in_short():
    assert run("--version") == (0, f"gateway-plugin {plugin_version()}\n")
    for command in ([], ["serve"], ["users", "create"], ["config", "check"]):
        code, said = run(*command, "-h")
        assert (code, "Usage:" in said) == (0, True), command


def test_settings_come_as_json_without_secrets():
    code, said = run("config", "--json", GATEWAY_ADMIN_TOKEN="canary-1", GATEWAY_GRPC_PORT="50099")
    shown = json.loads(said)
    assert code == 0
    assert "canary-1" not in said
    assert shown["identity.admin_token"] == {"value": "<secret>", "origin": "environment GATEWAY_ADMIN_TOKEN"}
    assert shown["listeners.grpc_port"] == {"value": "50099", "origin": "environment GATEWAY_GRPC_PORT"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logs: {fromat: json}", r"logs.fromat: no such setting .*did you mean logs.format\?"),
        ("redsi: {url: x}", r"redsi.*did you mean redis"),
        ("logs: {format: xml}", "logs.format = 'xml' .*allowed: human, json"),
        ("pods: {endpoints_file: none.yaml}", "none.yaml: the file is missing"),
        ("logs: {level: info}\nlogs: {level: info}", "stands twice"),
    ],
)
def test_a_bad_file_is_refused_with_what_was_meant(tmp_path: Path, text: str, message: str):
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    code, said = run("config", "check", str(file))
    assert code == 1
    assert re.search(message, said.replace("\n", " ")), said


def test_a_good_file_is_well_and_fits_the_schema(tmp_path: Path):
    endpoints, file = tmp_path / "endpoints.yaml", tmp_path / "gateway.yaml"
    endpoints.write_text(ENDPOINTS)
    file.write_text(f"pods: {{endpoints_file: {endpoints}}}\nlogs: {{format: json}}\n")
    assert run("config", "check", str(file)) == (0, f"{file}: all is well\n")
    schema = json.loads(run("config", "schema")[1])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"logs": {"fromat": "json"}}, schema)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--client-cert", "c.pem", "--client-key", "k.pem"], "without --plugin-ca"),
        (["--plugin-ca", "ca.pem", "--client-cert", "c.pem"], "give both, or neither"),
        (["--plugin-host", "bad_host:99999"], "a name or an address without a port"),
        (["--plugin-host", "256.1.1.1"], "a name or an address"),
        (["--listener-port", "9901"], "--admin-port and --listener-port are both 9901"),
        (["--admin-port", "50052"], "listeners.grpc_port and --admin-port are both 50052"),
    ],
)
def test_options_of_envoy_that_contradict_each_other_are_refused(tmp_path: Path, options: list[str], message: str):
    endpoints = tmp_path / "endpoints.yaml"
    endpoints.write_text(ENDPOINTS)
    code, said = run("envoy-config", str(endpoints), str(tmp_path / "envoy"), *options)
    assert (code, message in said) == (1, True), said
    assert not (tmp_path / "envoy").exists()


def test_a_file_that_only_envoy_finds_is_named_and_a_folder_that_cannot_be_is_an_error(tmp_path: Path):
    endpoints, blocked = tmp_path / "endpoints.yaml", tmp_path / "blocked"
    endpoints.write_text(ENDPOINTS)
    blocked.write_text("a file")
    code, said = run("envoy-config", str(endpoints), str(tmp_path / "a folder"), "--plugin-ca", "/etc/envoy/ca.pem")
    assert (code, "/etc/envoy/ca.pem is not here" in said) == (0, True)
    assert (tmp_path / "a folder" / "envoy.yaml").is_file()
    code, said = run("envoy-config", str(endpoints), str(blocked))
    assert (code, "cannot be written" in said) == (1, True), said


def test_a_container_asks_whether_it_lives():
    code, said = run("healthcheck", GATEWAY_OPS_PORT="1")
    assert (code, "no plugin answers at http://127.0.0.1:1" in said) == (1, True)
