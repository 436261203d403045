"""A pod of Kubernetes to what it serves, and where.

- Models: the label `name`, and the annotation `name` for names that no label can hold; a pod with both serves both.
- Ready: it has an address, is not being deleted, and its condition Ready is true. Ended pods (phase Succeeded, Failed)
  have no address, whatever their status still says: the cluster gives it to others.
- Data-parallel ranks (label `data-parallel-size`, else the environment variable of that name in a container) serve at
  consecutive ports, and show their metrics at consecutive ports; each is a pod of its own for routing.
- Ray workers and the followers of multi-node groups take no requests.

A mistake in a label is a complaint; what can be served in spite of it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway_plugin.pods.addresses import DEFAULT_PORT, MAX_PORT, canonical_ip, join_host_port
from gateway_plugin.pods.endpoints_file import DEFAULT_ENGINE
from gateway_plugin.pods.kubernetes.complaints import Complaint, ComplaintReason, ObjectRef
from gateway_plugin.pods.kubernetes.label_keys import DATA_PARALLEL_VARIABLE, POD_GROUP_INDEX, RAY_NODE_TYPE, LabelKeys
from gateway_plugin.pods.kubernetes.pod_readings import PodReading
from routing.profiles import ProfileCache, ProfileError
from routing.spec import PodSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.pods.kubernetes.pod_objects import Pod
    from kube.objects import Metadata
    from routing.profiles import ModelConfig

IpFamily = Literal["primary", "ipv4", "ipv6"]

MAX_RANKS = 64
"""Of data parallelism in one pod."""

_ENDED = ("Succeeded", "Failed")
_NO_REQUESTS = "it gets no requests"


class PodReader:
    """`profiles` parses configurations, which many pods share."""

    def __init__(self, keys: LabelKeys, profiles: ProfileCache, ip_family: IpFamily = "primary") -> None:
        self._keys = keys
        self._profiles = profiles
        self._ip_family = ip_family

    def read(self, pod: Pod) -> PodReading | None:
        """None for a pod that has nothing to do with models."""
        labels, annotations = pod.metadata.labels or {}, pod.metadata.annotations or {}
        name = self._keys.name
        if (name not in labels and name not in annotations) or _is_follower(labels):
            return None
        return _Draft(pod, self._keys, labels, annotations).finish(self._profiles, self._ip_family)


def ref_of(metadata: Metadata, kind: str, api_version: str) -> ObjectRef:
    """The object that the metadata belong to."""
    return ObjectRef(kind, api_version, metadata.namespace, metadata.name, metadata.uid)


class _Draft:
    """A pod while it is read: complaints gather here."""

    def __init__(self, pod: Pod, keys: LabelKeys, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        self.pod = pod
        self.keys = keys
        self.labels = labels
        self.annotations = annotations
        self.ref = ref_of(pod.metadata, "Pod", "v1")
        self.complaints: list[Complaint] = []

    def finish(self, profiles: ProfileCache, family: IpFamily) -> PodReading:
        models = self._models()
        config = self._config(profiles)
        return PodReading(
            ref=self.ref,
            created_at=self.pod.metadata.creation_timestamp or "",
            specs=self._specs(models, family) if models else (),
            models=models,
            config=config,
            terminating=self.pod.metadata.deletion_timestamp is not None,
            complaints=tuple(self.complaints),
        )

    def _models(self) -> tuple[str, ...]:
        key = self.keys.name
        said = [(kind, place[key].strip()) for kind, place in self._places() if key in place]
        for kind, name in said:
            if not name:
                others = "it is ignored" if any(other for _, other in said) else _NO_REQUESTS
                self._complain(
                    ComplaintReason.EMPTY_MODEL_NAME, f"{kind} {key} is empty; allowed: the model's name; {others}"
                )
        return tuple(dict.fromkeys(name for _, name in said if name))

    def _places(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        return ("label", self.labels), ("annotation", self.annotations)

    def _specs(self, models: tuple[str, ...], family: IpFamily) -> tuple[PodSpec, ...]:
        port = self._port(self.keys.port, DEFAULT_PORT, ComplaintReason.BAD_PORT, _NO_REQUESTS)
        if port is None:
            return ()
        metric_port = self._port(
            self.keys.metric_port, port, ComplaintReason.BAD_METRIC_PORT, f"its metrics are read from port {port}"
        )
        ranks = self._ranks(port)
        host = _host(self.pod, family)
        if not host:
            return ()
        ready, name = self._is_ready(), self.ref.name
        engine = self.labels.get(self.keys.engine) or self.annotations.get(self.keys.engine) or DEFAULT_ENGINE
        return tuple(
            PodSpec(
                name=name if ranks == 1 else f"{name}-rank-{rank}",
                address=join_host_port(host, port + rank),
                models=models,
                uid=self.pod.metadata.uid,
                engine=engine,
                metrics_address=join_host_port(host, min((metric_port or port) + rank, MAX_PORT)),
                labels=self.labels,
                ready=ready,
            )
            for rank in range(ranks)
        )

    def _port(self, key: str, default: int, reason: ComplaintReason, consequence: str) -> int | None:
        text = self.labels.get(key)
        if text is None:
            return default
        number = _whole(text, MAX_PORT)
        if number is None:
            self._complain(reason, f"label {key} is {text!r}; allowed: a port from 1 to {MAX_PORT}; {consequence}")
        return number

    def _ranks(self, port: int) -> int:
        key, text = self.keys.data_parallel_size, self.labels.get(self.keys.data_parallel_size)
        if text is None:
            key, text = f"variable {DATA_PARALLEL_VARIABLE}", _variable(self.pod, DATA_PARALLEL_VARIABLE)
        if text is None:
            return 1
        most = min(MAX_RANKS, MAX_PORT - port + 1)
        ranks = _whole(text, most)
        if ranks is None:
            allowed = f"allowed: a number of ranks from 1 to {most}; only port {port} gets requests"
            self._complain(ComplaintReason.BAD_DATA_PARALLEL_SIZE, f"{key} is {text[:80]!r}; {allowed}")
        return ranks or 1

    def _is_ready(self) -> bool:
        if self.pod.metadata.deletion_timestamp is not None or self.annotations.get(self.keys.draining) == "true":
            return False
        return any(one.type == "Ready" and one.status == "True" for one in self.pod.status.conditions or ())

    def _config(self, profiles: ProfileCache) -> ModelConfig | None:
        config, complaint = read_config(self.ref, self.keys, self.annotations, profiles)
        if complaint is not None:
            self.complaints.append(complaint)
        return config

    def _complain(self, reason: ComplaintReason, text: str) -> None:
        self.complaints.append(Complaint(self.ref, reason, text))


def read_config(
    ref: ObjectRef, keys: LabelKeys, annotations: Mapping[str, str], profiles: ProfileCache
) -> tuple[ModelConfig | None, Complaint | None]:
    """The profiles in an object's annotations, or what is wrong with them."""
    text = annotations.get(keys.config, "")
    if not text.strip():
        return None, None
    try:
        return profiles.get(text), None
    except ProfileError as error:
        text = f"annotation {keys.config}: {error}; it is ignored"
        return None, Complaint(ref, ComplaintReason.BAD_CONFIG, text)


def _is_follower(labels: Mapping[str, str]) -> bool:
    return labels.get(RAY_NODE_TYPE) == "worker" or labels.get(POD_GROUP_INDEX, "0") != "0"


def _host(pod: Pod, family: IpFamily) -> str:
    if pod.status.phase in _ENDED:
        return ""
    hosts = [canonical_ip(entry.ip) for entry in pod.status.pod_ips or () if entry.ip]
    if not hosts and pod.status.pod_ip:
        hosts = [canonical_ip(pod.status.pod_ip)]
    if family != "primary":
        hosts = [host for host in hosts if (":" in host) is (family == "ipv6")]
    return hosts[0] if hosts else ""


def _variable(pod: Pod, name: str) -> str | None:
    values = (one.value for container in pod.spec.containers or () for one in container.env or () if one.name == name)
    return next((value for value in values if value), None)


def _whole(text: str, most: int) -> int | None:
    """Plain digits only; `int` takes "+1", "1_0" and foreign digits, too."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PORT))):
        return None
    number = int(text)
    return number if 1 <= number <= most else None
