"""Tells people of findings: one log line and one Kubernetes Event each, when they appear, and when they are over.

Events live for an hour in a cluster, so a finding that stays is posted again after that. The name of an Event follows
from the finding: after a restart the same Event is renewed, and `kubectl describe` shows no duplicates.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import BY_NAME, EVENT
from gateway_plugin.controller.ownership import MANAGER
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.workloads import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from gateway_plugin.controller.findings import Finding

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 3600.0
"""The same event again only after an hour, as long as Kubernetes keeps events."""
_MAX_EVENTS_A_ROUND = 50
"""More would be a flood; the metrics count all."""
_MAX_NAME = 200
"""An event's name is the object's and a suffix, 253 in all."""
_MAX_MESSAGE = 1000
"""The API server takes 1,024 characters."""


class RouteAnnouncer:
    """Remembers what was said; holds no more than the findings of now."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._said: dict[Finding, datetime] = {}
        self._posted: dict[Finding, datetime] = {}

    async def announce(self, findings: Iterable[Finding], uid_of: Callable[[Ref], str]) -> None:
        """Speaks of what is new, what is over, and what has lasted."""
        present = dict.fromkeys(findings)
        for finding in present:
            if finding not in self._said:
                logger.warning("%s: %s", finding.code, finding)
                self._said[finding] = self._now()
        for finding in [finding for finding in self._said if finding not in present]:
            logger.info("%s of %s is over", finding.code, finding.about)
            del self._said[finding]
            self._posted.pop(finding, None)
        due = [finding for finding in present if self._is_due(finding)]
        for finding in due[:_MAX_EVENTS_A_ROUND]:
            self._posted[finding] = self._now()
            await self._post(finding, uid_of(finding.about))

    def _is_due(self, finding: Finding) -> bool:
        posted = self._posted.get(finding)
        return posted is None or (self._now() - posted).total_seconds() >= REPEAT_SECONDS

    async def _post(self, finding: Finding, uid: str) -> None:
        body = event(finding, uid, self._now())
        namespace = body["metadata"]["namespace"]
        try:
            await self._client.create(EVENT, namespace, body)
        except KubeError as error:
            if error.is_race:
                await self._renew(Ref(EVENT.name, namespace, body["metadata"]["name"]), body)
            else:
                logger.debug("no Event for %s: %s", finding.about, error)

    async def _renew(self, ref: Ref, body: dict[str, Any]) -> None:
        try:
            await self._client.patch(ref, {"lastTimestamp": body["lastTimestamp"]})
        except KubeError as error:
            logger.debug("Event %s is not renewed: %s", ref, error)


def event(finding: Finding, uid: str, now: datetime) -> dict[str, Any]:
    """The Event of a finding."""
    about, time = finding.about, now.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(f"{finding}{finding.code}{uid}".encode()).hexdigest()[:16]
    involved = {"apiVersion": BY_NAME[about.kind].api_version, "kind": about.kind, "name": about.name}
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": f"{about.name[:_MAX_NAME].rstrip('.-')}.{digest}", "namespace": about.namespace},
        "involvedObject": {**involved, "namespace": about.namespace, **({"uid": uid} if uid else {})},
        "type": "Warning",
        "reason": finding.code,
        "message": f"{finding.message}; {finding.fix}"[:_MAX_MESSAGE],
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": "controller",
    }
