"""Keeps a Lease, and says whether this process may write: the shell around `lease_rules.py`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import LEASE
from gateway_plugin.controller.lease_rules import RENEW_SECONDS, LeaseHolder
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.workloads import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gateway_plugin.controller.kinds import ObjectKind
    from gateway_plugin.controller.workloads import Raw

logger = logging.getLogger(__name__)

_CALL_SECONDS = 5.0
"""Below the time for which a renewal is good: one call that hangs must not be the end of it."""


class LeaderElection:
    """One Lease, one candidate."""

    def __init__(
        self, client: KubeClient, namespace: str, name: str, identity: str, *, now: Callable[[], datetime]
    ) -> None:
        self._client, self._now = client, now
        self._ref = Ref(LEASE.name, namespace, name)
        self._holder = LeaseHolder(identity)
        self._said = False

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._holder.may_write(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Until it is cancelled; then gives the Lease back, so that the next one begins at once."""
        try:
            while True:
                await self._turn()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            await self._release()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._take()
        except (KubeError, TimeoutError) as error:
            logger.debug("lease %s: %s", self._ref, str(error) or "no answer")
        if self.leads != self._said:
            self._said = self.leads
            logger.info("this controller %s", "leads" if self._said else "does not lead any more")

    async def _take(self) -> None:
        started = asyncio.get_running_loop().time()
        try:
            lease = await self._client.get(self._ref)
        except KubeError as error:
            if not error.is_not_found:
                raise
            await self._client.create(LEASE, self._ref.namespace, self._body({}, ""))
            self._holder.taken(started)
            return
        spec = lease.get("spec") or {}
        if not self._holder.may_take(spec, started):
            self._holder.lost()
            return
        version = str((lease.get("metadata") or {}).get("resourceVersion", ""))
        # With the version that was read: of two that take it at once, one gets a conflict.
        await self._client.patch(self._ref, self._body(spec, version))
        self._holder.taken(started)

    def _body(self, spec: dict[str, Any], version: str) -> dict[str, Any]:
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": metadata | ({"resourceVersion": version} if version else {}),
        }
        return body | {"spec": self._holder.wanted(spec, self._now())}

    async def _release(self) -> None:
        if not self.leads:
            return
        self._holder.lost()
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                lease = await self._client.get(self._ref)
                version = str((lease.get("metadata") or {}).get("resourceVersion", ""))
                spec = self._holder.released(lease.get("spec") or {}, self._now())
                await self._client.patch(self._ref, {"metadata": {"resourceVersion": version}, "spec": spec})
        except (KubeError, TimeoutError) as error:
            logger.debug("lease %s is not given back: %s", self._ref, str(error) or "no answer")


class LeadersClient(KubeClient):
    """Writes only while this process leads: a look that began as the leader may end after it."""

    def __init__(self, client: KubeClient, election: LeaderElection) -> None:
        super().__init__(client.api)
        self._election = election

    async def create(self, kind: ObjectKind, namespace: str, body: Mapping[str, Any]) -> Raw:
        self._check()
        return await super().create(kind, namespace, body)

    async def patch(self, ref: Ref, body: Mapping[str, Any]) -> Raw:
        self._check()
        return await super().patch(ref, body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> Raw:
        self._check()
        return await super().merge(path, body)

    async def delete(self, ref: Ref, uid: str, resource_version: str) -> None:
        self._check()
        await super().delete(ref, uid, resource_version)

    def _check(self) -> None:
        if not self._election.leads:
            raise KubeError(0, "this controller does not lead any more")
