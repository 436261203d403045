"""The two kinds of objects that discovery follows: where they are, and how one of them is read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.pods.kubernetes.adapter_reader import ADAPTER_GROUP_VERSION, read_adapter
from gateway_plugin.pods.kubernetes.complaints import Complaint, ComplaintReason
from gateway_plugin.pods.kubernetes.pod_objects import decode_adapter, decode_pod
from gateway_plugin.pods.kubernetes.pod_reader import PodReader, ref_of
from gateway_plugin.pods.kubernetes.pod_readings import AdapterReading, PodReading
from kube.feed import Feed, Found
from kube.objects import AnyObject, Metadata, decode_any

if TYPE_CHECKING:
    from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
    from kube.shelf import Shelf
    from routing.profiles import ProfileCache

logger = logging.getLogger(__name__)

_OURS = "app.kubernetes.io/managed-by=gateway-plugin"


def pod_feed(reader: PodReader, shelf: Shelf[PodReading], selector: str) -> Feed[PodReading]:
    """Pods of the core group."""

    def read(raw: msgspec.Raw) -> Found[PodReading]:
        try:
            pod = decode_pod(raw)
            return Found(pod.metadata.uid, pod.metadata.resource_version, reader.read(pod))
        except ValueError as error:
            metadata = _metadata(raw)
            ref = ref_of(metadata, "Pod", "v1")
            complaint = Complaint(ref, ComplaintReason.UNREADABLE, f"it cannot be read ({error}); it gets no requests")
            return Found(metadata.uid, metadata.resource_version, PodReading(ref, "", complaints=(complaint,)))

    return Feed("v1", "pods", selector, shelf, read)


def adapter_feed(keys: LabelKeys, profiles: ProfileCache, shelf: Shelf[AdapterReading]) -> Feed[AdapterReading]:
    """AIBrix's ModelAdapters."""

    def read(raw: msgspec.Raw) -> Found[AdapterReading]:
        try:
            adapter = decode_adapter(raw)
            reading = read_adapter(adapter, keys, profiles)
            return Found(adapter.metadata.uid, adapter.metadata.resource_version, reading)
        except ValueError as error:
            metadata = _metadata(raw)
            ref = ref_of(metadata, "ModelAdapter", ADAPTER_GROUP_VERSION)
            complaint = Complaint(ref, ComplaintReason.UNREADABLE, f"it cannot be read ({error}); no pod serves it")
            return Found(metadata.uid, metadata.resource_version, AdapterReading(ref, "", complaints=(complaint,)))

    return Feed(ADAPTER_GROUP_VERSION, "modeladapters", "", shelf, read, optional=True)


def route_feed(keys: LabelKeys, shelf: Shelf[str]) -> Feed[str]:
    """HTTPRoutes that the controller made, each with its model's name in an annotation."""

    def read(raw: msgspec.Raw) -> Found[str]:
        metadata = _metadata(raw)
        model = (metadata.annotations or {}).get(keys.name, "").strip()
        return Found(metadata.uid, metadata.resource_version, model or None)

    return Feed("gateway.networking.k8s.io/v1", "httproutes", _OURS, shelf, read, optional=True)


def _metadata(raw: msgspec.Raw) -> Metadata:
    """Enough to name an object that is otherwise not as it should be."""
    try:
        return decode_any(raw).metadata
    except msgspec.DecodeError as error:
        logger.error("an object of the API server is not readable at all: %s", error)
        return AnyObject().metadata
