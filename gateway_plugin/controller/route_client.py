"""The Kubernetes API as kinds, names and JSON: list, create, patch, delete, with one kind of error."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from kube.api import Api, ApiRefusedError, CredentialsError, KubernetesError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from pathlib import Path

    from gateway_plugin.controller.kinds import ObjectKind
    from gateway_plugin.controller.workloads import Raw, Ref

_PAGE_OBJECTS = 500
"""Per list call: a page is read at once."""
_CONFLICT = 409
_NOT_FOUND = 404
_GONE = 410


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
    """Objects of one cluster."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def list(self, kind: ObjectKind, namespace: str = "", selector: str = "") -> list[Raw]:
        """All objects of a kind, or those of a namespace; page by page."""
        items: list[Raw] = []
        token = ""
        while True:
            query = {"limit": str(_PAGE_OBJECTS), "continue": token, "labelSelector": selector}
            path = kind.path(namespace)
            try:
                page = await _answer(path, self.api.get(path, {key: query[key] for key in query if query[key]}))
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
        return await _answer(ref.path, self.api.get(ref.path, {}))

    async def read(self, path: str) -> Raw:
        """What is at a path, such as a workload's `/scale`."""
        return await _answer(path, self.api.get(path, {}))

    async def merge(self, path: str, body: Mapping[str, Any]) -> Raw:
        """A JSON merge patch of what is at a path, such as a `/status`."""
        return await _answer(path, self.api.patch(path, body))

    async def create(self, kind: ObjectKind, namespace: str, body: Mapping[str, Any]) -> Raw:
        """A new object, as the server has completed it."""
        path = kind.path(namespace)
        return await _answer(path, self.api.create(path, body))

    async def patch(self, ref: Ref, body: Mapping[str, Any]) -> Raw:
        """A JSON merge patch."""
        return await _answer(ref.path, self.api.patch(ref.path, body))

    async def delete(self, ref: Ref, uid: str, resource_version: str) -> None:
        """Only the very object in the very version that was seen."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        await _answer(ref.path, self.api.delete(ref.path, {"preconditions": preconditions}))


async def _answer(path: str, call: Awaitable[bytes]) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(await call)
    except ApiRefusedError as error:
        raise KubeError(error.code, error.message or f"{path}: HTTP {error.code}") from None
    except KubernetesError as error:
        raise KubeError(0, f"{path}: {error}") from None
    except msgspec.DecodeError:
        raise KubeError(0, f"{path}: the answer is not JSON") from None
    return decoded if isinstance(decoded, dict) else {}


@asynccontextmanager
async def connected(kubeconfig: Path | None = None, context: str = "", agent: str = "") -> AsyncIterator[KubeClient]:
    """From a kubeconfig that is named here or by $KUBECONFIG, else as the pod's account, else from ~/.kube/config."""
    api = Api(kubeconfig, context, agent)
    try:
        await api.connect()
    except CredentialsError as error:
        raise KubeError(0, f"no cluster is configured: {error}") from None
    try:
        yield KubeClient(api)
    finally:
        await api.close()
