"""What may be scaled, and where its size stands: the `/scale` subresource, or one role of a StormService."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.autoscaling.autoscaler_spec import AutoscalerSpec

_LEADERS = {
    "RayClusterFleet": "ray.io/node-type=head",
    "LeaderWorkerSet": "leaderworkerset.sigs.k8s.io/worker-index=0",
}
"""Of a replica that is made of several pods, the one whose metrics count."""
_GROUPS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "RayClusterFleet": "orchestration.aibrix.ai/v1alpha1",
    "StormService": "orchestration.aibrix.ai/v1alpha1",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
}


@dataclass(frozen=True, slots=True, order=True)
class ScaleTarget:
    """One thing with one size; two autoscalers of the same are in each other's way."""

    api_version: str
    kind: str
    namespace: str
    name: str
    role: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" + (f" role {self.role}" if self.role else "")

    @property
    def path(self) -> str:
        """In the API: its `/scale`, or the object where only a role of it has a size."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        whole = f"{root}/namespaces/{self.namespace}/{_plural(self.kind)}/{self.name}"
        return whole if self.role else whole + "/scale"

    def selector(self, scale: Mapping[str, Any]) -> str:
        """Of the pods whose metrics count, from the target's `/scale`."""
        own = str((scale.get("status") or {}).get("selector") or "")
        leaders = _LEADERS.get(self.kind, "")
        return own if leaders in own.split(",") else ",".join(part for part in (own, leaders) if part)


def target_of_spec(spec: AutoscalerSpec, namespace: str) -> ScaleTarget:
    ref = spec.scale_target_ref
    return ScaleTarget(
        ref.api_version or _GROUPS.get(ref.kind, "apps/v1"),
        ref.kind,
        namespace,
        ref.name,
        spec.sub_target_selector.role_name,
    )


def losers(claims: Sequence[tuple[ScaleTarget, str, str]]) -> dict[str, str]:
    """Of autoscalers that want the same target all but the oldest lose: by loser, who wins.

    `claims`: target, creation time as the API writes it, name. Ages do not change with a restart, as chance does.
    """
    oldest: dict[ScaleTarget, tuple[str, str]] = {}
    for target, created, name in claims:
        oldest[target] = min(oldest.get(target, (created, name)), (created, name))
    return {name: oldest[target][1] for target, _, name in claims if oldest[target][1] != name}


def _plural(kind: str) -> str:
    lower = kind.lower()
    return lower + ("es" if lower.endswith("s") else "s")
