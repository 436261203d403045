"""The few fields of Kubernetes objects that discovery reads, and their decoding.

A pod is some 10 KB of JSON and changes often; msgspec skips what is not named here, which is what makes thousands of
events cheap. `null` stands for "absent" in many places. Objects of a list or a stream stay `Raw` at first, so that one
that cannot be read costs nobody else anything.
"""

from __future__ import annotations

import msgspec


class Metadata(msgspec.Struct, rename="camel"):
    """`creation_timestamp` sorts as text. A `deletion_timestamp` means that the object is going."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


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


class AnyObject(msgspec.Struct):
    """What every object has."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class ListMetadata(msgspec.Struct, rename="camel"):
    """`continue_` is empty on the last page."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListPage(msgspec.Struct):
    """One page of a list. Go writes an empty list as null."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and an object (for ERROR a Status)."""

    type: str
    object: msgspec.Raw


class WatchFailure(msgspec.Struct):
    """A Status that says what went wrong."""

    code: int = 0
    reason: str = ""
    message: str = ""


decode_pod = msgspec.json.Decoder(Pod).decode
decode_adapter = msgspec.json.Decoder(ModelAdapter).decode
decode_any = msgspec.json.Decoder(AnyObject).decode
decode_page = msgspec.json.Decoder(ListPage).decode
decode_event = msgspec.json.Decoder(WatchEvent).decode
decode_failure = msgspec.json.Decoder(WatchFailure).decode
