"""Complaints as Kubernetes Events on the objects they are about, where `kubectl describe` shows them.

Best effort: a few a second, a short queue, and no second try. The name of an Event follows from what it says, so that
of several replicas that see the same mistake only the first one's Event is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xxhash import xxh64_hexdigest

from kube.api import ApiRefusedError, KubernetesError, collection_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.pods.kubernetes.complaints import Complaint
    from kube.api import Api

logger = logging.getLogger(__name__)

COMPONENT = "gateway-plugin"
QUEUE_EVENTS = 200
INTERVAL_SECONDS = 0.2
"""Between two events: five a second at most."""

# Kubernetes takes 253 and 1024.
_NAME_CHARACTERS = 200
_MESSAGE_CHARACTERS = 1000
"""The API server takes 1,024."""


def _now() -> datetime:
    return datetime.now(UTC)


class EventWriter:
    """`outcomes`: written, known (another replica was faster), refused, unreachable, dropped (too many at once)."""

    def __init__(self, api: Api, replica: str, wall_clock: Callable[[], datetime] = _now) -> None:
        self.outcomes: Counter[str] = Counter()
        self._api = api
        self._replica = replica
        self._wall_clock = wall_clock
        self._queue: deque[Complaint] = deque()
        self._wake = asyncio.Event()

    def post(self, complaint: Complaint) -> None:
        """Queues it, or drops it."""
        if len(self._queue) >= QUEUE_EVENTS:
            self.outcomes["dropped"] += 1
            return
        self._queue.append(complaint)
        self._wake.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._write(self._queue.popleft())
                await asyncio.sleep(INTERVAL_SECONDS)

    async def _write(self, complaint: Complaint) -> None:
        path = collection_path("v1", "events", complaint.about.namespace)
        try:
            await self._api.create(path, event_body(complaint, self._replica, self._wall_clock()))
            outcome = "written"
        except ApiRefusedError as error:
            outcome = "known" if error.code == 409 else "refused"
            if outcome == "refused" and not self.outcomes["refused"]:
                logger.info("Kubernetes Events cannot be written, complaints are in this log only: %s", error)
        except KubernetesError:
            outcome = "unreachable"
        self.outcomes[outcome] += 1


def event_body(complaint: Complaint, replica: str, at: datetime) -> dict[str, Any]:
    """A v1 Event."""
    about, time_text = complaint.about, at.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = xxh64_hexdigest(f"{about.uid}\0{complaint.reason.value}\0{complaint.text}".encode())
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about.name[:_NAME_CHARACTERS].rstrip('-.')}.{digest}",
            "namespace": about.namespace,
        },
        "involvedObject": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "type": "Warning",
        "reason": complaint.reason.event,
        "message": complaint.text[:_MESSAGE_CHARACTERS],
        "count": 1,
        "firstTimestamp": time_text,
        "lastTimestamp": time_text,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": replica,
    }
