"""Where the catalogue is kept: every store does the same, and replicas share what is on a server."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gateway_plugin.models.catalogue.catalogue import Catalogue
from gateway_plugin.models.catalogue.registry import ALIAS, Alias, encode_alias
from gateway_plugin.models.live.live_catalogue import LiveCatalogue, Sources
from gateway_plugin.models.store import CatalogueStore
from gateway_plugin.models.store.registry_in_file import FileCatalogueStore, MemoryCatalogueStore
from gateway_plugin.models.store.registry_in_redis import RedisCatalogueStore
from gateway_plugin.pods.engines.known_models import KnownModels
from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import StoreUnavailable
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(params=["memory", "file", pytest.param("redis", marks=pytest.mark.redis)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CatalogueStore]:
    made: CatalogueStore
    if request.param == "memory":
        made = MemoryCatalogueStore()
    elif request.param == "file":
        made = FileCatalogueStore(tmp_path / "models.json")
    else:
        made = await empty(request.getfixturevalue("valkey"))
    yield made
    await made.close()


async def empty(url: str) -> RedisCatalogueStore:
    made = RedisCatalogueStore(url, 5.0)
    await made._client.flushall()
    return made


async def test_parts_are_maps(store: CatalogueStore):
    assert await store.read("models") == {}
    entries = {f"org/é{number}": bytes([number % 256, 0, 255]) for number in range(1200)}
    await store.write("models", entries)
    assert await store.read("models") == entries
    await store.write("models", {"new": b"1"}, entries)
    assert await store.read("models") == {"new": b"1"}
    assert await store.read("registry") == {}


async def test_versions_grow_with_writes(store: CatalogueStore):
    await store.write("registry", {"a": b"1"})
    first = await store.versions()
    await store.write("registry", {}, ["a"])
    second = await store.versions()
    assert second["registry"] > first["registry"]
    assert "models" not in second


async def test_a_file_outlives_the_process(tmp_path: Path):
    path = tmp_path / "models.json"
    await FileCatalogueStore(path).write("registry", {"a": b"\x00\xff"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert await FileCatalogueStore(path).read("registry") == {"a": b"\x00\xff"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"models": 1}', b'{"models": {"a": "MQ='])
async def test_a_file_that_is_none_of_ours_is_set_aside(tmp_path: Path, content: bytes, caplog):
    path = tmp_path / "models.json"
    path.write_bytes(content)
    store = FileCatalogueStore(path)
    assert f"{path} is no catalogue" in caplog.text
    await store.write("models", {"a": b"1"})
    assert (tmp_path / "models.json.broken").read_bytes() == content
    assert await FileCatalogueStore(path).read("models") == {"a": b"1"}


def test_a_file_in_no_folder_is_refused_at_the_start(tmp_path: Path):
    with pytest.raises(ValueError, match="nowhere is no directory"):
        FileCatalogueStore(tmp_path / "nowhere" / "models.json")


async def test_what_the_disk_refused_does_not_come_with_the_next_write(tmp_path: Path, monkeypatch):
    path = tmp_path / "models.json"
    store = FileCatalogueStore(path)
    await store.write("registry", {"a": b"1", "b": b"1"})
    before, versions = path.read_bytes(), await store.versions()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            await store.write("registry", {"refused": b"1"}, ["a"])
    assert await store.read("registry") == {"a": b"1", "b": b"1"}
    assert (path.read_bytes(), await store.versions()) == (before, versions)
    await store.write("registry", {"c": b"1"})
    assert await FileCatalogueStore(path).read("registry") == {"a": b"1", "b": b"1", "c": b"1"}


@pytest.mark.redis
async def test_one_leads_at_a_time(valkey: str):
    one, two = await empty(valkey), RedisCatalogueStore(valkey, 5.0)
    assert await one.lead("one")
    assert not await two.lead("two")
    assert await one.lead("one")
    await one.close()
    assert await two.lead("two"), "who stops gives up the lead at once"
    await two.close()


async def test_a_server_that_is_away():
    store = RedisCatalogueStore("redis://127.0.0.1:9", 0.2)
    with pytest.raises(StoreUnavailable):
        await store.read("models")


class Replica:
    """A live catalogue over its own pod table."""

    def __init__(self, url: str, *models: str) -> None:
        self.table = PodTable(time.monotonic)
        self.known = KnownModels(self.table.apply)
        self.is_synced = True
        sources = Sources(self.table, self.known, lambda: self.is_synced)
        name = f"replica-{id(self)}"
        self.live = LiveCatalogue(Catalogue(time.time), sources, RedisCatalogueStore(url, 5.0), name)
        self._task: asyncio.Task[None] | None = None
        self.serve(*models)

    def serve(self, *models: str) -> None:
        pods = tuple(PodSpec(model, f"10.0.0.{at}:8000", (model,)) for at, model in enumerate(models))
        self.known.discovered(ClusterState(pods, frozenset()))

    async def start(self) -> None:
        await self.live.load()
        self._task = asyncio.create_task(self.live.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.live.close()

    def shown(self) -> dict[str, tuple[str, bool]]:
        facts = [entry.facts for entry in self.live.snapshot.entries]
        return {one.id: (one.status.value, one.confirmed) for one in facts}


async def eventually(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.redis
async def test_a_restarted_replica_answers_at_once_and_says_what_it_has_not_seen(valkey: str):
    await (await empty(valkey)).close()
    before = Replica(valkey, "m", "n")
    await before.start()
    await eventually(lambda: before.live._keeper.leads and not before.live._keeper._dirty)
    created = {entry.facts.id: entry.facts.created for entry in before.live.snapshot.entries}
    await before.stop()

    after = Replica(valkey)
    after.is_synced = False
    await after.start()
    assert after.shown() == {"m": ("ready", False), "n": ("ready", False)}
    after.serve("m")
    after.is_synced = True
    await eventually(lambda: after.shown() == {"m": ("ready", True), "n": ("unavailable", True)})
    assert {entry.facts.id: entry.facts.created for entry in after.live.snapshot.entries} == created
    await after.stop()


@pytest.mark.redis
async def test_replicas_share_the_registry(valkey: str):
    await (await empty(valkey)).close()
    one, two = Replica(valkey, "m"), Replica(valkey, "m")
    await one.start()
    await two.start()
    await one.live.change("registry", {ALIAS + "gpt-4o": encode_alias(Alias("m"))})
    assert one.live.names.resolve("gpt-4o", "lgy").model == "m", "here at once"
    await eventually(lambda: two.live.names.resolve("gpt-4o", "lgy").model == "m")
    assert "gpt-4o" in two.shown()
    await one.stop()
    await two.stop()


async def test_without_its_store_a_catalogue_still_lists_what_it_sees():
    replica = Replica("redis://127.0.0.1:9", "m")
    await replica.start()
    replica.serve("m", "n")
    await eventually(lambda: set(replica.shown()) == {"m", "n"})
    await replica.stop()
