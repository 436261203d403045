"""What is compared: chains, and requests of different kinds through them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.variant import Variant
from routing.strategies.every import all_policies

if TYPE_CHECKING:
    from collections.abc import Mapping

ALONE = "Envoy alone"
LUA = "Envoy, Lua"
ECHO = "bare grpc.aio echo"
NATIVE_ECHO = "bare echo on our transport"
NONE = "plugin, no accounting"
NONE_LIMITED = "plugin, no accounting, limits"
WITHOUT_LUA = "plugin, access_log, no Lua"
FREE = "plugin, access_log"
LIMITED = "plugin, access_log, limits"
HEADER_ONLY = "plugin, access_log, header only"
FOLLOWED_FREE = "plugin, ext_proc"
FOLLOWED = "plugin, ext_proc, limits"
FOLLOWED_GRPCIO = "plugin on grpc.aio, ext_proc, limits"
MAIN = (ALONE, ECHO, FREE, LIMITED, FOLLOWED)
"""Those that are measured at every size."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One line of the tables: a chain, and what its requests say beside the usual."""

    name: str
    chain: Variant
    headers: Mapping[str, str] = field(default_factory=dict)


def echo(transport: str) -> tuple[str, ...]:
    """The command of a server that answers, and does nothing else."""
    return (sys.executable, "-m", "benchmarks.overhead.echo", "{grpc}", "{ops}", transport)


def _echo(name: str, transport: str) -> Variant:
    return Variant(name, "other", echo(transport), ready_path="/", lua=False, accounting="none")


_FREE = Variant(FREE)
_CHAINS = (
    Variant(ALONE, "none", lua=False),
    Variant(LUA, "none"),
    _echo(ECHO, "grpcio"),
    _echo(NATIVE_ECHO, "native"),
    Variant(NONE, accounting="none", lua=False),
    Variant(NONE_LIMITED, accounting="none", lua=False, limits="valkey"),
    Variant(WITHOUT_LUA, lua=False),
    _FREE,
    Variant(LIMITED, limits="valkey"),
    Variant(FOLLOWED_FREE, accounting="ext_proc", lua=False),
    Variant(FOLLOWED, limits="valkey", accounting="ext_proc", lua=False),
    Variant(
        FOLLOWED_GRPCIO,
        limits="valkey",
        accounting="ext_proc",
        lua=False,
        environment={"GATEWAY_TRANSPORT": "grpcio"},
    ),
)
SUBJECTS = (
    *(Subject(chain.name, chain) for chain in _CHAINS),
    Subject(HEADER_ONLY, _FREE, {"routing-strategy": "least-request"}),
)


def strategies() -> tuple[Subject, ...]:
    """Every strategy, through one plugin."""
    names = sorted(all_policies(lambda: 0.0, np.random.default_rng()))
    return tuple(Subject(f"strategy {name}", _FREE, {"routing-strategy": name, "x-session-id": "s"}) for name in names)
