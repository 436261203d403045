"""The HTTP side: requests to calls of the cluster, and the handles by which tests interfere."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.fake_kubernetes import documents
from tests.fake_kubernetes.access import Access
from tests.fake_kubernetes.cluster import Cluster
from tests.fake_kubernetes.errors import ApiError, bad_request
from tests.fake_kubernetes.faults import Faults
from tests.fake_kubernetes.listing import Lists, shown
from tests.fake_kubernetes.paths import Target, flag, parse_target
from tests.fake_kubernetes.watching import Watch
from tests.fake_kubernetes.writes import check_versioned

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_MAX_REMEMBERED = 10_000


class FakeServer:
    """`requests` are the last ones, as "verb resource" ("list pods", "patch httproutes")."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.faults = Faults()
        self.access = Access()
        self.requests: deque[str] = deque(maxlen=_MAX_REMEMBERED)
        self.url = ""
        self.token = "a-token-of-a-test"
        self._lists = Lists(cluster)
        self._watches: set[Watch] = set()
        self.runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """For any aiohttp runner."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    def kubeconfig(self, directory: Path) -> Path:
        """Writes a kubeconfig file for this server."""
        path = directory / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "test", "namespace": "default"}}],
            "current-context": "fake",
        }
        path.write_text(json.dumps(config))
        return path

    async def go_away(self) -> None:
        """Every connection is lost, and nobody listens any more."""
        assert self.runner is not None
        self.abort_watches()
        for site in list(self.runner.sites):
            await site.stop()
        for connection in list((self.runner.server and self.runner.server.connections) or ()):
            if connection.transport is not None:
                connection.transport.abort()

    async def come_back(self) -> None:
        """At the same address."""
        assert self.runner is not None
        port = int(self.url.rpartition(":")[2])
        await web.TCPSite(self.runner, "127.0.0.1", port, reuse_address=True).start()

    def watches(self, plural: str = "") -> list[Watch]:
        """The open ones, of one kind or of all."""
        return [watch for watch in self._watches if watch.is_open and plural in ("", watch.target.resource.plural)]

    def abort_watches(self, plural: str = "") -> None:
        """Connections are lost."""
        for watch in self.watches(plural):
            watch.abort()

    def close_watches(self, plural: str = "") -> None:
        """Streams end in order."""
        for watch in self.watches(plural):
            watch.close()

    def expire_watches(self, plural: str = "") -> None:
        """Streams end with 410 Gone."""
        for watch in self.watches(plural):
            watch.expire()

    def send_bookmarks(self, plural: str = "") -> None:
        """Watchers that allow it are told the current version."""
        for watch in self.watches(plural):
            watch.bookmark()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request)
            document = self._document(request.path)
            return _json(document) if document is not None else await self._serve(request)
        except ApiError as error:
            return _json(error.status(), error.code)

    def _authenticate(self, request: web.Request) -> None:
        if request.headers.get("Authorization", "").partition(" ")[2] != self.token:
            raise ApiError(401, "Unauthorized", "Unauthorized")

    def _document(self, path: str) -> dict[str, Any] | None:
        resources = list(self.cluster.resources.values())
        groups = {resource.group for resource in resources}
        match path.strip("/").split("/"):
            case ["version"]:
                return dict(documents.VERSION)
            case ["api"]:
                return documents.core_versions()
            case ["apis"]:
                return documents.group_list(resources)
            case ["api", version]:
                return documents.resource_list("", version, resources)
            case ["apis", group] if group in groups:
                return documents.group(group, resources)
            case ["apis", group, version] if group in groups:
                return documents.resource_list(group, version, resources)
            case ["api", _, _, *_] | ["apis", _, _, _, *_]:
                return None
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        target = parse_target(request.path, self.cluster.resources)
        verb = _verb(request, target)
        plural = "/".join(part for part in (target.resource.plural, target.subresource) if part)
        self.requests.append(f"{verb} {plural}")
        self.faults.check(verb, target.resource.plural)
        self.access.check(verb, target.resource.group, plural, target.namespace, target.name)
        if verb == "watch":
            return await self._watch(request, target)
        if verb == "list":
            await asyncio.sleep(self.faults.list_delay_seconds)
            return _json(self._lists.page(target, request.query))
        if verb == "get":
            namespace = target.namespace if target.resource.namespaced else ""
            return _json(shown(self.cluster.read(target.resource, (namespace, target.name)), target))
        return await self._write(request, target, verb)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        watch = Watch(self.cluster, self.faults, target, request.query)
        self._watches.add(watch)
        try:
            return await watch.serve(request)
        finally:
            self._watches.discard(watch)

    async def _write(self, request: web.Request, target: Target, verb: str) -> web.Response:
        data = await request.read()
        try:
            body = msgspec.json.decode(data) if data else {}
        except msgspec.DecodeError as error:
            raise bad_request(f"not JSON: {error}") from None
        if verb != "patch" and not isinstance(body, dict):
            raise bad_request("not an object")
        written = self._written(request, target, verb, body)
        return _json(shown(written, target), 201 if verb == "create" else 200)

    def _written(self, request: web.Request, target: Target, verb: str, body: Any) -> dict[str, Any]:
        plural, name, namespace = target.resource.plural, target.name, target.namespace
        dry_run = "dryRun" in request.query
        if verb == "create":
            return self.cluster.create(plural, body, namespace, strict=True, dry_run=dry_run)
        if verb == "delete":
            options = {**body, "propagationPolicy": request.query.get("propagationPolicy", "")} | body
            return self.cluster.delete(plural, name, namespace, options=options, dry_run=dry_run)
        how: dict[str, Any] = {"subresource": target.subresource, "strict": True, "dry_run": dry_run}
        if verb == "patch":
            return self.cluster.patch(plural, name, body, namespace, content_type=request.content_type, **how)
        check_versioned(target.resource, body)
        if (body.get("metadata") or {}).get("name") != name:
            raise bad_request("the name of the object does not match the name on the URL")
        return self.cluster.update(plural, body, namespace, **how)


def _verb(request: web.Request, target: Target) -> str:
    if request.method == "GET":
        if target.name:
            return "get"
        return "watch" if flag(request.query, "watch") else "list"
    verb = _VERBS.get(request.method, "")
    if not verb or bool(target.name) is (verb == "create"):
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    if verb == "create" and target.resource.namespaced and not target.namespace:
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    return verb


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


@asynccontextmanager
async def running(cluster: Cluster | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeServer]:
    """A server on a free port of loopback."""
    server = FakeServer(cluster or Cluster())
    runner = web.AppRunner(server.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    server.runner = runner
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.close_watches()
        await runner.cleanup()
