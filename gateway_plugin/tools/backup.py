"""What must outlive a store: users, groups, their limits, API keys, and the registry of models. Not what was spent.

A backup is a file of JSON lines: a head, a line for each key of the store, and an end that counts them, so that a file
that was cut off is no backup. API keys are in it as the store has them, by their SHA-256; the file is still nobody
else's business, and is written for its owner alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from ratelimit.store.redis_groups import GROUP_NAMES
from ratelimit.store.redis_keys import RECORD_PREFIX, secret_key
from ratelimit.store.urls import close_client, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

FORMAT = "gateway-plugin-backup/1"
_TIMEOUT_SECONDS = 10.0
_SCAN_KEYS = 1000
_SOON_SECONDS = 60
"""API keys that end sooner are not carried along: most are not confirmed yet."""
_SECRETS = secret_key("")
_GROUPS = f"{GROUP_NAMES}/"
# Records of users and groups, whose an API key is, which keys a user has, and the registry but for who leads it.
_DURABLE = re.compile(
    rf"{RECORD_PREFIX}.+|{_GROUPS}.+|{_SECRETS}[0-9a-f]{{64}}|gateway:\{{.+:keys|gateway:\{{catalogue\}}:(?!leader$).+",
    re.DOTALL,
)
_PATTERNS = (f"{RECORD_PREFIX}*", f"{_GROUPS}*", f"{_SECRETS}*", "gateway:{*:keys", "gateway:{catalogue}:*")


class BackupError(Exception):
    """The file is no complete backup, or the store is not as it must be."""


async def write_backup(url: str, path: Path) -> int:
    """Writes all that must outlive the store at `url`; returns the number of keys. The file appears when complete."""
    client = connect(url, _TIMEOUT_SECONDS).client
    partial = path.with_name(path.name + ".partial")
    try:
        count = 0
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            async for key in _durable_keys(client):
                entry = await _read(client, key)
                if entry is not None:
                    file.write(json.dumps({"key": key, **entry}) + "\n")
                    count += 1
            file.write(json.dumps({"end": count}) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        await close_client(client)
    return count


async def restore_backup(url: str, path: Path, *, replace: bool = False) -> int:
    """Puts a backup into the store at `url`; returns the number of keys.

    Raises BackupError for a file that is no complete backup, and, without `replace`, for a store that has users. With
    `replace`, what the backup does not have goes, and what it has comes back as it was. What was spent stays.
    """
    entries = await asyncio.to_thread(read_backup, path)
    client = connect(url, _TIMEOUT_SECONDS).client
    try:
        present = [key async for key in _durable_keys(client)]
        if present and not replace:
            raise BackupError(f"the store has {len(present)} keys of users and models; --replace puts others there")
        for key in present:
            if key not in entries:
                await client.delete(_raw(key))
                if key.startswith(_GROUPS):
                    await client.srem(GROUP_NAMES, key.removeprefix(_GROUPS))
        for key in sorted(entries, key=_rank):
            await _write(client, key, entries[key])
    finally:
        await close_client(client)
    return len(entries)


def _rank(key: str) -> int:
    """Groups, which limit users, before users, before API keys, which lead to users who are there."""
    return 0 if key.startswith(_GROUPS) else 1 if key.startswith(RECORD_PREFIX) else 2


def read_backup(path: Path) -> dict[str, Mapping[str, Any]]:
    """The entries of a file, by key; raises BackupError."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, OSError) as error:
        raise BackupError(f"{path} cannot be read: {error}") from None
    if not lines or not isinstance(lines[0], dict) or lines[0].get("format") != FORMAT:
        raise BackupError(f"{path} is no backup of the form {FORMAT}")
    entries: dict[str, Mapping[str, Any]] = {
        str(line["key"]): line for line in lines[1:-1] if isinstance(line, dict) and "key" in line
    }
    if lines[-1] != {"end": len(entries)}:
        raise BackupError(f"{path} is not complete")
    return entries


async def _durable_keys(client: Any) -> AsyncIterator[str]:  # noqa: ANN401 - of a server, or of a cluster of them
    seen: set[str] = set()
    for pattern in _PATTERNS:
        async for raw in client.scan_iter(match=pattern, count=_SCAN_KEYS):
            key = _text(raw)
            if key not in seen and _DURABLE.fullmatch(key):
                seen.add(key)
                yield key


async def _read(client: Any, key: str) -> dict[str, Any] | None:  # noqa: ANN401
    """None for a key that went meanwhile, or is about to: an API key that is not confirmed yet. One that expires some
    day does so in the other store, too."""
    kind = _text(await client.type(_raw(key)))
    left_seconds = await client.ttl(_raw(key))
    if 0 <= left_seconds <= _SOON_SECONDS or (left_seconds >= 0 and not key.startswith(_SECRETS)):
        return None
    if kind == "string":
        value = await client.get(_raw(key))
        expiry = {} if left_seconds < 0 else {"expires_at": int(time.time()) + left_seconds}
        return None if value is None else {"string": _text(value), **expiry}
    if kind == "hash":
        fields = await client.hgetall(_raw(key))
        return {"hash": {_text(name): _text(value) for name, value in fields.items()}}
    return None


async def _write(client: Any, key: str, entry: Mapping[str, Any]) -> None:  # noqa: ANN401
    if "string" in entry:
        if key.startswith(_GROUPS):
            await client.sadd(GROUP_NAMES, key.removeprefix(_GROUPS))
        await client.set(_raw(key), _raw(entry["string"]))
        if "expires_at" in entry:
            await client.expireat(_raw(key), int(entry["expires_at"]))
        return
    await client.delete(_raw(key))
    pairs: Iterable[tuple[str, str]] = entry.get("hash", {}).items()
    fields = {_raw(name): _raw(value) for name, value in pairs}
    if fields:
        await client.hset(_raw(key), mapping=fields)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
