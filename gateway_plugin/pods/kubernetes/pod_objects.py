"""The few fields of Kubernetes objects that discovery reads, and their decoding.

A pod is some 10 KB of JSON and changes often; msgspec skips what is not named here, which is what makes thousands of
events cheap. `null` stands for "absent" in many places. Objects of a list or a stream stay `Raw` at first, so that one
that cannot be read costs nobody else anything.
"""

from __future__ import annotations

import msgspec

from kube.objects import Metadata  # noqa: TC001 - msgspec reads it at run time


class Variable(msgspec.Struct):
    """A variable of a container's environment; its value may come from elsewhere."""

    name: str = ""
    value: str | None = None


class Container(msgspec.Struct):
    """One container."""

    env: list[Variable] | None = None


class PodPart(msgspec.Struct):
    """`spec` of a pod."""

    containers: list[Container] | None = None


class PodCondition(msgspec.Struct):
    """One condition; `status` is "True", "False" or "Unknown"."""

    type: str = ""
    status: str = ""


class PodIp(msgspec.Struct):
    """One of a pod's addresses."""

    ip: str = ""


class PodStatus(msgspec.Struct):
    """`pod_ip` is the first of `pod_ips`, the cluster's primary family."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[PodIp] | None = msgspec.field(default=None, name="podIPs")
    conditions: list[PodCondition] | None = None


class Pod(msgspec.Struct):
    """A v1 Pod."""

    metadata: Metadata
    spec: PodPart = msgspec.field(default_factory=PodPart)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class AdapterPart(msgspec.Struct, rename="camel"):
    """`spec` of a ModelAdapter."""

    base_model: str | None = None
    artifact_url: str | None = msgspec.field(default=None, name="artifactURL")


class AdapterStatus(msgspec.Struct):
    """`instances` are names of pods in the adapter's namespace."""

    instances: list[str] | None = None


class ModelAdapter(msgspec.Struct):
    """A model.aibrix.ai/v1alpha1 ModelAdapter."""

    metadata: Metadata
    spec: AdapterPart | None = None
    status: AdapterStatus | None = None


decode_pod = msgspec.json.Decoder(Pod).decode
decode_adapter = msgspec.json.Decoder(ModelAdapter).decode
