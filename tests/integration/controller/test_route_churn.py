"""The controller under churn: workloads, kinds and the API server come and go; then exactly what is demanded is there.

`CHURN_SECONDS=1800` makes it half an hour.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fake_kubernetes import FakeServer
from tests.integration.controller.controller_harness import ROUTES, controller, deployment, eventually, workload

_SECONDS = float(os.environ.get("CHURN_SECONDS", "4"))
_PAUSE_SECONDS = 0.02
_NAMES = 12
_OTHER_KIND = "stormservices"


class Churn:
    """One turn after the other, each at random; what went wrong on the way is healed at the end."""

    def __init__(self, server: FakeServer, rng: random.Random) -> None:
        self.server, self.rng = server, rng
        self.kind = server.cluster.resource(_OTHER_KIND)
        self.away = False

    async def run(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        turns: list[Callable[[], Any]] = [self.workload] * 12
        turns += [self.other, self.replace_kind, self.cut, self.forget, self.refuse, self.quarrel]
        while asyncio.get_running_loop().time() < deadline:
            self.rng.choice(turns)()
            if self.rng.random() < 0.02:
                await self.restart()
            await asyncio.sleep(_PAUSE_SECONDS)
        self.server.faults.heal()

    def workload(self) -> None:
        name = f"m{self.rng.randrange(_NAMES)}"
        if name in self.server.cluster.names("deployments", "models"):
            self.server.cluster.delete("deployments", name, "models")
        else:
            self.server.cluster.create("deployments", deployment(name, name))

    def other(self) -> None:
        name = f"s{self.rng.randrange(_NAMES)}"
        if _OTHER_KIND in self.server.cluster.resources and name not in self.server.cluster.names(
            _OTHER_KIND, "models"
        ):
            labels = {"model.aibrix.ai/name": name}
            self.server.cluster.create(_OTHER_KIND, workload(name, labels, labels))

    def replace_kind(self) -> None:
        if _OTHER_KIND in self.server.cluster.resources:
            self.server.cluster.uninstall(_OTHER_KIND)
        else:
            self.server.cluster.install(self.kind)

    def cut(self) -> None:
        self.rng.choice([self.server.abort_watches, self.server.close_watches, self.server.expire_watches])()

    def forget(self) -> None:
        self.server.cluster.forget_history()

    def refuse(self) -> None:
        self.server.faults.fail(
            self.rng.choice([409, 429, 500, 503]), verb=self.rng.choice(["list", "create", "patch"])
        )

    def quarrel(self) -> None:
        """Somebody takes a route away."""
        names = [name for name in self.server.cluster.names("httproutes", ROUTES) if name.endswith("-router")]
        if names:
            self.server.cluster.delete("httproutes", self.rng.choice(names), ROUTES)

    async def restart(self) -> None:
        await self.server.go_away()
        await asyncio.sleep(0.1)
        await self.server.come_back()

    def demanded(self) -> list[str]:
        cluster = self.server.cluster
        others = cluster.names(_OTHER_KIND, "models") if _OTHER_KIND in cluster.resources else []
        return sorted(f"{name}-router" for name in [*cluster.names("deployments", "models"), *others])


async def test_exactly_what_is_demanded_and_then_silence(server: FakeServer, tmp_path: Path):
    cluster, churn = server.cluster, Churn(server, random.Random(5))
    async with controller(server, tmp_path, resync_seconds=1):
        tasks = len(asyncio.all_tasks())
        await churn.run(_SECONDS)
        if _OTHER_KIND not in cluster.resources:
            cluster.install(churn.kind)
        await eventually(lambda: cluster.names("httproutes", ROUTES) == churn.demanded(), "exactly the routes")
        services = [name.removesuffix("-router") for name in churn.demanded()]
        await eventually(lambda: cluster.names("services", "models") == services, "exactly the Services")
        await eventually(lambda: len(server.watches()) >= 10, "all is followed")
        await eventually(lambda: _is_silent(server), "no write while everything is read twice more")
        assert len(asyncio.all_tasks()) < tasks + 30


_seen: dict[int, tuple[int, int]] = {}


def _is_silent(server: FakeServer) -> bool:
    """Whether two complete readings passed without a write; begins anew with each write."""
    version, readings = server.cluster.history.version, server.requests.count("list services")
    before = _seen.get(id(server))
    if before is None or before[0] != version:
        _seen[id(server)] = (version, readings)
        return False
    return readings >= before[1] + 2


async def test_what_came_after_a_backup_goes_when_it_is_restored(server: FakeServer, tmp_path: Path):
    """Versions jump back, and nobody says so."""
    cluster = server.cluster
    cluster.create("deployments", deployment("before", "before"))
    async with controller(server, tmp_path, resync_seconds=3600):
        await eventually(lambda: cluster.names("httproutes", ROUTES) == ["before-router"], "its route")
        backup = cluster.backup()
        for number in range(30):
            cluster.create("deployments", deployment(f"after-{number}", f"after-{number}"))
        await eventually(lambda: len(cluster.names("httproutes", ROUTES)) == 31, "their routes")
        await server.go_away()
        cluster.restore(backup)
        await server.come_back()
        cluster.create("deployments", deployment("later", "later"))
        wanted = ["before-router", "later-router"]
        await eventually(lambda: cluster.names("httproutes", ROUTES) == wanted, "what is there now, and no more")
