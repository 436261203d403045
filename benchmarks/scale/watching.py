"""What a Kubernetes cluster that changes all the time costs the gateway.

Pods are 7 KB of JSON, as engines' are. "an event" is a line of a watch, from bytes to the shelf of readings; the same
through the official client's models shows why they are not used. "a state" is what follows from all pods, and telling
it to the pod table; it happens once for many events. Single core, no network.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import V1Pod

from gateway_plugin.pods.kubernetes.book import Book
from gateway_plugin.pods.kubernetes.feeds import pod_feed
from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
from gateway_plugin.pods.kubernetes.pod_reader import PodReader
from kube.objects import decode_event
from routing.pods.pod_table import PodTable
from routing.profiles import ProfileCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PODS = 5000


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


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """Each call is one of what its name says."""
    book, pod_table = Book(), PodTable(time.monotonic)
    feed = pod_feed(PodReader(LabelKeys(), ProfileCache()), book.pods, "")

    def read(line: bytes) -> None:
        found = feed.read(decode_event(line).object)
        feed.shelf.put("", found.uid, found.reading)

    first, second = lines(ready=True), lines(ready=False)
    for line in first:
        read(line)
    events = itertools.cycle([*second, *first])
    yield "an event of a watch", lambda: read(next(events))
    yield "an event, by the official client's models", lambda: V1Pod.from_dict(json.loads(next(events))["object"])
    state = book.snapshot().state
    yield f"a state of {PODS} pods", book.snapshot
    yield f"a state of {PODS} pods told to the pod table", lambda: pod_table.apply(state)
