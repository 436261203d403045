"""HTTP to the API server: the official client's connection and credentials, without its models.

The client's own classes turn whole answers into Python objects, five times the work (`benchmarks.scale`); here
answers stay bytes.
Every call has a timeout. What goes wrong is either an answer (`ApiRefusedError`) or the lack of one
(`ApiUnreachableError`). A server whose certificate is of an unknown authority is asked once more with credentials that
are read anew: clusters rotate their authorities.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import msgspec
import yaml
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from kube.objects import WatchFailure, decode_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

CONNECT_SECONDS = 10.0
"""To connect to the API server."""
CALL_SECONDS = 30.0
"""For a page of a list, or a write."""

_MAX_RETRY_AFTER_SECONDS = 60.0
"""The API server may ask for so long a pause."""
_REOPEN_SECONDS = 60.0
"""Between two readings of credentials because of an unknown authority: calls with the older ones are over by then."""
_SHOWN_CHARACTERS = 200
"""Of the API server's words, in messages."""
_USER_AGENT = "gateway-plugin"
_MERGE_PATCH = "application/merge-patch+json"
_CALL = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)


class KubernetesError(Exception):
    """A call that failed."""


class CredentialsError(KubernetesError):
    """No cluster is configured, or not well."""


class ApiUnreachableError(KubernetesError):
    """No answer, or one that broke off."""


class ApiRefusedError(KubernetesError):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{code} {reason}: {message}"[:_SHOWN_CHARACTERS].rstrip(": "))
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class Api:
    """One connection pool. Call `connect` first."""

    def __init__(self, kubeconfig: Path | None = None, context: str = "", agent: str = "") -> None:
        self._kubeconfig = str(kubeconfig or os.environ.get("KUBECONFIG", ""))
        self._context = context
        self._agent = f"{_USER_AGENT}-{agent}" if agent else _USER_AGENT
        self._opened: ApiClient | None = None
        self._namespace = ""
        self._retired: ApiClient | None = None
        self._reopened_at_seconds = -math.inf
        self.calls: Counter[str] = Counter()
        """Calls that were begun, by verb."""

    async def connect(self) -> None:
        """Reads credentials: the file, else those of the pod this runs in, else the usual file; no call is made yet.

        Raises CredentialsError.
        """
        configuration = Configuration()
        in_cluster = not (self._kubeconfig or self._context) and os.environ.get("KUBERNETES_SERVICE_HOST")
        try:
            if in_cluster:
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    self._kubeconfig or None, self._context or None, client_configuration=configuration
                )
                self._namespace = _namespace_of(self._kubeconfig, self._context)
            # The caller knows better what to do again.
            configuration.retries = None
            opened = ApiClient(configuration)
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            where = self._kubeconfig or "this is no pod of Kubernetes, and there is no usable kubeconfig file"
            raise CredentialsError(f"no credentials ({where}): {' '.join(str(error).split())}") from None
        opened.user_agent = self._agent
        self._opened = opened

    @property
    def host(self) -> str:
        """Where the server is."""
        return str(self._client.configuration.host)

    @property
    def namespace(self) -> str:
        """Of the kubeconfig's context; empty when it names none, or there is no kubeconfig."""
        return self._namespace

    @property
    def _client(self) -> ApiClient:
        assert self._opened is not None, "connect first"
        return self._opened

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body of an answer."""
        async with self._open("GET", path, query, _CALL) as response:
            return await response.read()

    async def create(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Adds an object; it comes back as the server has completed it."""
        return await self._write("POST", path, body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> bytes:
        """A JSON merge patch; the object comes back."""
        return await self._write("PATCH", path, body)

    async def delete(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Removes an object; `body` are DeleteOptions."""
        return await self._write("DELETE", path, body)

    async def _write(self, method: str, path: str, body: Mapping[str, Any]) -> bytes:
        async with self._open(method, path, {}, _CALL, body) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], idle_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A body that goes on, in pieces as they come; silence for `idle_seconds` counts as unreachable."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds)
        async with self._open("GET", path, query, limits) as response:
            yield response.content.iter_any()

    async def close(self) -> None:
        """Closes all connections."""
        for client in (self._opened, self._retired):
            if client is not None:
                await client.close()  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        self.calls["watch" if query.get("watch") else method.lower()] += 1
        try:
            answer = await self._ask(method, path, query, limits, body)
            async with answer.response as response:
                await _check(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            raise ApiUnreachableError(f"{type(error).__name__} {error}".strip()[:_SHOWN_CHARACTERS]) from error

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None,
    ) -> Any:  # noqa: ANN401 - of the client
        try:
            return await self._call(method, path, query, limits, body)
        except aiohttp.ClientConnectorCertificateError:
            await self._reopen()
            return await self._call(method, path, query, limits, body)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None,
    ) -> Any:  # noqa: ANN401 - of the client
        content_type = _MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._client.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, auth_settings=["BearerToken"]
        )
        _, url, headers, _, _ = request
        return await self._client.call_api(method, url, header_params=headers, body=body, _request_timeout=limits)

    async def _reopen(self) -> None:
        """Reads credentials anew, at most once a minute: of calls that fail together one does it for all."""
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds - self._reopened_at_seconds < _REOPEN_SECONDS:
            return
        self._reopened_at_seconds = now_seconds
        old, outdated = self._client, self._retired
        try:
            await self.connect()
        except CredentialsError as error:
            raise ApiUnreachableError(str(error)) from error
        # Others may be connecting with it just now, and a client that is closed under them fails them badly.
        self._retired = old
        if outdated is not None:
            await outdated.close()  # type: ignore[no-untyped-call]


def _namespace_of(kubeconfig: str, context: str) -> str:
    contexts, active = config.list_kube_config_contexts(kubeconfig or None)  # type: ignore[no-untyped-call]
    named = next((item for item in contexts if item["name"] == context), active)
    return str((named.get("context") or {}).get("namespace") or "")


def collection_path(group_version: str, plural: str, namespace: str = "") -> str:
    """Where the objects of a kind are; an empty namespace means all."""
    root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
    return f"{root}/namespaces/{quote(namespace)}/{plural}" if namespace else f"{root}/{plural}"


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    data = await response.read()
    try:
        failure = decode_failure(data)
    except msgspec.DecodeError:
        failure = WatchFailure(reason=response.reason or "", message=data.decode(errors="replace"))
    raise ApiRefusedError(response.status, failure.reason, failure.message, _retry_after(response))


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdecimal() else 0.0
