"""The endpoints file: which model is served where, as YAML or JSON.

    models:
      - name: llama                       # what clients send as "model"
        engine: vllm                      # optional
        config: {lockedRoutingStrategy: prefix-cache}     # optional: AIBrix's model.aibrix.ai/config
        parent: llama-base                # optional: it is an adapter (LoRA) of this model
        root: s3://adapters/llama-sql     # optional, of an adapter: where it is from
        endpoints:                        # "host[:port]", default port 8000; [] is a known model without pods
          - 10.0.0.1:8000
          - {address: "pod-2:8000", name: pod-2, metrics_port: 9000, labels: {gpu: a100}}
          - {address: "10.0.0.3:8000", engine: sglang, draining: true}    # finishes what it has, and gets nothing new

This is AIBrix's standalone format, plus the mapping form of an endpoint. An address under several models is one pod
that serves them all; what is said of it in one place may be repeated or left out in another, but not contradicted.
`rolesets` (prefill/decode disaggregation) are refused, and so are keys that stand twice, which YAML loaders let pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway_plugin.pods.addresses import HostPort, parse_host_port
from gateway_plugin.pods.checked_config import read_checked
from gateway_plugin.pods.engines.metric_names import ENGINE_NAMES
from gateway_plugin.pods.node import EndpointsError, Node
from gateway_plugin.settings import plain_yaml
from gateway_plugin.settings.nearest import did_you_mean
from gateway_plugin.settings.watched_file import ContentShape, looks_cut_off, shape_of
from routing.profiles import ModelConfig, ProfileError
from routing.spec import AdapterSpec

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_ENGINE = "vllm"

_FILE = "a mapping with the key models, a list of models"
_MODELS = "a list of models"
_MODEL = "a mapping with a name (as clients send it) and endpoints (a list, [] for none)"
_MODEL_NAME = "the model's name, as clients send it"
_MODEL_KEYS = ("name", "engine", "endpoints", "config", "parent", "root")
_PARENT = "the name of the model that this adapter belongs to"
_ROOT = "where the adapter's weights are from"
_ROLESETS = "endpoints instead (prefill/decode disaggregation is not supported yet)"
_ENDPOINTS = 'a list of "host[:port]" or of mappings with an address, [] for none'
_ADDRESS = 'a mapping with an address, or "host[:port]": IPv4, [v6]:port, bare v6 or host name, port 1 to 65535'
_ENDPOINT_KEYS = ("address", "name", "engine", "metrics_port", "labels", "draining")
_LABELS = "a mapping of text to text"
_CONFIG = "a mapping (or its JSON text) as in AIBrix's annotation model.aibrix.ai/config"
_MODEL_NAME_CHARACTERS = 50
"""Of the model, in a name that is made for a pod."""


@dataclass(frozen=True, slots=True)
class ConfiguredPod:
    """One address of the file, not yet resolved. `where` is its first place in the file."""

    at: HostPort
    where: str
    name: str
    models: tuple[str, ...]
    engine: str
    metrics_port: int
    labels: Mapping[str, str]
    draining: bool = False


@dataclass(frozen=True, slots=True)
class EndpointsFile:
    """`models`: every model's addresses as "host:port", in the order of the file. `pods`: each address once."""

    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pods: tuple[ConfiguredPod, ...] = ()
    configs: Mapping[str, ModelConfig] = field(default_factory=dict)
    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict)


@dataclass(slots=True)
class _Draft:
    """What has been said of an address so far: places, models, and settings by key."""

    at: HostPort
    where: str
    models: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def finish(self) -> ConfiguredPod:
        models = tuple(self.models)
        return ConfiguredPod(
            at=self.at,
            where=self.where,
            name=self.settings.get("name") or _default_name(models[0], self.at),
            models=models,
            engine=self.settings.get("engine", DEFAULT_ENGINE),
            metrics_port=self.settings.get("metrics_port", self.at.port),
            labels=self.settings.get("labels", {}),
            draining=self.settings.get("draining", False),
        )


def read_endpoints(path: Path) -> EndpointsFile:
    """Reads and checks the file; raises EndpointsError."""
    return reread_endpoints(path, None)[0]


def reread_endpoints(path: Path, before: ContentShape | None) -> tuple[EndpointsFile, ContentShape]:
    """The same of a file that was good `before`; what looks like a part of it is an EndpointsError, too."""
    data = _content(path)
    now = shape_of(data)
    if before is not None and (reason := looks_cut_off(before, now)):
        raise EndpointsError(path, "the file", f"half written ({reason})", _FILE)
    return parse_endpoints(data, path), now


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise EndpointsError(path, "the file", "missing", _FILE) from None
    except OSError as error:
        raise EndpointsError(path, "the file", f"not readable ({error.strerror})", _FILE) from error


def parse_endpoints(data: bytes, path: Path) -> EndpointsFile:
    """Checks the file's content; raises EndpointsError. `path` is for its messages."""
    root = Node(path, "the file", _decode(data, path))
    if root.value is None:
        raise root.error(_FILE, "empty")
    models = root.fields(["models"], ["models"], _FILE)["models"].items(_MODELS)
    places: dict[str, str] = {}
    drafts: dict[HostPort, _Draft] = {}
    endpoints = dict(_read_model(model, places, drafts) for model in models)
    configs = dict(
        _read_config(model, name) for model, name in zip(models, endpoints, strict=True) if _has_config(model)
    )
    pods = tuple(draft.finish() for draft in drafts.values())
    _check_names(pods, path)
    return EndpointsFile(endpoints, pods, configs, _read_adapters(models))


