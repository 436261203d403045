"""Scheduler, kubelets and kube-proxy of a cluster of two nodes on this machine, as far as these tests need them."""

from __future__ import annotations

import asyncio
import logging
import random
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from kube.api import KubernetesError
from kube.feed import Feed, Found
from kube.reflector import Reflector
from tests.real_kubernetes.node_ports import NodePorts
from tests.real_kubernetes.pod_process import PodProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.real_kubernetes.kubectl import Objects

logger = logging.getLogger(__name__)

Json = dict[str, Any]
IDLE = "test/idle"
"""An annotation of pods that are to count as running, with nothing in them."""
NODES = ("node-1", "node-2")
_AGAIN_SECONDS = 0.5


class Seen:
    """Objects of one kind, by uid; `changed` is set with each change."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.changed = asyncio.Event()

    def replace(self, scope: str, readings: Mapping[str, Json]) -> bool:
        """A complete list."""
        del scope
        self.objects = dict(readings)
        self.changed.set()
        return True

    def put(self, scope: str, uid: str, reading: Json | None) -> bool:
        """One object."""
        del scope
        if reading is None:
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = reading
        self.changed.set()
        return True

    def lose(self, scope: str, code: int) -> bool:
        """Nothing that is followed here is ever missing."""
        del code
        return self.replace(scope, {})


def _read(raw: msgspec.Raw) -> Found[Json]:
    body: Json = msgspec.json.decode(raw)
    return Found(body["metadata"]["uid"], body["metadata"]["resourceVersion"], body)


class Node:
    """Runs until cancelled."""

    def __init__(self, objects: Objects, directory: Path, hosts: Path) -> None:
        self._objects, self._directory = objects, directory
        self._addresses = count(10)
        self.pods: dict[str, PodProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen = {plural: Seen() for plural in ("pods", "services", "endpointslices", "nodes")}
        self._ports = NodePorts(self.seen["services"].objects, self.seen["endpointslices"].objects, hosts)

    async def run(self) -> None:
        """Follows pods, Services and EndpointSlices."""
        for name in NODES:
            await self._add_node(name)
        async with asyncio.TaskGroup() as group:
            for plural, seen in self.seen.items():
                version = "discovery.k8s.io/v1" if plural == "endpointslices" else "v1"
                feed = Feed(version, plural, "", seen, _read)
                group.create_task(Reflector(self._objects.api, feed, "", lambda: None, random.Random()).run())
            group.create_task(self._follow_pods())
            group.create_task(self._follow_services())

    async def stop(self) -> None:
        """Ends every process."""
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, *(pod.abandon() for pod in self.pods.values()), return_exceptions=True)

    def of(self, selector: Mapping[str, str]) -> list[PodProcess]:
        """Pods with these labels that are not about to end."""
        return [
            pod
            for pod in self.pods.values()
            if selector.items() <= (pod.metadata.get("labels") or {}).items()
            and not self._now(pod).get("deletionTimestamp")
        ]

    def _now(self, pod: PodProcess) -> Json:
        metadata: Json = self.seen["pods"].objects.get(pod.uid, {}).get("metadata", {"deletionTimestamp": "gone"})
        return metadata

    async def _follow_pods(self) -> None:
        seen = self.seen["pods"]
        while True:
            await seen.changed.wait()
            seen.changed.clear()
            for uid, pod in list(seen.objects.items()):
                if uid not in self.pods and not pod["metadata"].get("deletionTimestamp"):
                    self._begin(uid, pod)
                elif uid in self.pods and pod["metadata"].get("deletionTimestamp"):
                    self._finish(uid, pod)
            for uid in [uid for uid in self.pods if uid not in seen.objects]:
                self._finish(uid, {"metadata": {"deletionGracePeriodSeconds": 0}})
            await asyncio.sleep(0.02)

    def _begin(self, uid: str, pod: Json) -> None:
        number = next(self._addresses)
        address = f"10.244.{number // 250 + 1}.{number % 250 + 1}"
        idle = IDLE in (pod["metadata"].get("annotations") or {})
        process = self.pods[uid] = PodProcess(pod, address, self._objects, self._directory, idle=idle)
        self._spawn(lambda: self._place_and_start(process), lambda: process.is_ending)

    async def _place_and_start(self, process: PodProcess) -> None:
        if not process.pod["spec"].get("nodeName"):
            node = self._free_node()
            await self._objects.bind(process.namespace, process.name, node)
            process.pod["spec"]["nodeName"] = node
        await process.start()

    def _free_node(self) -> str:
        open_ = [item["metadata"]["name"] for item in self.seen["nodes"].objects.values() if not _is_cordoned(item)]
        loads: dict[str, int] = dict.fromkeys(open_ or NODES, 0)
        for pod in self.pods.values():
            name = pod.pod["spec"].get("nodeName")
            if name in loads:
                loads[name] += 1
        return min(loads, key=lambda name: (loads[name], name))

    def _finish(self, uid: str, pod: Json) -> None:
        process = self.pods.get(uid)
        if process is None or process.is_ending:
            return
        process.is_ending = True
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        # What ends for the second time has no grace left.
        graces = iter([grace])
        self._spawn(lambda: self._end(uid, process, next(graces, 0.0)), lambda: False)

    async def _end(self, uid: str, process: PodProcess, grace_seconds: float) -> None:
        await process.end(grace_seconds)
        self.pods.pop(uid, None)

    def _spawn(self, work: Callable[[], Awaitable[None]], is_over: Callable[[], bool]) -> None:
        """Until it succeeds, as kubelets do it, or is not wanted any more."""

        async def guarded() -> None:
            while not is_over():
                try:
                    await work()
                except KubernetesError as error:
                    logger.warning("the node: %s", error)
                except Exception:
                    logger.exception("the node")
                    return
                else:
                    return
                await asyncio.sleep(_AGAIN_SECONDS)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_services(self) -> None:
        while True:
            for plural in ("services", "endpointslices"):
                self.seen[plural].changed.clear()
            await self._ports.update(self.seen["services"].objects, self.seen["endpointslices"].objects)
            waits = [asyncio.create_task(self.seen[plural].changed.wait()) for plural in ("services", "endpointslices")]
            _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.sleep(0.02)

    async def _add_node(self, name: str) -> None:
        if await self._objects.find("v1", "nodes", "", name) is None:
            labels = {"kubernetes.io/hostname": name}
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            await self._objects.create("v1", "nodes", "", body)
        conditions = [{"type": "Ready", "status": "True"}]
        addresses = [{"type": "InternalIP", "address": "10.244.0.1"}]
        status = {"conditions": conditions, "addresses": addresses, "capacity": {"pods": "5000", "cpu": "64"}}
        await self._objects.patch("v1", "nodes", "", f"{name}/status", {"status": status})


def _is_cordoned(node: Json) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))
