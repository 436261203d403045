"""Renders an EnvoyConfig into three files: what Envoy reads once, and what it follows.

`envoy.yaml` is the bootstrap: listener, filters, the plugin. `clusters.yaml` (one cluster per model) and `routes.yaml`
(one route per model) are watched by the running Envoy, which takes them over when a rename puts them in place.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from gateway_plugin.endpoints.endpoint_table import OPEN_PATHS, EndpointTable
from gateway_plugin.endpoints.fingerprint import FINGERPRINT_HEADER, fingerprint
from gateway_plugin.tools.envoy_config.local_replies import left_alone, local_replies
from gateway_plugin.tools.envoy_config.model import Address, Replica

if TYPE_CHECKING:
    from gateway_plugin.tools.envoy_config.model import EnvoyConfig

# Clusters before routes: a route to a cluster that does not exist yet would answer 503. The bootstrap refers to both.
FILES = ("clusters.yaml", "routes.yaml", "envoy.yaml")
LISTENER_TLS_FILE = "listener_tls.yaml"
"""Written where clients speak TLS."""

_PACKAGE = Path(__file__).parent
_CLONE = _PACKAGE.parents[2] / "deploy/envoy"


def render(config: EnvoyConfig, directory: Path | str) -> dict[str, str]:
    """File name -> text, in the order to write them; `directory` is where Envoy will find them."""
    plugins = (Replica(config.plugin_host, config.ports.grpc, config.ports.users_http), *config.replicas)
    patterns = EndpointTable(config.extra_paths).patterns()
    values = {
        "config": config,
        "directory": str(directory),
        "left_alone": left_alone(),
        "local_replies": local_replies(config.body_limit_bytes),
        "paths": "|".join(patterns),
        "fingerprint": {
            "key": FINGERPRINT_HEADER,
            "value": fingerprint(config.accounting, config.body_limit_bytes, patterns),
        },
        "open_paths": sorted(OPEN_PATHS),
        "lua": "" if config.lua_path else lua_file().read_text(encoding="utf-8"),
        "plugin": {
            "gateway_plugin": [Address(plugin.host, plugin.grpc) for plugin in plugins],
            "gateway_plugin_users": [Address(plugin.host, plugin.users_http) for plugin in plugins],
        },
    }
    templates = _templates(config.templates or _asset("templates", _CLONE / "standalone/templates"))
    files = (LISTENER_TLS_FILE, *FILES) if config.listener_tls is not None else FILES
    return {name: templates.get_template(f"{name}.j2").render(values) for name in files}


def write(config: EnvoyConfig, directory: Path) -> list[str]:
    """Puts changed files into `directory`, each by one rename; returns their names."""
    directory.mkdir(parents=True, exist_ok=True)
    files = render(config, directory)
    changed = [name for name, text in files.items() if _read(directory / name) != text]
    for name in changed:
        temporary = directory / f".{name}.{os.getpid()}"
        temporary.write_text(files[name], encoding="utf-8")
        temporary.replace(directory / name)
    return changed


def lua_file() -> Path:
    """The script Envoy runs on responses."""
    return _asset("lua", _CLONE / "lua") / "gateway.lua"


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _asset(name: str, in_clone: Path) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else in_clone


@cache
def _templates(directory: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(directory),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # YAML does not join the surrogate pairs that JSON escapes rare characters to.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment
