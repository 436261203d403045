"""A cluster with Envoy Gateway in it, and the chart installed as `helm install` does it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gateway_plugin.tools.chain.processes import Process
from tests.real_kubernetes.control_plane import ControlPlane
from tests.real_kubernetes.kubectl import Objects, eventually
from tests.real_kubernetes.namespaces import HOST
from tests.real_kubernetes.node import Node
from tests.real_kubernetes.toolchain import BIN, ENVOY_GATEWAY, ROOT, module_directory

if TYPE_CHECKING:
    from tests.real_kubernetes.pod_process import PodProcess

Json = dict[str, Any]

CHART = ROOT / "deploy/helm/gateway-plugin"
SAMPLES = ROOT / "deploy/envoy/gateway/samples"
SYSTEM = "gateway-plugin-system"
RELEASE = "gateway-plugin"
ENVOYS = "envoy-gateway-system"

_CONFIGURATION = {
    "apiVersion": "gateway.envoyproxy.io/v1alpha1",
    "kind": "EnvoyGateway",
    "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    "logging": {"level": {"default": "info"}},
    # No lease: without the API server it would stop, and wait for a kubelet to start it again.
    "provider": {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}},
    "extensionApis": {"enableLua": True},
}


class TestCluster:
    """Everything, and the handles by which flows interfere."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plane = ControlPlane(directory)
        self.objects = Objects(self.plane.kubeconfig, directory / "ca.pem")
        self.node = Node(self.objects, directory, Path("/run/hosts"))
        self._envoy_gateway: Process | None = None
        self._node_task: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """From nothing to an Envoy Gateway that waits for Gateways."""
        await self.plane.start()
        await self.objects.api.connect()
        self._node_task = asyncio.create_task(self.node.run())
        await self.install_definitions()
        await self.objects.kubectl("create", "namespace", ENVOYS)
        self._certify()
        await self.start_envoy_gateway()

    async def stop(self) -> None:
        """Ends every process."""
        if self._node_task is not None:
            self._node_task.cancel()
            await asyncio.gather(self._node_task, return_exceptions=True)
        await self.node.stop()
        await self.stop_envoy_gateway()
        await self.objects.api.close()
        await self.plane.stop()

    async def install_definitions(self) -> None:
        """The CRDs of Envoy Gateway's own chart."""
        await self.objects.kubectl(
            "apply", "--server-side", "-f", str(definitions()), "-f", str(definitions() / "generated")
        )
        await self.objects.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    async def start_envoy_gateway(self) -> None:
        """Its controller, as a process on the node; started again when it ends, as it does without its lease."""
        await self._start_envoy_gateway()
        self._keeper = asyncio.create_task(self._keep_envoy_gateway())

    async def _keep_envoy_gateway(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self._envoy_gateway is not None and not self._envoy_gateway.running:
                await self._start_envoy_gateway()

    async def _start_envoy_gateway(self) -> None:
        path = self.directory / "envoy-gateway.yaml"
        path.write_text(yaml.safe_dump(_CONFIGURATION))
        argv = [str(BIN / "envoy-gateway"), "server", "--config-path", str(path)]
        self._envoy_gateway = await Process.start("envoy-gateway", argv, self.directory, self._environment())

    async def stop_envoy_gateway(self) -> None:
        """Its Envoys go on."""
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        if self._envoy_gateway is not None:
            await self._envoy_gateway.stop()
            self._envoy_gateway = None

    async def install(self, release: str = RELEASE, namespace: str = SYSTEM, *values: str, chart: Path = CHART) -> None:
        """`kubectl create namespace`, the Secret, `helm install`; docs/kubernetes.md, steps 3 and 4."""
        await self.objects.kubectl("create", "namespace", namespace)
        secrets = ["--from-literal=redis-password=of-a-test", "--from-literal=admin-token=of-a-test"]
        await self.objects.kubectl("create", "secret", "generic", RELEASE, "-n", namespace, *secrets)
        await self.helm("install", release, namespace, *values, chart=chart)

    async def helm(self, verb: str, release: str, namespace: str, *values: str, chart: Path = CHART) -> str:
        """`helm install` or `upgrade`, with values as `--set` takes them."""
        arguments = [word for value in values for word in ("--set", value)]
        return await self.objects.helm(verb, release, str(chart), "-n", namespace, *arguments)

    async def ready(self, namespace: str = SYSTEM, release: str = RELEASE, timeout_seconds: float = 120.0) -> float:
        """Waits for plugin, controller, Envoys and the Gateway; seconds."""

        async def holds() -> bool:
            deployments = [
                *await self.objects.list("apps/v1", "deployments", namespace),
                *await self.objects.list(
                    "apps/v1", "deployments", ENVOYS, f"gateway.envoyproxy.io/owning-gateway-namespace={namespace}"
                ),
            ]
            gateway = await self.objects.find("gateway.networking.k8s.io/v1", "gateways", namespace, release)
            return len(deployments) >= 2 and all(map(_is_rolled_out, deployments)) and _is_programmed(gateway or {})

        return await eventually(holds, f"{release} in {namespace} is ready", timeout_seconds)

    async def url(self, namespace: str = SYSTEM) -> str:
        """Of the Gateway's NodePort."""
        selector = f"gateway.envoyproxy.io/owning-gateway-namespace={namespace}"
        (service,) = await self.objects.list("v1", "services", ENVOYS, selector)
        return f"http://{HOST}:{service['spec']['ports'][0]['nodePort']}"

    def plugins(self, component: str = "plugin", namespace: str = SYSTEM) -> list[PodProcess]:
        """Pods of the chart."""
        found = self.node.of({"app.kubernetes.io/name": "gateway-plugin", "app.kubernetes.io/component": component})
        return [pod for pod in found if pod.namespace == namespace]

    def _certify(self) -> None:
        """What the hook of Envoy Gateway's chart does."""
        command = [str(BIN / "envoy-gateway"), "certgen", "--disable-topology-injector"]
        subprocess.run(command, env=self._environment(), check=True)
        for key in ("ca.crt", "tls.crt", "tls.key"):
            jsonpath = f"jsonpath={{.data.{key.replace('.', chr(92) + '.')}}}"
            command = [
                "kubectl",
                "--kubeconfig",
                str(self.plane.kubeconfig),
                "get",
                "secret",
                "envoy-gateway",
                "-n",
                ENVOYS,
            ]
            text = subprocess.run([*command, "-o", jsonpath], check=True, capture_output=True, text=True).stdout
            decoded = subprocess.run(["base64", "-d"], input=text.encode(), check=True, capture_output=True).stdout
            (Path("/certs") / key).write_bytes(decoded)

    def _environment(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.plane.kubeconfig),
            "ENVOY_GATEWAY_NAMESPACE": ENVOYS,
            "KUBERNETES_CLUSTER_DOMAIN": "cluster.local",
            "HOME": str(self.directory),
            "PATH": "/usr/bin:/bin",
        }


def definitions() -> Path:
    """Envoy Gateway's and the Gateway API's."""
    return module_directory("github.com/envoyproxy/gateway", ENVOY_GATEWAY) / "charts/gateway-helm/charts/crds/crds"


def _is_rolled_out(deployment: Json) -> bool:
    wanted, status = deployment["spec"]["replicas"], deployment.get("status") or {}
    is_seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0), status.get("replicas", 0))
    return is_seen and counts == (wanted,) * 3


def _is_programmed(gateway: Json) -> bool:
    conditions = (gateway.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Programmed" and item["status"] == "True" for item in conditions)
