"""etcd, kube-apiserver and kube-controller-manager on the bridge's address."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import aiohttp
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway_plugin.tools.chain.processes import Process
from tests.real_kubernetes.namespaces import HOST
from tests.real_kubernetes.toolchain import BIN

API_PORT = 6443
ADMIN_TOKEN = "admin-of-a-test"
_ETCD = f"http://{HOST}:2379"
# What needs a cloud, or nodes that report themselves.
_CONTROLLERS = "*,-node-lifecycle-controller,-node-ipam-controller,-node-route-controller,-service-lb-controller"


class ControlPlane:
    """Files of all of it are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self.authority = trustme.CA()
        self._parts: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{HOST}:{API_PORT}"

    async def start(self) -> None:
        """Everything, from nothing."""
        self._write_credentials()
        await self.start_etcd()
        await self.start_api()
        await self.start_controllers()

    async def stop(self) -> None:
        """In the other order."""
        for name in ("controllers", "api", "etcd"):
            await self.stop_part(name)

    async def start_etcd(self) -> None:
        """With what its directory holds."""
        data = self.directory / "etcd"
        argv = [str(BIN / "etcd"), "--name=one", f"--data-dir={data}", "--unsafe-no-fsync", "--log-level=error"]
        argv += [f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"]
        peers = f"http://{HOST}:2380"
        argv += [
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=one={peers}",
        ]
        await self._start("etcd", argv)
        await self._parts["etcd"].wait_ready(f"{_ETCD}/health", 60)

    async def start_api(self) -> None:
        """Returns when it is ready."""
        where = self.directory
        argv = [
            str(BIN / "kube-apiserver"),
            f"--etcd-servers={_ETCD}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={where / 'api.pem'}",
            f"--tls-private-key-file={where / 'api.key'}",
            f"--token-auth-file={where / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={where / 'accounts.key'}",
            f"--service-account-signing-key-file={where / 'accounts.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--profiling=false",
            f"--cert-dir={where / 'made'}",
        ]
        await self._start("api", argv)
        await self.api_ready()

    async def api_ready(self, timeout_seconds: float = 120.0) -> None:
        """Waits for it."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while not await self._answers():
            if asyncio.get_running_loop().time() > deadline or not self._parts["api"].running:
                raise RuntimeError(f"the API server is not ready:\n{self._parts['api'].log_tail()}")
            await asyncio.sleep(0.2)

    async def start_controllers(self) -> None:
        """kube-controller-manager."""
        argv = [
            str(BIN / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.directory / 'accounts.key'}",
            f"--root-ca-file={self.directory / 'ca.pem'}",
            f"--controllers={_CONTROLLERS}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--cert-dir={self.directory / 'made'}",
        ]
        await self._start("controllers", argv)

    async def stop_part(self, name: str) -> None:
        """`etcd`, `api` or `controllers`."""
        part = self._parts.pop(name, None)
        if part is not None:
            await part.stop()

    async def back_up_etcd(self) -> Path:
        """A cold copy, as of now."""
        await self.stop_part("etcd")
        copy = self.directory / "etcd.backup"
        shutil.copytree(self.directory / "etcd", copy)
        await self.start_etcd()
        return copy

    async def restore_etcd(self, copy: Path) -> None:
        """API server and etcd are away meanwhile; resource versions jump back."""
        for name in ("controllers", "api", "etcd"):
            await self.stop_part(name)
        shutil.rmtree(self.directory / "etcd")
        shutil.copytree(copy, self.directory / "etcd")
        await self.start_etcd()
        await self.start_api()
        await self.start_controllers()

    def new_authority(self) -> None:
        """Certificates of another authority, as after its rotation; the next start of the API server takes them."""
        self.authority = trustme.CA()
        self._write_certificates()

    async def _start(self, name: str, argv: list[str]) -> None:
        self._parts[name] = await Process.start(name, argv, self.directory, {})

    async def _answers(self) -> bool:
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=3)) as session,
                session.get(f"{self.url}/readyz", ssl=context) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _write_credentials(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / "accounts.key").write_bytes(pem)
        (self.directory / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')
        self._write_certificates()

    def _write_certificates(self) -> None:
        leaf = self.authority.issue_cert(HOST, "127.0.0.1", "kubernetes.default.svc")
        leaf.private_key_pem.write_to_path(str(self.directory / "api.key"))
        (self.directory / "api.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        self.kubeconfig.write_text(kubeconfig(self.url, self.directory / "ca.pem", ADMIN_TOKEN))


def kubeconfig(url: str, authority: Path, token: str, namespace: str = "default") -> str:
    """For a bearer of a token."""
    return str(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            }
        )
    )
