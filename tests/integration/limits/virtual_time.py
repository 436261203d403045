"""A server that keeps a test's time: its scripts run behind a shim that tells them, and lets keys expire by it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ratelimit.store import redis_store as scripts_of_limits
from ratelimit.store import redis_users as scripts_of_users
from ratelimit.store.scripts import Script

if TYPE_CHECKING:
    import pytest
    import redis

SHIM = """
local server = redis
local clock = server.call('HMGET', 'test:clock', 'seconds', 'us')
local clock_us = clock[1] * 1000000 + clock[2]
for _, key in ipairs(server.call('ZRANGEBYSCORE', 'test:expiry', '-inf', string.format('%.0f', clock_us))) do
  server.call('DEL', key)
  server.call('ZREM', 'test:expiry', key)
end
local function expire(key, seconds)
  server.call('ZADD', 'test:expiry', string.format('%.0f', clock_us + seconds * 1000000), key)
  return 1
end
local redis = {pcall = server.pcall}
function redis.call(command, ...)
  local given = {...}
  if command == 'TIME' then return clock end
  if command == 'EXPIRE' then return expire(given[1], given[2]) end
  if command == 'SET' then
    local reply = given[3] == 'NX' and server.call('SET', given[1], given[2], 'NX')
      or given[3] ~= 'NX' and server.call('SET', given[1], given[2])
    return reply and expire(given[1], given[#given]) and reply
  end
  return server.call(command, ...)
end
"""


def set_clock(client: redis.Redis, now_seconds: float) -> None:
    seconds, part = divmod(now_seconds, 1)
    client.hset("test:clock", mapping={"seconds": int(seconds), "us": int(part * 1e6)})


def use_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scripts_of_limits, scripts_of_users):
        for script in (value for value in vars(module).values() if isinstance(value, Script)):
            text = SHIM + script.text
            monkeypatch.setattr(script, "text", text)
            monkeypatch.setattr(script, "sha", hashlib.sha1(text.encode()).hexdigest())
