"""What a kubelet and an administrator ask of the API server, over `kube.api`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from kube.api import Api, ApiRefusedError, collection_path
from tests.real_kubernetes.toolchain import BIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Json = dict[str, Any]

_TIMEOUT_SECONDS = 180


class Objects:
    """With the rights of an administrator. `kubectl` and `helm` are run where they do more than a call."""

    def __init__(self, kubeconfig: Path, authority: Path) -> None:
        self.api = Api(kubeconfig, agent="test")
        self.kubeconfig, self.authority = kubeconfig, authority

    async def find(self, version: str, plural: str, namespace: str, name: str) -> Json | None:
        """An object, or None."""
        try:
            return decoded(await self.api.get(f"{collection_path(version, plural, namespace)}/{name}", {}))
        except ApiRefusedError as error:
            if error.code != 404:
                raise
            return None

    async def list(self, version: str, plural: str, namespace: str = "", selector: str = "") -> list[Json]:
        """All of them, or those of a namespace."""
        query = {"labelSelector": selector} if selector else {}
        page = decoded(await self.api.get(collection_path(version, plural, namespace), query))
        return list(page.get("items") or [])

    async def create(self, version: str, plural: str, namespace: str, body: Mapping[str, Any]) -> Json:
        """Adds an object."""
        return decoded(await self.api.create(collection_path(version, plural, namespace), body))

    async def patch(self, version: str, plural: str, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """A merge patch."""
        return decoded(await self.api.patch(f"{collection_path(version, plural, namespace)}/{name}", body))

    async def delete(self, version: str, plural: str, namespace: str, name: str, **options: object) -> None:
        """Removes one; that it is gone already is as well."""
        try:
            await self.api.delete(f"{collection_path(version, plural, namespace)}/{name}", options)
        except ApiRefusedError as error:
            if error.code not in (404, 409):
                raise

    async def bind(self, namespace: str, name: str, node: str) -> None:
        """A scheduler's word; it may have been said before, and not been answered."""
        body = {"metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        path = f"{collection_path('v1', 'pods', namespace)}/{name}/binding"
        try:
            await self.api.create(path, {"apiVersion": "v1", "kind": "Binding", **body})
        except ApiRefusedError as error:
            if error.code != 409:
                raise

    async def patch_status(self, namespace: str, name: str, uid: str, status: Json) -> bool:
        """Of a pod; False when it is gone."""
        try:
            await self.patch("v1", "pods", namespace, f"{name}/status", {"metadata": {"uid": uid}, "status": status})
        except ApiRefusedError as error:
            if error.code not in (404, 409):
                raise
            return False
        return True

    async def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """The kubelet's last word about a pod."""
        await self.delete("v1", "pods", namespace, name, gracePeriodSeconds=0, preconditions={"uid": uid})

    async def evict(self, namespace: str, name: str) -> bool:
        """Through disruption budgets; False when one forbids it now."""
        path = f"{collection_path('v1', 'pods', namespace)}/{name}/eviction"
        metadata = {"name": name, "namespace": namespace}
        try:
            await self.api.create(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
        except ApiRefusedError as error:
            if error.code == 404:
                return True
            if error.code != 429:
                raise
            return False
        return True

    async def token(self, namespace: str, account: str) -> str:
        """Of a service account."""
        path = f"{collection_path('v1', 'serviceaccounts', namespace)}/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        return str(decoded(await self.api.create(path, body))["status"]["token"])

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What it prints."""
        return await output("kubectl", "--kubeconfig", str(self.kubeconfig), *arguments, stdin=stdin)

    async def helm(self, *arguments: str) -> str:
        """What it prints."""
        return await output(str(BIN / "helm"), "--kubeconfig", str(self.kubeconfig), *arguments)

    async def apply(self, *documents: Mapping[str, Any]) -> None:
        """`kubectl apply`, as people do it."""
        await self.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(documents)
        )


async def output(*command: str, stdin: str = "") -> str:
    """Runs a program; raises with its words when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    told, errors = await asyncio.wait_for(process.communicate(stdin.encode()), _TIMEOUT_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {errors.decode().strip()[-2000:]}")
    return told.decode()


async def eventually(holds: Callable[[], Any], what: str, timeout_seconds: float = 60.0) -> float:
    """Waits until something holds, and says how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return loop.time() - began
        if loop.time() - began > timeout_seconds:
            raise TimeoutError(f"not within {timeout_seconds:.0f} s: {what}")
        await asyncio.sleep(0.1)


def decoded(data: bytes) -> Json:
    """JSON to a dict."""
    found: Json = msgspec.json.decode(data)
    return found
