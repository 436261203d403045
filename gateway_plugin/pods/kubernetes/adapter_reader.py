"""A ModelAdapter (a LoRA adapter on pods of a base model) to the model that it is.

It is a model under the object's name, known from the moment it exists. Its pods are those of `status.instances`; one
that is being deleted has none any more, since engines may unload it at any moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.pods.kubernetes.pod_reader import read_config, ref_of
from gateway_plugin.pods.kubernetes.pod_readings import AdapterReading

if TYPE_CHECKING:
    from gateway_plugin.pods.kubernetes.label_keys import LabelKeys
    from gateway_plugin.pods.kubernetes.pod_objects import ModelAdapter
    from routing.profiles import ProfileCache

ADAPTER_GROUP_VERSION = "model.aibrix.ai/v1alpha1"


def read_adapter(adapter: ModelAdapter, keys: LabelKeys, profiles: ProfileCache) -> AdapterReading:
    """What the adapter means for routing."""
    metadata, status = adapter.metadata, adapter.status
    ref = ref_of(metadata, "ModelAdapter", ADAPTER_GROUP_VERSION)
    config, complaint = read_config(ref, keys, metadata.annotations or {}, profiles)
    leaving = metadata.deletion_timestamp is not None
    return AdapterReading(
        ref=ref,
        created_at=metadata.creation_timestamp or "",
        base_model=(adapter.spec.base_model or "") if adapter.spec is not None else "",
        artifact=(adapter.spec.artifact_url or "") if adapter.spec is not None else "",
        instances=() if leaving or status is None else tuple(status.instances or ()),
        config=config,
        complaints=() if complaint is None else (complaint,),
    )