def _decode(data: bytes, path: Path) -> object:
    try:
        return plain_yaml.load(data)
    except plain_yaml.PlainYamlError as error:
        raise EndpointsError(path, "the file", f"not YAML ({error})", _FILE) from None


def _read_model(node: Node, places: dict[str, str], drafts: dict[HostPort, _Draft]) -> tuple[str, tuple[str, ...]]:
    if isinstance(node.value, dict) and "rolesets" in node.value:
        raise Node(node.path, f"{node.where}.rolesets", None).error(_ROLESETS, "given")
    fields = node.fields(_MODEL_KEYS, ["name", "endpoints"], _MODEL)
    name = fields["name"].text(_MODEL_NAME)
    if name in places:
        raise fields["name"].error(f"a name that no other model has ({places[name]} has it)")
    places[name] = node.where
    engine = {"engine": (fields["engine"], _engine(fields["engine"]))} if "engine" in fields else {}
    endpoints = fields["endpoints"].items(_ENDPOINTS)
    return name, tuple(str(_read_endpoint(endpoint, name, engine, drafts)) for endpoint in endpoints)


def _engine(node: Node) -> str:
    name = node.text("an engine's name")
    if name.lower() not in ENGINE_NAMES:
        # Taken for vLLM, its metrics would be looked for under names that it does not have.
        raise node.error(f"{', '.join(sorted(ENGINE_NAMES))}{did_you_mean(name, ENGINE_NAMES)}")
    return name


def _read_adapters(models: list[Node]) -> dict[str, AdapterSpec]:
    adapters: dict[str, AdapterSpec] = {}
    names = {model.value["name"] for model in models if isinstance(model.value, dict)}
    for model in models:
        fields = model.fields(_MODEL_KEYS, ["name"], _MODEL)
        if "parent" in fields:
            root = fields["root"].text(_ROOT) if "root" in fields else ""
            parent = fields["parent"].text(_PARENT)
            if parent not in names:
                raise fields["parent"].error(f"{_PARENT}, which is in this file, too{did_you_mean(parent, names)}")
            adapters[fields["name"].text(_MODEL_NAME)] = AdapterSpec(parent, root)
        elif "root" in fields:
            raise fields["root"].error("a root only beside a parent")
    return adapters


def _has_config(node: Node) -> bool:
    return isinstance(node.value, dict) and "config" in node.value


def _read_config(node: Node, model: str) -> tuple[str, ModelConfig]:
    assert isinstance(node.value, dict)
    source = node.value["config"]
    config = Node(node.path, f"{node.where}.config", source)
    if not isinstance(source, str | dict):
        raise config.error(_CONFIG)
    try:
        return model, read_checked(source)
    except ProfileError as error:
        raise config.error(f"{_CONFIG}: {error}") from None


_Said = Mapping[str, tuple[Node, Any]]


def _read_endpoint(node: Node, model: str, engine: _Said, drafts: dict[HostPort, _Draft]) -> HostPort:
    fields = {"address": node}
    if not isinstance(node.value, str):
        fields = node.fields(_ENDPOINT_KEYS, ["address"], _ADDRESS)
    address = fields["address"].text(_ADDRESS)
    try:
        at = parse_host_port(address)
    except ValueError:
        raise fields["address"].error(_ADDRESS) from None
    draft = drafts.setdefault(at, _Draft(at, node.where))
    if model in draft.models:
        raise fields["address"].error(f"an address only once in a model ({draft.models[model]} has it)")
    draft.models[model] = node.where
    _add_settings(draft, {**engine, **_read_settings(fields)})
    return at


def _read_settings(fields: Mapping[str, Node]) -> dict[str, tuple[Node, Any]]:
    said: dict[str, tuple[Node, Any]] = {}
    if "name" in fields:
        said["name"] = fields["name"], fields["name"].text("the pod's name")
    if "engine" in fields:
        said["engine"] = fields["engine"], _engine(fields["engine"])
    if "metrics_port" in fields:
        said["metrics_port"] = fields["metrics_port"], fields["metrics_port"].port()
    if "labels" in fields:
        said["labels"] = fields["labels"], fields["labels"].texts(_LABELS)
    if "draining" in fields:
        said["draining"] = fields["draining"], fields["draining"].truth()
    return said


def _add_settings(draft: _Draft, said: _Said) -> None:
    for key, (node, value) in said.items():
        known = draft.settings.setdefault(key, value)
        if known != value:
            raise node.error(f"{known!r}, as said of {draft.at} before")


def _default_name(model: str, at: HostPort) -> str:
    sanitised = re.sub(r"[^a-z0-9]+", "-", model.lower())[:_MODEL_NAME_CHARACTERS].strip("-")
    return f"{sanitised}-{re.sub(r'[.:]', '-', at.host)}-{at.port}"


def _check_names(pods: tuple[ConfiguredPod, ...], path: Path) -> None:
    places: dict[str, str] = {}
    for pod in pods:
        if pod.name in places:
            allowed = f"a pod name that no other endpoint has ({places[pod.name]} has it)"
            raise EndpointsError(path, f"{pod.where}.name", repr(pod.name), allowed)
        places[pod.name] = pod.where
