"""The programs of a cluster, built once from Go modules into `build/kubernetes/bin`."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = Path(os.environ.get("KUBERNETES_BUILD", ROOT / "build" / "kubernetes"))
BIN = BUILD / "bin"

KUBERNETES = "1.34.4"
ETCD = "v3.6.8"
ENVOY_GATEWAY = "v1.9.1"
HELM = "v3.22.0"
_LOW_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class Program:
    """One binary: its name, the package it is built from, and the module that it comes with."""

    name: str
    package: str
    version: str


_INSTALLED = (
    Program("helm", "helm.sh/helm/v3/cmd/helm", HELM),
    Program("envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway", ENVOY_GATEWAY),
    Program("egctl", "github.com/envoyproxy/gateway/cmd/egctl", ENVOY_GATEWAY),
)
_KUBERNETES = ("kube-apiserver", "kube-controller-manager")

_ETCD_MAIN = """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""


def build() -> None:
    """Builds what is not there; some minutes the first time. Needs `go`, and modules from its proxy."""
    BIN.mkdir(parents=True, exist_ok=True)
    for program in _INSTALLED:
        if not (BIN / program.name).exists():
            _say(f"building {program.name} {program.version}")
            _go(["install", "-p", "2", f"{program.package}@{program.version}"], BUILD, GOBIN=str(BIN))
    if not all((BIN / name).exists() for name in _KUBERNETES):
        _build_kubernetes()
    if not (BIN / "etcd").exists():
        _build_etcd()


def module_directory(module: str, version: str) -> Path:
    """Where the sources of a module are, once it was built."""
    cache = subprocess.run([_go_command(), "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    return Path(cache.stdout.strip()) / f"{module}@{version}"


def _build_kubernetes() -> None:
    """Its go.mod names its own parts by paths, which only its repository has; the modules of the same version do."""
    _say(f"building kube-apiserver and kube-controller-manager {KUBERNETES}: some 8 minutes on two cores")
    where = BUILD / "kubernetes"
    where.mkdir(exist_ok=True)
    (where / "go.mod").write_text("module cluster\n\ngo 1.24.0\n")
    _go(["mod", "download", f"k8s.io/kubernetes@v{KUBERNETES}"], where)
    source = module_directory("cache/download/k8s.io/kubernetes/@v/v", KUBERNETES)
    text = (source.parents[0] / f"v{KUBERNETES}.mod").read_text()
    lines = ["module cluster" if line.startswith("module ") else _released(line) for line in text.splitlines()]
    (where / "go.mod").write_text("\n".join(lines) + "\n")
    (where / "tools.go").write_text("package cluster\n")
    _go(["mod", "edit", "-require", f"k8s.io/kubernetes@v{KUBERNETES}"], where)
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES]
    # The version is said when linking; helm asks the server for it.
    stamps = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": KUBERNETES.split(".")[1]}
    stamped = [f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items()]
    linking = ["-ldflags", " ".join(["-s", "-w", *stamped])]
    _go(["build", "-p", "2", *linking, "-o", f"{BIN}/", *packages], where, GOFLAGS="-mod=mod -buildvcs=false")


def _released(line: str) -> str:
    name, arrow, target = line.partition(" => ")
    is_part = arrow and target.startswith("./staging/")
    return f"{name} => {name.strip()} v0{KUBERNETES.removeprefix('1')}" if is_part else line


def _build_etcd() -> None:
    _say(f"building etcd {ETCD}")
    where = BUILD / "etcd"
    where.mkdir(exist_ok=True)
    (where / "go.mod").write_text("module store\n\ngo 1.24.0\n")
    (where / "main.go").write_text(_ETCD_MAIN)
    _go(["get", f"go.etcd.io/etcd/server/v3@{ETCD}"], where, GOFLAGS="-mod=mod -buildvcs=false")
    _go(["build", "-p", "2", "-o", str(BIN / "etcd"), "."], where, GOFLAGS="-mod=mod -buildvcs=false")


def _go(arguments: list[str], where: Path, **environment: str) -> None:
    command = ["nice", "-n", str(_LOW_PRIORITY), _go_command(), *arguments]
    subprocess.run(command, cwd=where, env={**os.environ, **environment}, check=True)


def _go_command() -> str:
    found = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(found).exists():
        raise SystemExit("go is needed to build Kubernetes once; see https://go.dev/doc/install")
    return found


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - for a person
