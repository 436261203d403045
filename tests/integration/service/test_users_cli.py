"""`gateway-plugin users ...` against the users API on a real port."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.users_command import users_cli
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import Admission, CorruptUserRecord, MemoryStore, StoreUnavailable, UserRecord, secret_sha256

TOKEN = "admin-token"


class Store(MemoryStore):
    """May be away, and may hold a record that cannot be read."""

    away = False
    corrupt = ""

    async def read(self, name: str) -> UserRecord | None:
        if self.away:
            raise StoreUnavailable("redis:6379", "refused")
        if name == self.corrupt:
            raise CorruptUserRecord(f"aibrix-users/{name}")
        return await super().read(name)


class Shell:
    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.env = {"GATEWAY_ADMIN_TOKEN": TOKEN, "COLUMNS": "200", "TERMINAL_WIDTH": "200"}

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        where = () if "--url" in arguments else ("--url", self.url)
        result = await asyncio.to_thread(CliRunner().invoke, users_cli, [*arguments, *where], env=self.env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    async def done(self, *arguments: str) -> str:
        code, out, err = await self.run(*arguments)
        assert (code, err) == (0, "")
        return out


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    store = Store(lambda: 1767225600.0)
    app = new_app("test", "test")
    app.include_router(users_router(store, TOKEN))
    app.include_router(users_rest_router(store, store, store, TOKEN))
    listener = HttpListener(app, "127.0.0.1", 0, "api_port")
    running = asyncio.create_task(listener.run())
    yield Shell(store, f"http://127.0.0.1:{listener.port}")
    listener.stop()
    await running


async def test_the_life_of_a_user(shell: Shell):
    options = ["--rpm", "3", "--max-parallel", "2", "--model", "a", "--model", "org/b=c", "--override", "org/b=c=1:0"]
    out = await shell.done("create", "team/lgy", *options, "--disabled")
    for word in ("team/lgy", "default", "a, org/b=c", "org/b=c=1:0", "disabled"):
        assert word in out
    user = json.loads(await shell.done("show", "team/lgy", "--json"))
    record = UserRecord("team/lgy", 3, 0, 2, ("a", "org/b=c"), True, {"org/b=c": (1, 0)})
    assert await shell.store.read("team/lgy") == record
    assert (user["rpm"], user["overrides"]) == (3, {"org/b=c": {"rpm": 1, "tpm": 0}})
    await shell.done("update", "team/lgy", "--enabled", "--tpm", "500", "--model", "", "--override", "")
    assert await shell.store.read("team/lgy") == UserRecord("team/lgy", 3, 500, 2)
    assert "500" in await shell.done("show", "team/lgy")
    assert await shell.done("delete", "team/lgy") == ""
    assert await shell.store.names(9) == []


async def test_a_list_has_all_pages(shell: Shell):
    for i in range(1001):
        await shell.store.create(UserRecord(f"u{i:04}"))
    shell.store.corrupt = "u0007"
    users = json.loads(await shell.done("list", "--json"))
    assert [user["name"] for user in users["data"]] == [f"u{i:04}" for i in range(1001) if i != 7]
    code, out, err = await shell.run("list")
    assert (code, out.count("enabled"), "u1000" in out) == (0, 1000, True)
    assert err == "gateway-plugin: the record of user 'u0007' cannot be read; replace or delete it\n"


async def test_usage(shell: Shell):
    await shell.store.create(UserRecord("lgy", rpm=3, max_parallel=2))
    shell.store.admit(Admission("lgy", "1", tokens=10))
    rows = [line.split("│") for line in (await shell.done("usage", "lgy")).splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[:4] for row in cells if row[0] in ("requests", "tokens", "parallel")] == [
        ["requests", "3", "1", "2"],
        ["tokens", "3000", "10", "2990"],
        ["parallel", "2", "1", "1"],
    ]
    assert json.loads(await shell.done("usage", "lgy", "--json"))["requests"]["remaining"] == 2


async def test_keys(shell: Shell):
    await shell.store.create(UserRecord("lgy"))
    code, out, err = await shell.run("keys", "create", "lgy", "--label", "[b]notebook[/b]")
    (key,) = await shell.store.keys("lgy")
    assert (code, "only time" in err) == (0, True)
    assert await shell.store.user_of_key(secret_sha256(out.strip())) == "lgy", "stdout is the secret and nothing else"
    listed = await shell.done("keys", "list", "lgy")
    for word in (key.id, out[:7], "2026-01-01 00:00:00", "[b]notebook[/b]"):
        assert word in listed
    assert out.strip() not in listed
    assert await shell.done("keys", "revoke", "lgy", key.id) == ""
    assert json.loads(await shell.done("keys", "list", "lgy", "--json"))["data"] == []


async def test_a_user_joins_a_group_and_leaves_it(shell: Shell):
    await shell.store.create(UserRecord("lgy", rpm=2))
    await shell.done("update", "lgy", "--group", "research")
    assert await shell.store.read("lgy") == UserRecord("lgy", rpm=2, group="research")
    await shell.done("update", "lgy", "--group", "")
    assert await shell.store.read("lgy") == UserRecord("lgy", rpm=2)


async def test_a_key_takes_another_ones_place(shell: Shell):
    await shell.store.create(UserRecord("lgy"))
    await shell.run("keys", "create", "lgy", "--label", "ci", "--expires-days", "30")
    (old,) = await shell.store.keys("lgy")
    assert old.expires_at == pytest.approx(time.time() + 30 * 86400, abs=60)
    code, out, _ = await shell.run("keys", "rotate", "lgy", old.id, "--overlap-hours", "2")
    ending, new = await shell.store.keys("lgy")
    assert (code, ending.id, new.label, new.expires_at) == (0, old.id, "ci", None)
    assert ending.expires_at == pytest.approx(time.time() + 7200, abs=60)
    assert await shell.store.user_of_key(secret_sha256(out.strip())) == "lgy"
    # What ends sooner by itself is not made longer.
    await shell.run("keys", "rotate", "lgy", old.id, "--overlap-hours", "20")
    assert (await shell.store.keys("lgy"))[0].expires_at == ending.expires_at
    assert "expires (UTC)" in await shell.done("keys", "list", "lgy")
    code, _, err = await shell.run("keys", "rotate", "lgy", "none")
    assert (code, "no key none" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "x"], 1, "404: user x does not exist"),
        (["delete", "x"], 1, "404: user x does not exist"),
        (["update", "x", "--rpm", "1"], 1, "404: user x does not exist"),
        (["create", "lgy"], 1, "409: user lgy exists"),
        (["create", "a\x01"], 1, "422: "),
        (["create", ""], 1, "422: "),
        (["keys", "revoke", "lgy", "1"], 1, "404: user lgy has no key 1"),
        (["show", "lgy", "--admin-token", "wrong"], 1, "401: the admin token is wrong"),
        (["update", "lgy"], 2, "nothing to change"),
        (["update", "lgy", "--override", "a"], 2, "MODEL=RPM:TPM"),
        (["update", "lgy", "--rpm", "-1"], 2, "--rpm"),
        (["show", "lgy", "--url", "ftp://x"], 3, "not an http:// or https:// address"),
        (["show", "lgy", "--url", "http://[::1"], 3, "not an http:// or https:// address"),
    ],
)
async def test_errors_are_said_and_counted(shell: Shell, arguments: list[str], code: int, words: str):
    await shell.store.create(UserRecord("lgy"))
    exit_code, out, err = await shell.run(*arguments)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
    assert await shell.store.read("lgy") == UserRecord("lgy")


async def test_nobody_there_and_somebody_else(shell: Shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, _, err = await shell.run("list", "--url", f"http://127.0.0.1:{port}")
    assert (code, "no users API answers at" in err) == (3, True)
    code, _, err = await shell.run("list", "--url", f"{shell.url}/elsewhere")
    assert (code, err) == (1, "gateway-plugin: 404: Not Found\n")


async def test_a_store_that_is_away(shell: Shell):
    await shell.store.create(UserRecord("lgy"))
    shell.store.away = True
    code, _, err = await shell.run("show", "lgy")
    assert (code, "503: the store cannot answer: redis:6379: refused" in err) == (3, True)
