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


_GROUP_INDEX = "stormservice.orchestration.aibrix.ai/pod-group-index"


class ScaleTargetError(Exception):
    """What should be scaled is not there."""


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

    def replicas(self, scale: Mapping[str, Any]) -> int:
        """ScaleTargetError where a StormService has no such role."""
        part = self._role_of(scale) if self.role else scale.get("spec") or {}
        # Kubernetes takes a size that is left out for one.
        return int(part.get("replicas", 1 if self.role else 0) or 0)

    def resized(self, scale: Mapping[str, Any], replicas: int) -> dict[str, Any]:
        """A merge patch. A list of roles is replaced as a whole, so it goes with the version that was read."""
        if not self.role:
            return {"spec": {"replicas": replicas}}
        role = self._role_of(scale)
        roles = [{**one, "replicas": replicas} if one is role else one for one in _roles(scale)]
        version = (scale.get("metadata") or {}).get("resourceVersion")
        return {"metadata": {"resourceVersion": version}, "spec": {"template": {"spec": {"roles": roles}}}}

    def _role_of(self, scale: Mapping[str, Any]) -> Mapping[str, Any]:
        for role in _roles(scale):
            if role.get("name") == self.role:
                return role
        raise ScaleTargetError(f"{self.kind} {self.namespace}/{self.name} has no role {self.role!r}")

    def selector(self, scale: Mapping[str, Any]) -> str:
        """Of the pods whose metrics count, from the target's `/scale`."""
        if self.role:
            grouped = int(self._role_of(scale).get("podGroupSize") or 1) > 1
            leaders = f",{_GROUP_INDEX}=0" if grouped else ""
            return f"storm-service-name={self.name},role-name={self.role}{leaders}"
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


def _roles(storm_service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    template = (storm_service.get("spec") or {}).get("template") or {}
    return list((template.get("spec") or {}).get("roles") or ())


def _plural(kind: str) -> str:
    lower = kind.lower()
    return lower + ("es" if lower.endswith("s") else "s")
