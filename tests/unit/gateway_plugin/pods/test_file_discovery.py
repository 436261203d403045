"""The file is real, the time is virtual."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.pods.file import FileDiscovery
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.pods.reload_metrics import ReloadCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from routing.spec import ClusterState

pytestmark = pytest.mark.looptime


class World:
    """An endpoints file, a name server and what discovery has told of them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "endpoints.yaml"
        self.names: dict[str, list[str]] = {}
        self.lookups: list[str] = []
        self.states: list[ClusterState] = []
        self.discovery = FileDiscovery(self.path, self.states.append, resolve=self.resolve)

    async def resolve(self, host: str) -> Sequence[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[host]

    def write(self, *endpoints: str, name: str = "m") -> None:
        """As editors and `mv` do it: an atomic rename."""
        new = self.path.with_suffix(".new")
        new.write_text(f"models: [{{name: {name}, endpoints: [{', '.join(map(repr, endpoints))}]}}]")
        new.rename(self.path)

    def told(self) -> list[list[str]]:
        return [[pod.address for pod in state.pods] for state in self.states]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Not a fixture: virtual time begins with the test."""
    world.write("10.0.0.1")
    await world.discovery.load()
    task = asyncio.create_task(world.discovery.run())
    try:
        yield world
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_load_describes_the_pods(world: World) -> None:
    world.names["pod"] = ["fd00::7"]
    world.path.write_text(
        "models: [{name: m, engine: sglang, endpoints: [{address: 'pod:80', metrics_port: 90, labels: {a: b}}]},"
        " {name: empty, endpoints: []}]"
    )
    state = await world.discovery.load()
    (pod,) = state.pods
    assert (pod.name, pod.address, pod.metrics_address) == ("m-pod-80", "[fd00::7]:80", "[fd00::7]:90")
    assert (pod.models, pod.engine, pod.labels, pod.ready) == (("m",), "sglang", {"a": "b"}, True)
    assert state.models == {"m", "empty"}
    assert world.states == []
    assert world.discovery.endpoints.models == {"m": ("pod:80",), "empty": ()}


async def test_load_raises(world: World) -> None:
    with pytest.raises(EndpointsError, match="the file is missing"):
        await world.discovery.load()


async def test_a_name_that_was_never_resolved_is_a_pod_that_is_not_ready(world: World) -> None:
    world.write("pod:80")
    (pod,) = (await world.discovery.load()).pods
    assert (pod.address, pod.ready) == ("pod:80", False)


async def test_two_names_of_one_address_are_one_pod(world: World) -> None:
    world.names["a"] = world.names["b"] = ["10.0.0.1"]
    world.path.write_text("models: [{name: m, endpoints: [a]}, {name: n, endpoints: [b, '10.0.0.1']}]")
    (pod,) = (await world.discovery.load()).pods
    assert (pod.name, pod.address, pod.models, pod.ready) == ("m-a-8000", "10.0.0.1:8000", ("m", "n"), True)


async def test_nothing_is_told_while_nothing_changes(world: World) -> None:
    async with running(world):
        await asyncio.sleep(120)
        assert world.states == []


async def test_a_rename_is_read_when_two_looks_have_seen_it(world: World) -> None:
    async with running(world):
        await asyncio.sleep(10.5)
        world.write("10.0.0.2", "10.0.0.3")
        await asyncio.sleep(1.0)
        assert world.told() == []
        await asyncio.sleep(1.0)
        assert world.told() == [["10.0.0.2:8000", "10.0.0.3:8000"]]
        assert world.discovery.endpoints.models == {"m": ("10.0.0.2:8000", "10.0.0.3:8000")}


async def test_the_symlink_swap_of_a_config_map(world: World, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        file = tmp_path / version / world.path.name
        file.write_text(f"models: [{{name: m, endpoints: ['10.0.0.{version}']}}]")
        os.utime(file, ns=(1, 1))  # same size, same time: only the inode differs
    (tmp_path / "..data").symlink_to("1")
    world.path.symlink_to(Path("..data") / world.path.name)
    await world.discovery.load()
    task = asyncio.create_task(world.discovery.run())
    await asyncio.sleep(5)
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    await asyncio.sleep(2.5)
    task.cancel()
    assert world.told() == [["10.0.0.2:8000"]]


def reload_metrics(world: World) -> dict[str, float]:
    families = list(ReloadCollector(world.discovery.followed()).collect())
    samples = [one for family in families for one in family.samples]
    assert {one.labels["file"] for one in samples} == {"endpoints"}
    return {f"{one.name} {one.labels.get('outcome', '')}".strip(): one.value for one in samples}


async def test_bad_then_good(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with running(world):
        world.write("10.0.0.2:none")
        await asyncio.sleep(10)
        assert (world.states, world.discovery.reloads["refused"]) == ([], 1)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "models[0].endpoints[0] is '10.0.0.2:none'" in caplog.text
        assert world.discovery.endpoints.models == {"m": ("10.0.0.1:8000",)}
        assert "'10.0.0.2:none'" in world.discovery.refused
        assert not world.discovery.problem, "the last good one is in effect"
        assert reload_metrics(world)["gateway_config_last_reload_successful"] == 0
        world.path.unlink()
        await asyncio.sleep(10)
        assert (world.discovery.reloads["refused"], len(caplog.records)) == (2, 2)
        world.write("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(2)
        assert world.told() == [["10.0.0.1:8000", "10.0.0.2:8000"]]
        assert world.discovery.reloads["refused"] == 2
        assert world.discovery.refused == ""
        told = reload_metrics(world)
        assert told["gateway_config_last_reload_successful"] == 1
        assert told["gateway_config_reloads_total refused"] == 2
        assert told["gateway_config_last_reload_success_timestamp_seconds"] > 1_600_000_000


async def test_names_are_looked_up_again_at_a_reload_and_every_30_seconds(world: World) -> None:
    async with running(world):
        world.names["pod"] = ["10.0.0.8"]
        world.write("pod")
        await asyncio.sleep(29)
        assert world.lookups == ["pod"]
        world.names["pod"] = ["10.0.0.9"]
        await asyncio.sleep(4)
        assert world.lookups == ["pod"] * 2
        assert world.told() == [["10.0.0.8:8000"], ["10.0.0.9:8000"]]
        world.path.touch()
        await asyncio.sleep(2)
        assert world.lookups == ["pod"] * 3


async def test_a_lost_name_takes_its_pod_out_and_brings_it_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running(world):
        world.names["pod"] = ["10.0.0.8"]
        world.write("pod")
        await asyncio.sleep(5)
        del world.names["pod"]
        await asyncio.sleep(90)
        world.names["pod"] = ["10.0.0.8"]
        await asyncio.sleep(31)
    assert [(pod.address, pod.ready) for state in world.states for pod in state.pods] == [
        ("10.0.0.8:8000", True),
        ("10.0.0.8:8000", False),
        ("10.0.0.8:8000", True),
    ]
    assert len(caplog.records) == 1


async def test_run_without_load_reads_the_file(world: World) -> None:
    world.write("10.0.0.1")
    task = asyncio.create_task(world.discovery.run())
    await asyncio.sleep(2.5)
    task.cancel()
    assert world.told() == [["10.0.0.1:8000"]]


WHOLE = "models:\n  - name: m\n    endpoints: ['10.0.0.1:8000', '10.0.0.2:8000', '10.0.0.3:8000']\n"


@pytest.mark.parametrize("content", ["", "\n \n", "models: [{name: m}]", "models: []", WHOLE[:40]])
async def test_a_part_of_a_file_takes_no_pods_away(world: World, content: str) -> None:
    async with running(world):
        world.path.write_text(WHOLE)
        await asyncio.sleep(5)
        before = world.discovery.endpoints
        assert len(before.pods) == 3
        world.path.write_text(content)
        await asyncio.sleep(5)
        assert world.discovery.endpoints == before
        assert world.discovery.refused
        assert world.discovery.reloads == {"ok": 1, "refused": 1}


async def test_a_file_that_is_being_written_is_waited_for(world: World) -> None:
    async with running(world):
        await asyncio.sleep(10.5)
        for count in range(1, 5):
            world.write(*(f"10.0.0.{number}" for number in range(count)))
            await asyncio.sleep(1.0)
        assert (world.states, world.discovery.reloads) == ([], {"ok": 0, "refused": 0})
        await asyncio.sleep(1.0)
        assert world.discovery.reloads == {"ok": 1, "refused": 0}
