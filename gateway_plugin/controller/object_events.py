"""Kubernetes Events about an object: each sentence once in a while, however often it is true."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from cachetools import TTLCache

from gateway_plugin.controller.kinds import EVENT
from gateway_plugin.controller.ownership import MANAGER
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.workloads import ref_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gateway_plugin.controller.kinds import ObjectKind
    from gateway_plugin.controller.workloads import Raw

logger = logging.getLogger(__name__)

QUIET_SECONDS = 300.0
"""The same sentence about the same object is not said again within this time."""
_MOST_REMEMBERED = 10_000
"""Sentences: some MB, and more than a cluster's objects say in five minutes."""
_MAX_NAME = 200
"""Of an object's name in its Event's, with room for the digest below Kubernetes' 253."""
_MAX_MESSAGE = 1000
"""Kubernetes takes 1,024."""


class ObjectEvents:
    """Posts events; one that cannot be posted stops nothing."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._client, self._now = client, now
        self._said: TTLCache[tuple[str, str, str], bool] = TTLCache(_MOST_REMEMBERED, QUIET_SECONDS, clock)

    async def tell(self, raw: Raw, kind: ObjectKind, reason: str, message: str, *, warning: bool = False) -> None:
        metadata = raw.get("metadata") or {}
        said = (str(metadata.get("uid", "")), reason, message)
        if said in self._said:
            return
        self._said[said] = True
        body = self._event(raw, kind, reason, message[:_MAX_MESSAGE], "Warning" if warning else "Normal")
        try:
            await self._client.create(EVENT, body["metadata"]["namespace"], body)
        except KubeError as error:
            logger.debug("no Event for %s: %s", ref_of(kind, raw), error)

    def _event(self, raw: Raw, kind: ObjectKind, reason: str, message: str, type_: str) -> dict[str, Any]:
        ref, moment = ref_of(kind, raw), self._now()
        time = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        uid = str((raw.get("metadata") or {}).get("uid", ""))
        digest = hashlib.sha256(f"{reason}{message}{uid}{moment.timestamp()}".encode()).hexdigest()[:16]
        involved = {"apiVersion": kind.api_version, "kind": kind.name, "namespace": ref.namespace, "name": ref.name}
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{ref.name[:_MAX_NAME].rstrip('.-')}.{digest}", "namespace": ref.namespace},
            "involvedObject": involved | ({"uid": uid} if uid else {}),
            "type": type_,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "reportingInstance": "controller",
        }
