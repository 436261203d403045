"""Watches: one line of JSON an event, until the time is up, the client leaves or a test interferes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.fake_kubernetes.errors import ApiError
from tests.fake_kubernetes.listing import shown
from tests.fake_kubernetes.paths import flag, number
from tests.fake_kubernetes.selectors import selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_kubernetes.cluster import Cluster
    from tests.fake_kubernetes.faults import Faults
    from tests.fake_kubernetes.paths import Target

_DEFAULT_SECONDS = 1800


class Cut(Exception):  # noqa: N818 - not an error of anybody
    """The test takes the connection away."""


class Watch:
    """One open watch. Events after `cursor` are still to be sent."""

    def __init__(self, cluster: Cluster, faults: Faults, target: Target, query: Mapping[str, str]) -> None:
        self.target = target
        self._cluster = cluster
        self._faults = faults
        self._matches = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        self._bookmarks = flag(query, "allowWatchBookmarks")
        self._streams_list = flag(query, "sendInitialEvents")
        self._seconds = number(query, "timeoutSeconds") or _DEFAULT_SECONDS
        self._since = number(query, "resourceVersion")
        self._wake = asyncio.Event()
        self._cursor = 0
        self._sent = 0
        self._wants_bookmark = False
        self._ending = ""
        self._request: web.Request | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Sends events until the end."""
        history = self._cluster.history
        if self._since and self._since < history.oldest and self._faults.gone_as_status:
            history.since(self.target.resource, self._since)
        self._request = request
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        history.listeners.add(self._wake)
        try:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(self._seconds):
                    await self._send_all(response)
        except Cut:
            self.abort()
        finally:
            history.listeners.discard(self._wake)
        return response

    def abort(self) -> None:
        """Takes the connection away in the middle of whatever is being sent."""
        self._end("closed")
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()

    def close(self) -> None:
        """Ends the stream in order, as a server does when the time is up."""
        self._end("closed")

    def expire(self) -> None:
        """Ends the stream with 410 Gone."""
        self._end("expired")

    def bookmark(self) -> None:
        """Tells the current version, if the client cares."""
        self._wants_bookmark = self._bookmarks
        self._wake.set()

    @property
    def is_open(self) -> bool:
        """Whether more may be sent."""
        return not self._ending

    def _end(self, how: str) -> None:
        self._ending = how
        self._wake.set()

    async def _send_all(self, response: web.StreamResponse) -> None:
        retired = self._cluster.history.retired[self.target.resource]
        await self._send_initial(response)
        while self._ending != "closed":
            try:
                await self._send_new(response)
            except ApiError as error:
                await self._send(response, "ERROR", error.status())
                return
            if self._cluster.history.retired[self.target.resource] != retired:
                return
            await self._wake.wait()
            self._wake.clear()

    async def _send_initial(self, response: web.StreamResponse) -> None:
        """Without a version, a watch begins with everything there is."""
        self._cursor = self._since
        if self._since:
            return
        self._cursor = self._cluster.history.version
        for body in self._cluster.list(self.target.resource, self.target.namespace):
            if self._matches(body):
                await self._send(response, "ADDED", shown(body, self.target))
        if self._streams_list:
            await self._send_bookmark(response, {"k8s.io/initial-events-end": "true"})

    async def _send_new(self, response: web.StreamResponse) -> None:
        if self._faults.mute_watches:
            return
        history = self._cluster.history
        if self._ending == "expired":
            raise ApiError(410, "Expired", "too old resource version: on demand")
        for change in history.since(self.target.resource, self._cursor):
            kind = change.seen_by(self.target.namespace, self._matches)
            if kind:
                await self._send(response, kind, shown(change.body, self.target))
            self._cursor = change.version
        if self._wants_bookmark:
            self._wants_bookmark = False
            self._cursor = history.version
            await self._send_bookmark(response, {})

    async def _send_bookmark(self, response: web.StreamResponse, annotations: dict[str, str]) -> None:
        metadata: dict[str, Any] = {"resourceVersion": str(self._cursor), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self.target.resource
        body = {"kind": resource.kind, "apiVersion": resource.api_version(self.target.version), "metadata": metadata}
        await self._send(response, "BOOKMARK", body)

    async def _send(self, response: web.StreamResponse, kind: str, body: Mapping[str, Any]) -> None:
        if self._faults.watch_delay_seconds:
            await asyncio.sleep(self._faults.watch_delay_seconds)
        line = msgspec.json.encode({"type": kind, "object": body}) + b"\n"
        if self._faults.cut_after_events and self._sent >= self._faults.cut_after_events:
            await response.write(line[: len(line) // 2])
            # Time for the half line to leave; an abort throws away what is not sent.
            await asyncio.sleep(0.01)
            raise Cut
        await response.write(line)
        self._sent += 1
