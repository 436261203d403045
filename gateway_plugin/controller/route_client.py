"""The Kubernetes API as paths and JSON: list, create, patch, delete. The official asyncio client does the rest.

That client's generated classes know only the built-in kinds, so its lower half is used: credentials, TLS, proxies.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kubernetes.aio.client import ApiClient, Configuration

    from gateway_plugin.controller.kinds import ObjectKind
    from gateway_plugin.controller.workloads import Raw, Ref

_TIMEOUT_SECONDS = 30.0
_PAGE_OBJECTS = 500
_MERGE_PATCH = "application/merge-patch+json"
_CONFLICT = 409
_NOT_FOUND = 404
_GONE = 410
_MAX_WORDS = 500


class KubeError(Exception):
    """An answer that is not a success, or none at all (`code` 0)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_race(self) -> bool:
        """Someone else was faster: AlreadyExists, or another version."""
        return self.code == _CONFLICT

    @property
    def is_not_found(self) -> bool:
        """No such object, namespace or kind."""
        return self.code == _NOT_FOUND


class KubeClient:
    """One connection pool to one cluster."""

    def __init__(self, api: ApiClient, configuration: Configuration, credential_error: type[Exception]) -> None:
        self._api = api
        self._failures = (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError, credential_error)
        self.configuration = configuration
        """Address and credentials, for other clients of the same cluster."""

    async def list(self, kind: ObjectKind, namespace: str = "", selector: str = "") -> list[Raw]:
        """All objects of a kind, or those of a namespace; page by page."""
        items: list[Raw] = []
        token = ""
        while True:
            query = {"limit": str(_PAGE_OBJECTS), "continue": token, "labelSelector": selector}
            try:
                page = await self._call("GET", kind.path(namespace), {key: query[key] for key in query if query[key]})
            except KubeError as error:
                if error.code != _GONE or not token:
                    raise
                items, token = [], ""  # the list grew too old between two pages
                continue
            items += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    async def get(self, ref: Ref) -> Raw:
        """One object."""
        return await self._call("GET", ref.path)

    async def create(self, kind: ObjectKind, namespace: str, body: Mapping[str, Any]) -> Raw:
        """A new object, as the server has completed it."""
        return await self._call("POST", kind.path(namespace), body=body)

    async def patch(self, ref: Ref, body: Mapping[str, Any]) -> Raw:
        """A JSON merge patch."""
        return await self._call("PATCH", ref.path, body=body)

    async def delete(self, ref: Ref, uid: str, resource_version: str) -> None:
        """Only the very object in the very version that was seen."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        await self._call("DELETE", ref.path, body={"preconditions": preconditions})

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = _MERGE_PATCH
        try:
            prepared = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*prepared, _request_timeout=_TIMEOUT_SECONDS)
            data = await response.read()  # type: ignore[no-untyped-call] # of the client
        except self._failures as error:
            raise KubeError(0, f"{method} {path}: {str(error) or type(error).__name__}") from None
        if not 200 <= response.status < 300:
            raise KubeError(response.status, _words(data) or f"{method} {path}: HTTP {response.status}")
        try:
            decoded = json.loads(data) if data else {}
        except ValueError:
            raise KubeError(0, f"{method} {path}: the answer is not JSON") from None
        return decoded if isinstance(decoded, dict) else {}


def _words(data: bytes) -> str:
    try:
        return str(json.loads(data).get("message", ""))[:_MAX_WORDS]
    except (ValueError, AttributeError):
        return ""


@asynccontextmanager
async def connected(kubeconfig: Path | None = None, context: str = "") -> AsyncIterator[KubeClient]:
    """From a kubeconfig that is named here or by $KUBECONFIG, else as the pod's account, else from ~/.kube/config."""
    from kubernetes.aio import client, config  # noqa: PLC0415 - large

    configuration = client.Configuration()
    try:
        await _load(configuration, str(kubeconfig or os.environ.get("KUBECONFIG", "")), context)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError) as error:
        raise KubeError(0, f"no cluster is configured: {' '.join(str(error).split())}") from None
    # The caller knows better what to do again.
    configuration.retries = None
    async with client.ApiClient(configuration) as api:
        yield KubeClient(api, configuration, config.ConfigException)


async def _load(configuration: Configuration, kubeconfig: str, context: str) -> None:
    from kubernetes.aio import config  # noqa: PLC0415 - large

    if not kubeconfig and not context:
        with suppress(config.ConfigException):
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            return
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        kubeconfig or None, context or None, client_configuration=configuration
    )
