"""The list of engines that one host keeps: URLs, and what is told of each.

    pods:
      - http://127.0.0.1:8000
      - {url: "http://10.0.0.2:8000", engine: vllm, models: [llama], draining: true}

`engine` and `models` are asked of the engine where they are left out. `endpoints_text` makes of it the endpoints file
that plugin and Envoy follow.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from gateway_plugin.pods.addresses import HostPort, parse_host_port
from gateway_plugin.pods.engines.metric_names import ENGINE_NAMES
from gateway_plugin.pods.node import EndpointsError, Node
from gateway_plugin.settings import plain_yaml
from gateway_plugin.settings.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway_plugin.pods.engines.engine_probe import FoundEngine

MAX_PODS = 1000
"""One host starts no more; the plugin itself takes any number."""
_FILE = "a mapping with the key pods, a list of URLs"
_POD = 'a URL like "http://127.0.0.1:8000", or a mapping with a url'
_KEYS = ("url", "engine", "models", "name", "draining")


@dataclass(frozen=True, slots=True)
class ListedPod:
    """One engine. Empty is "ask it"."""

    at: HostPort
    engine: str = ""
    models: tuple[str, ...] = ()
    name: str = ""
    draining: bool = False

    @property
    def url(self) -> str:
        """As people write it."""
        return f"http://{self.at}"

    def as_yaml(self) -> str | dict[str, Any]:
        """Nothing but what is said."""
        said: dict[str, Any] = {"url": self.url}
        said |= {"engine": self.engine} if self.engine else {}
        said |= {"models": list(self.models)} if self.models else {}
        said |= {"name": self.name} if self.name else {}
        said |= {"draining": True} if self.draining else {}
        return said if len(said) > 1 else self.url


@dataclass(frozen=True, slots=True)
class PodList:
    """In the order in which they were added, each address once."""

    pods: tuple[ListedPod, ...] = field(default=())

    def with_pod(self, pod: ListedPod) -> PodList:
        """What was said of this address before is replaced."""
        if self.find(pod.at) is None:
            return PodList((*self.pods, pod))
        return PodList(tuple(pod if one.at == pod.at else one for one in self.pods))

    def without(self, at: HostPort) -> PodList:
        """Forgets the address."""
        return PodList(tuple(one for one in self.pods if one.at != at))

    def drained(self, at: HostPort, *, draining: bool) -> PodList:
        """The same with one pod that gets nothing new, or gets requests again."""
        return PodList(tuple(replace(one, draining=draining) if one.at == at else one for one in self.pods))

    def find(self, at: HostPort) -> ListedPod | None:
        """The pod of an address."""
        return next((one for one in self.pods if one.at == at), None)


def parse_pod_url(text: str) -> HostPort:
    """Reads http://host:port; raises ValueError with what is allowed."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    allowed = f"{text!r} is not the address of an engine; allowed: http://HOST:PORT"
    if parts.scheme != "http":
        raise ValueError(f"{allowed} ({parts.scheme}:// needs a proxy that ends TLS in front of the engine)")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{allowed}, without a path; the API is looked for at /v1")
    try:
        return parse_host_port(parts.netloc)
    except ValueError:
        raise ValueError(allowed) from None


def read_pod_list(path: Path) -> PodList:
    """A file that is not there is an empty list; raises EndpointsError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return PodList()
    except OSError as error:
        raise EndpointsError(path, "the file", f"not readable ({error.strerror})", _FILE) from error
    return parse_pod_list(data, path)


def parse_pod_list(data: bytes, path: Path) -> PodList:
    """Raises EndpointsError; `path` is for its messages."""
    try:
        root = Node(path, "the file", plain_yaml.load(data))
    except plain_yaml.PlainYamlError as error:
        raise EndpointsError(path, "the file", f"not YAML ({error})", _FILE) from None
    nodes = root.fields(["pods"], ["pods"], _FILE)["pods"].items(_FILE)
    if len(nodes) > MAX_PODS:
        raise root.error(f"{MAX_PODS} pods at most", f"a list of {len(nodes)} pods")
    pods = PodList()
    for node in nodes:
        pod = _read_pod(node)
        if pods.find(pod.at) is not None:
            raise node.error("an address only once", str(pod.at))
        pods = pods.with_pod(pod)
    return pods


def _read_pod(node: Node) -> ListedPod:
    if isinstance(node.value, str):
        return ListedPod(_url(node))
    fields = node.fields(_KEYS, ["url"], _POD)
    return ListedPod(
        _url(fields["url"]),
        _engine(fields["engine"]) if "engine" in fields else "",
        tuple(one.text("a model's name") for one in fields["models"].items("a list of names"))
        if "models" in fields
        else (),
        fields["name"].text("the pod's name") if "name" in fields else "",
        fields["draining"].truth() if "draining" in fields else False,
    )


def _url(node: Node) -> HostPort:
    try:
        return parse_pod_url(node.text(_POD))
    except ValueError as error:
        if isinstance(error, EndpointsError):
            raise
        raise node.error(str(error).partition("; allowed: ")[2]) from None


def _engine(node: Node) -> str:
    name = node.text("an engine's name").lower()
    if name not in ENGINE_NAMES:
        raise node.error(f"{', '.join(sorted(ENGINE_NAMES))}{did_you_mean(name, ENGINE_NAMES)}")
    return name


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """One writer at a time: what is read inside and written inside is nobody else's meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_pod_list(path: Path, pods: PodList) -> None:
    """By one rename: nobody reads half a file."""
    write_whole(path, yaml.safe_dump({"pods": [pod.as_yaml() for pod in pods.pods]}, sort_keys=False))


def write_whole(path: Path, text: str) -> None:
    """The new text or the old one, whenever somebody looks."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def endpoints_text(pods: PodList, found: Mapping[HostPort, FoundEngine]) -> str:
    """The endpoints file for those of which the models are known."""
    models: dict[str, dict[str, Any]] = {}
    for pod in pods.pods:
        engine = found.get(pod.at)
        for name in pod.models or (engine.models if engine is not None else ()):
            entry = models.setdefault(name, {"name": name, "endpoints": []})
            entry["endpoints"].append(_endpoint(pod, engine.engine if engine is not None else ""))
    return yaml.safe_dump({"models": [*models.values(), *_adapters(pods, found, set(models))]}, sort_keys=False)


def _endpoint(pod: ListedPod, found: str) -> dict[str, Any]:
    kind = pod.engine or found
    said: dict[str, Any] = {"address": str(pod.at)}
    said |= {"engine": kind} if kind else {}
    said |= {"name": pod.name} if pod.name else {}
    return said | ({"draining": True} if pod.draining else {})


def _adapters(pods: PodList, found: Mapping[HostPort, FoundEngine], models: set[str]) -> list[dict[str, Any]]:
    adapters: dict[str, dict[str, Any]] = {}
    for pod in pods.pods:
        for name, parent in found[pod.at].adapters if pod.at in found and not pod.models else ():
            if parent in models and name not in models:
                entry = adapters.setdefault(name, {"name": name, "parent": parent, "endpoints": []})
                entry["endpoints"].append(_endpoint(pod, found[pod.at].engine))
    return list(adapters.values())
