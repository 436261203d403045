"""`python -m benchmarks.discovery`: what a Kubernetes cluster that changes all the time costs the gateway.

Pods are 7 KB of JSON, as engines' are. "an event" is a line of a watch, from bytes to the shelf of readings; the same
through the official client's models shows why they are not used. "a state" is what follows from all pods, and telling
it to the pod table; it happens once for many events. Single core, no network.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import V1Pod
from rich.console import Console
from rich.table import Table

from gateway_plugin.discovery.kubernetes.book import Book
from gateway_plugin.discovery.kubernetes.feeds import pod_feed
from gateway_plugin.discovery.kubernetes.keys import Keys
from gateway_plugin.discovery.kubernetes.objects import decode_event
from gateway_plugin.discovery.kubernetes.pod_reader import PodReader
from routing.pods import PodTable
from routing.profiles import ProfileCache

if TYPE_CHECKING:
    from collections.abc import Callable

PODS = 5000
CLIENT_EVENTS = 200
REPEATS = 5


def pod(number: int, *, ready: bool = True) -> dict[str, Any]:
    """An engine's pod with what surrounds the few fields that matter."""
    ip = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
    env = [{"name": f"VARIABLE_{index}", "value": "some value " * 4} for index in range(60)]
    managed = [{"manager": "kubelet", "fieldsV1": {f"f:field{index}": {} for index in range(100)}}]
    return {
        "metadata": {
            "name": f"llama-{number}",
            "namespace": "default",
            "uid": f"uid-{number}",
            "resourceVersion": str(number + 1),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"model.aibrix.ai/name": f"llama-{number % 20}", "model.aibrix.ai/port": "8000"},
            "managedFields": managed,
        },
        "spec": {"containers": [{"name": "engine", "image": "vllm", "env": env}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def lines(*, ready: bool) -> list[bytes]:
    """One event a pod."""
    return [json.dumps({"type": "MODIFIED", "object": pod(number, ready=ready)}).encode() for number in range(PODS)]


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """The fastest run."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measures and prints."""
    book, pod_table = Book(), PodTable(time.monotonic)
    feed = pod_feed(PodReader(Keys(), ProfileCache()), book.pods, "")

    def read(events: list[bytes]) -> None:
        for line in events:
            found = feed.read(decode_event(line).object)
            feed.shelf.put("", found.uid, found.reading)

    def read_with_client(events: list[bytes]) -> None:
        for line in events:
            V1Pod.from_dict(json.loads(line)["object"])

    first, second = lines(ready=True), lines(ready=False)
    table = Table("what", "time", title=f"{PODS} pods of {len(first[0]) / 1000:.1f} KB")
    client_us = seconds(lambda: read_with_client(first[:CLIENT_EVENTS])) / CLIENT_EVENTS * 1e6
    table.add_row("an event", f"{seconds(lambda: read(first)) / PODS * 1e6:.0f} us")
    table.add_row("an event that makes a pod unready", f"{seconds(lambda: read(second)) / PODS * 1e6:.0f} us")
    table.add_row("an event, by the official client's models", f"{client_us:.0f} us")
    table.add_row("a state", f"{seconds(book.snapshot, REPEATS) * 1e3:.1f} ms")
    state = book.snapshot().state
    pod_table.apply(state)
    table.add_row("a state told to the pod table", f"{seconds(lambda: pod_table.apply(state), REPEATS) * 1e3:.1f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
