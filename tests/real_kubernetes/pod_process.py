"""One pod of the node: its network, its volumes, its containers' processes, its probes, its end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kube.api import ApiUnreachableError, KubernetesError
from tests.real_kubernetes import probes
from tests.real_kubernetes.containers import command_of
from tests.real_kubernetes.namespaces import HOST, add_pod_network, remove_pod_network

if TYPE_CHECKING:
    from tests.real_kubernetes.kubectl import Objects

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
_PROBE_SECONDS = 0.3
_RESTART_SECONDS = 1.0


class PodProcess:
    """Runs until `end`."""

    def __init__(self, pod: Json, address: str, objects: Objects, directory: Path, *, idle: bool = False) -> None:
        self.pod, self.address = pod, address
        self.metadata: Json = pod["metadata"]
        self.name = str(self.metadata["name"])
        self.namespace = str(self.metadata["namespace"])
        self.uid = str(self.metadata["uid"])
        self._objects, self._idle = objects, idle
        self._network = self.uid.replace("-", "")[:9]
        self._directory = directory / f"{self.namespace}.{self.name}.{self._network}"
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._restarts: dict[str, int] = {}
        self._ready: dict[str, bool] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.is_ending = False
        self._told: object = None

    @property
    def network(self) -> str:
        """The name of its network namespace."""
        return self._network

    def is_a(self, component: str) -> bool:
        """Whether it is a pod of the chart, of this component."""
        labels = self.metadata.get("labels") or {}
        return labels.get("app.kubernetes.io/name") == "gateway-plugin" and (
            labels.get("app.kubernetes.io/component") == component
        )

    def process_id(self, container: str) -> int:
        """Of a container's program."""
        return self._processes[container].pid

    @property
    def log_directory(self) -> Path:
        """Where its containers' output is."""
        return self._directory

    async def start(self) -> None:
        """Network, volumes, containers; then follows them. After a KubernetesError it may be tried again."""
        if self._idle:
            await self._tell()
            if self._told is None and not self.is_ending:
                raise ApiUnreachableError("its status is not told yet")
            return
        if not self._directory.exists():
            self._directory.mkdir(parents=True)
            await add_pod_network(self._network, self.address)
        await self._make_volumes()
        await self._tell()
        for container in self.pod["spec"]["containers"]:
            self._tasks.append(asyncio.create_task(self._run(container)))
            self._tasks.append(asyncio.create_task(self._probe(container)))

    async def end(self, grace_seconds: float) -> None:
        """preStop, SIGTERM, SIGKILL when the time is up; then the pod's object goes."""
        self.is_ending = True
        deadline = asyncio.get_running_loop().time() + grace_seconds
        if not self._idle:
            await asyncio.gather(*(self._stop(item, deadline) for item in self.pod["spec"]["containers"]))
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await remove_pod_network(self._network)
        await self._objects.delete_pod(self.namespace, self.name, self.uid)

    async def abandon(self) -> None:
        """Ends it without telling anybody."""
        self.is_ending = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.kill()

    def kill(self) -> None:
        """At once, without a word to anybody."""
        for process in self._processes.values():
            _signal(process, signal.SIGKILL)

    async def _stop(self, container: Json, deadline: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pre_stop(container), deadline - asyncio.get_running_loop().time())
        process = self._processes.get(container["name"])
        if process is None or process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), max(0.1, deadline - asyncio.get_running_loop().time()))
        except TimeoutError:
            _signal(process, signal.SIGKILL)

    async def _pre_stop(self, container: Json) -> None:
        hook = (container.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"]["seconds"]))
        elif "httpGet" in hook:
            await probes.http(self.address, hook["httpGet"], container, timeout_seconds=600)
        elif "exec" in hook:
            env = await self._environment(container)
            stand_in = command_of({**container, "command": hook["exec"]["command"], "args": []}, env, self._directory)
            if stand_in.argv:
                process = await self._spawn(container["name"], stand_in.argv, stand_in.env)
                await process.wait()

    async def _run(self, container: Json) -> None:
        name = container["name"]
        while True:
            try:
                environment = await self._environment(container)
            except KubernetesError as error:
                logger.info("%s waits for its Secrets: %s", self.name, error)
                await asyncio.sleep(_RESTART_SECONDS)
                continue
            command = command_of(container, environment, self._directory)
            if not command.argv:
                return
            process = self._processes[name] = await self._spawn(name, command.argv, command.env)
            await process.wait()
            self._ready[name] = False
            if self.is_ending:
                return
            if self.pod["spec"].get("restartPolicy") == "Never":
                await self._tell(phase="Failed" if process.returncode else "Succeeded")
                return
            self._restarts[name] = self._restarts.get(name, 0) + 1
            await self._tell()
            await asyncio.sleep(_RESTART_SECONDS * min(self._restarts[name], 10))

    async def _spawn(self, name: str, argv: tuple[str, ...], env: Any) -> asyncio.subprocess.Process:
        account = self._directory / "account"
        mount = f'mount --bind "{account}" {_ACCOUNT} && exec "$@"' if account.exists() else 'exec "$@"'
        command = ["nsenter", f"--net=/run/netns/{self._network}", "unshare", "--mount", "sh", "-c", mount, "sh", *argv]
        with (self._directory / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command, env=dict(env), stdout=log, stderr=log, cwd=self._directory, start_new_session=True
            )

    async def _probe(self, container: Json) -> None:
        name = container["name"]
        startup, readiness = container.get("startupProbe"), container.get("readinessProbe")
        is_started = startup is None
        while startup is not None and not is_started:
            is_started = await probes.passes(startup, container, self.address)
            await asyncio.sleep(_PROBE_SECONDS)
        while not self.is_ending:
            process = self._processes.get(name)
            alive = process is None or process.returncode is None
            self._ready[name] = alive and (not readiness or await probes.passes(readiness, container, self.address))
            await self._tell()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _environment(self, container: Json) -> dict[str, str]:
        env = {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": "6443"}
        for item in container.get("env") or []:
            value = await self._value(item)
            if value is not None:
                env[item["name"]] = value
        return env

    async def _value(self, item: Json) -> str | None:
        source = item.get("valueFrom") or {}
        if "fieldRef" in source:
            return str(self._field(source["fieldRef"]["fieldPath"]))
        if "secretKeyRef" in source:
            wanted = source["secretKeyRef"]
            secret = await self._objects.find("v1", "secrets", self.namespace, wanted["name"])
            data = ((secret or {}).get("data") or {}).get(wanted["key"])
            return base64.b64decode(data).decode() if data is not None else None
        return str(item.get("value", ""))

    def _field(self, path: str) -> object:
        known = {"status.podIP": self.address, "status.hostIP": HOST, "spec.nodeName": self.pod["spec"].get("nodeName")}
        if path in known:
            return known[path]
        value: Any = self.pod
        for part in path.partition("[")[0].split("."):
            value = value.get(part) or {}
        return value if "[" not in path else value.get(path.partition("['")[2].removesuffix("']"), "")

    async def _make_volumes(self) -> None:
        if self.pod["spec"].get("automountServiceAccountToken", True):
            await self._make_account()
        for volume in self.pod["spec"].get("volumes") or []:
            place = self._directory / volume["name"]
            # A claim outlives its pods.
            if "persistentVolumeClaim" in volume:
                claim = (
                    self._directory.parent / f"claim.{self.namespace}.{volume['persistentVolumeClaim']['claimName']}"
                )
                claim.mkdir(exist_ok=True)
                if not place.is_symlink():
                    place.symlink_to(claim)
                continue
            place.mkdir(exist_ok=True)
            await self._fill(volume, place)

    async def _fill(self, volume: Json, place: Path) -> None:
        if "secret" in volume:
            found = await self._objects.find("v1", "secrets", self.namespace, volume["secret"]["secretName"])
            for key, data in ((found or {}).get("data") or {}).items():
                (place / key).write_bytes(base64.b64decode(data))
        elif "configMap" in volume:
            source = volume["configMap"]
            found = await self._objects.find("v1", "configmaps", self.namespace, source["name"])
            paths = {item["key"]: item["path"] for item in source.get("items") or []}
            for key, text in ((found or {}).get("data") or {}).items():
                # Envoy's own files name its certificates by the container's paths.
                where = place / paths.get(key, key)
                where.write_text(text.replace("/certs/", f"{self._directory / 'certs'}/"))

    async def _make_account(self) -> None:
        account = self._directory / "account"
        account.mkdir(exist_ok=True)
        name = self.pod["spec"].get("serviceAccountName", "default")
        (account / "token").write_text(await self._objects.token(self.namespace, name))
        (account / "namespace").write_text(self.namespace)
        (account / "ca.crt").write_bytes(self._objects.authority.read_bytes())

    async def renew_account(self) -> None:
        """What a kubelet does when the cluster's authority changes."""
        account = self._directory / "account"
        if account.exists():
            (account / "ca.crt").write_bytes(self._objects.authority.read_bytes())

    async def _tell(self, phase: str = "Running") -> None:
        """Writes the status, if it is news."""
        containers = self.pod["spec"]["containers"]
        ready = {item["name"]: self._idle or self._ready.get(item["name"], False) for item in containers}
        all_ready = all(ready.values()) and phase == "Running"
        news = (phase, tuple(ready.items()), tuple(self._restarts.items()))
        if news == self._told:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"status": "True", "lastTransitionTime": now}
        state = {"True": "True", "False": "False"}[str(all_ready)]
        status = {
            "phase": phase,
            "hostIP": HOST,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": now,
            "conditions": [
                {"type": "PodScheduled", **condition},
                {"type": "Initialized", **condition},
                {"type": "ContainersReady", **condition, "status": state},
                {"type": "Ready", **condition, "status": state},
            ],
            "containerStatuses": [_container_status(item, ready, self._restarts, now) for item in containers],
        }
        try:
            if await self._objects.patch_status(self.namespace, self.name, self.uid, status):
                self._told = news
        except KubernetesError as error:
            # A kubelet tells it again; the next probe does.
            logger.info("the status of %s is not told: %s", self.name, error)


def _container_status(item: Json, ready: Json, restarts: dict[str, int], now: str) -> Json:
    name = item["name"]
    return {
        "name": name,
        "image": item.get("image", ""),
        "imageID": item.get("image", ""),
        "containerID": f"test://{name}",
        "ready": ready[name],
        "started": True,
        "restartCount": restarts.get(name, 0),
        "state": {"running": {"startedAt": now}},
    }


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
