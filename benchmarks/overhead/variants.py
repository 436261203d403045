"""What is compared."""

from __future__ import annotations

from benchmarks.rig import Variant
from gateway_plugin.settings import Settings

ALONE = "Envoy alone"
LUA = "Envoy, Lua"
ECHO = "bare grpc.aio echo"
NONE = "plugin, no accounting"
WITHOUT_LUA = "plugin, access_log, no Lua"
FREE = "plugin, access_log"
LIMITED = "plugin, access_log, limits"
FOLLOWED = "plugin, ext_proc, limits"
FOLLOWED_GRPCIO = "plugin on grpc.aio, ext_proc, limits"

_ON_GRPCIO = Variant(
    FOLLOWED_GRPCIO,
    limits="valkey",
    accounting="ext_proc",
    lua=False,
    environment={"GATEWAY_TRANSPORT": "grpcio"},
)
HAS_OWN_TRANSPORT = "transport" in Settings.model_fields

VARIANTS = (
    Variant(ALONE, "none", lua=False),
    Variant(LUA, "none"),
    Variant(ECHO, "echo", lua=False, accounting="none"),
    Variant(NONE, accounting="none", lua=False),
    Variant(WITHOUT_LUA, lua=False),
    Variant(FREE),
    Variant(LIMITED, limits="valkey"),
    Variant(FOLLOWED, limits="valkey", accounting="ext_proc", lua=False),
    *((_ON_GRPCIO,) if HAS_OWN_TRANSPORT else ()),
)
