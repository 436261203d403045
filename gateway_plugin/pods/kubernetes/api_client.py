"""HTTP to the API server: the official client's connection and credentials, without its models.

The client's own classes turn whole answers into Python objects, five times the work (`benchmarks.scale`); here
answers stay bytes.
Every call has a timeout. What goes wrong is either an answer (`ApiRefusedError`) or the lack of one
(`ApiUnreachableError`).
"""

from __future__ import annotations

import logging
import os
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

from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.kubernetes.pod_objects import WatchFailure, decode_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
"""For a page of a list, or a write."""

_MAX_RETRY_AFTER_SECONDS = 60.0
_SHOWN_CHARACTERS = 200
_HEADERS = {"Accept": "application/json"}
_CALL = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)


class KubernetesError(Exception):
    """A call that failed."""


class ApiUnreachableError(KubernetesError):
    """No answer, or one that broke off."""


class ApiRefusedError(KubernetesError):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{code} {reason}: {message}"[:_SHOWN_CHARACTERS].rstrip(": "))
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Api:
    """One connection pool. Call `connect` first."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._opened: ApiClient | None = None

    async def connect(self) -> None:
        """Reads credentials: the file, else those of the pod this runs in, else the usual file; no call is made yet."""
        configuration = Configuration()
        try:
            if self._kubeconfig is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                path = self._kubeconfig and str(self._kubeconfig)
                await config.load_kube_config(path, client_configuration=configuration)  # type: ignore[no-untyped-call]
            self._opened = ApiClient(configuration)
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            where = self._kubeconfig or "this is no pod of Kubernetes, and there is no usable kubeconfig file"
            raise DiscoveryError(f"discovery = 'kubernetes': no credentials ({where}): {error}") from None
        self._opened.user_agent = "gateway-plugin"
        logger.info("discovery through the API server at %s", configuration.host)

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body of an answer."""
        async with self._open("GET", path, query, _CALL) as response:
            return await response.read()

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        """Adds an object."""
        async with self._open("POST", path, {}, _CALL, body) as response:
            await response.read()

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
        if self._opened is not None:
            await self._opened.close()  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._opened is not None, "connect first"
        try:
            request = await self._opened.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params=dict(_HEADERS),
                auth_settings=["BearerToken"],
            )
            _, url, headers, _, _ = request
            answer = await self._opened.call_api(method, url, header_params=headers, body=body, _request_timeout=limits)
            async with answer.response as response:
                await _check(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            raise ApiUnreachableError(f"{type(error).__name__} {error}".strip()[:_SHOWN_CHARACTERS]) from error


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
