"""Runs deploy/envoy/lua/gateway.lua in LuaJIT against a small copy of Envoy's Lua API."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lupa.luajit21 import LuaRuntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCRIPT = Path(__file__).parents[5] / "deploy/envoy/lua/gateway.lua"

# Bodies are bytes, so every string that crosses the border is.
FAKE_ENVOY = b"""
return function(about, headers, chunks, published, log, sent, trailers)
  local alive -- Envoy lets go of a chunk when it hands out the next, and at trailers
  local function chunk(bytes, i)
    alive, sent[i] = i, bytes
    return {
      length = function() return #bytes end,
      getBytes = function(_, from, n) return sent[i]:sub(from + 1, from + n) end,
      setBytes = function(_, changed) assert(alive == i, "out of scope"); sent[i] = changed end,
    }
  end
  local headers_wrapper = {
    get = function(_, name) if headers[name] then return headers[name] end end, -- no value at all is not nil
    remove = function(_, name) headers[name] = nil end,
    replace = function(_, name, value) assert(type(value) == "string"); headers[name] = value end,
  }
  local metadata = {
    get = function(_, namespace) return namespace == "gateway_plugin" and about or nil end,
    set = function(_, namespace, name, value) published[namespace .. ":" .. name] = value end,
  }
  local clock = 0
  local info = { dynamicMetadata = function() return metadata end }
  envoy_on_response({
    streamInfo = function() return info end,
    headers = function() return headers_wrapper end,
    timestamp = function() return 1700000000000 + clock end,
    body = function()
      local whole = table.concat(chunks)
      return #whole > 0 and chunk(whole, 1) or nil
    end,
    logWarn = function(_, text) log[#log + 1] = text end,
    bodyChunks = function()
      local i = 0
      return function()
        i = i + 1; clock = i
        if chunks[i] then return chunk(chunks[i], i) end
        if trailers then alive = nil end
      end
    end,
  })
end
"""


@dataclass
class Response:
    """What the script left behind: the client's headers and the published counts."""

    headers: dict[str, str]
    usage: dict[str, float]
    first_body_chunk: int | None
    """Number of the chunk at which the script noted the time, from 1."""
    log: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """What of each chunk went on to the client."""


class Script:
    """The loaded script; `run` passes one response through it."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(encoding=None)
        self._lua.execute(SCRIPT.read_bytes())
        self._run = self._lua.execute(FAKE_ENVOY)

    def _table(self, value: object) -> Any:
        if isinstance(value, dict):
            return self._lua.table_from({self._table(key): self._table(item) for key, item in value.items()})
        if isinstance(value, list):
            return self._lua.table_from([self._table(item) for item in value])
        return value.encode() if isinstance(value, str) else value

    def run(
        self,
        chunks: Sequence[bytes],
        headers: Mapping[str, str],
        about: dict[str, Any] | None,
        *,
        trailers: bool = False,
    ) -> Response:
        lua_headers, published, log = self._table({":status": "200", **headers}), self._table({}), self._table([])
        sent = self._table([])
        self._run(self._table(about), lua_headers, self._table(list(chunks)), published, log, sent, trailers)
        noted = published[b"gateway_plugin.usage:first_body_at_ms"]
        usage = {key.decode(): value for key, value in (published[b"gateway_plugin.usage:tokens"] or {}).items()}
        plain = {key.decode(): value.decode() for key, value in lua_headers.items()}
        first = None if noted is None else int(noted) - 1_700_000_000_000
        return Response(plain, usage, first, [line.decode() for line in log.values()], list(sent.values()))

    def usage(self, *chunks: bytes, content_type: str = "application/json") -> dict[str, float]:
        """The same whether the response says its length or not."""
        headers = {"content-type": content_type}
        response = self.run(chunks, headers, {"request_id": "r1"})
        with_length = self.run(chunks, {**headers, "content-length": str(sum(map(len, chunks)))}, {"request_id": "r1"})
        assert response.log == with_length.log == []
        assert response.usage == with_length.usage
        return response.usage


@pytest.fixture(scope="session")
def script() -> Script:
    return Script()
