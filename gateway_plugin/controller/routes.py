"""The HTTPRoute of a model: what we want of it, and how that is put into a route that exists already.

Ours are: one parentRef, the rule whose matches carry the header `model` with the model's name (its matches, backends,
timeouts, and one response header), our label and our annotation. Further parents, rules, filters, hostnames, labels and
annotations belong to whoever wrote them, and stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.kinds import GATEWAY, HTTP_ROUTE
from gateway_plugin.controller.object_names import is_label_value
from gateway_plugin.controller.ownership import MANAGED_BY, MANAGER, covers, is_ours, metadata
from gateway_plugin.controller.workloads import Raw, Ref, texts
from gateway_plugin.endpoints.endpoint_table import EndpointTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway_plugin.controller.backends import Backend

MODEL_HEADER = "model"
# The plugin's Lua filter reads which pod has really served, and removes it where clients may not know.
_POD_HEADER = {"name": "target-pod-ip", "value": "%UPSTREAM_REMOTE_ADDRESS%"}
MAX_BACKENDS = 16
"""Gateway API takes 16 in one rule."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The Gateway that the routes hang on."""

    namespace: str
    name: str
    listener: str = ""

    @property
    def ref(self) -> Ref:
        """The Gateway."""
        return Ref("Gateway", self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class RouteWish:
    """What a model's route shall do."""

    ref: Ref
    model: str
    backends: tuple[Backend, ...]
    paths: tuple[str, ...] = tuple(EndpointTable().patterns())
    """Regular expressions: few routes in Envoy, and none that takes more than the table of endpoints."""
    parent: Parent = Parent("", "")
    timeout_seconds: int = 0
    name_key: str = ""

    def new(self) -> dict[str, Any]:
        """The route, made anew."""
        labels = {self.name_key: self.model} if is_label_value(self.model) else {}
        return {
            "apiVersion": HTTP_ROUTE.api_version,
            "kind": HTTP_ROUTE.name,
            "metadata": metadata(self.ref.name, self.ref.namespace, {self.name_key: self.model}, labels),
            "spec": {"parentRefs": [self._parent_ref()], "rules": [self._rule({})]},
        }

    def change_of(self, existing: Raw) -> dict[str, Any] | None:
        """The merge patch that brings a route here, or None."""
        spec = existing.get("spec") or {}
        wanted = {
            "metadata": {"labels": {MANAGED_BY: MANAGER}, "annotations": {self.name_key: self.model}},
            "spec": {
                "parentRefs": self._parents(spec.get("parentRefs") or []),
                "rules": self._rules(spec.get("rules") or []),
            },
        }
        return None if covers(existing, wanted) and not self._has_wrong_timeouts(existing) else wanted

    def _has_wrong_timeouts(self, existing: Raw) -> bool:
        return any(rule.get("timeouts", {}) != self._timeouts() for rule in rules_of(existing, self.model))

    def _parents(self, present: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if any(is_parent(ref, self.parent, self.ref.namespace) for ref in present):
            return list(present)
        return [*present, self._parent_ref()]

    def _parent_ref(self) -> dict[str, Any]:
        listener = {"sectionName": self.parent.listener} if self.parent.listener else {}
        ref = {"group": GATEWAY.group, "kind": GATEWAY.name, "namespace": self.parent.namespace}
        return {**ref, "name": self.parent.name, **listener}

    def _rules(self, present: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        ours = next((rule for rule in present if _is_rule_of(rule, self.model)), None)
        if ours is None:
            return [self._rule({}), *present]
        return [self._rule(rule) if rule is ours else rule for rule in present]

    def _rule(self, present: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in present.items() if key != "timeouts"}
        timeouts = {"timeouts": self._timeouts()} if self._timeouts() else {}
        return {**kept, **timeouts, **self._matches_and_backends(), "filters": _filters(present.get("filters") or [])}

    def _matches_and_backends(self) -> dict[str, Any]:
        header = {"type": "Exact", "name": MODEL_HEADER, "value": self.model}
        matches = [{"path": {"type": "RegularExpression", "value": paths}, "headers": [header]} for paths in self.paths]
        return {
            "matches": matches,
            "backendRefs": [_backend_ref(backend) for backend in self.backends[:MAX_BACKENDS]],
        }

    def _timeouts(self) -> dict[str, str]:
        # Unset, the policy of the Gateway decides, and that lets a generation take as long as it needs.
        return {"request": f"{self.timeout_seconds}s"} if self.timeout_seconds else {}


def release(existing: Raw, model: str, name_key: str) -> dict[str, Any] | None:
    """The merge patch that takes our part out of a route with rules of others; None: nothing of others is in it."""
    rules = (existing.get("spec") or {}).get("rules") or []
    others = [rule for rule in rules if not _is_rule_of(rule, model)]
    if not others:
        return None
    return {
        "metadata": {"labels": {MANAGED_BY: None, name_key: None}, "annotations": {name_key: None}},
        "spec": {"rules": others},
    }


def may_adopt(existing: Raw, model: str) -> bool:
    """Whether a route of our name is about this model; otherwise someone else means something else by it."""
    return is_ours(existing) or bool(rules_of(existing, model))


def rules_of(existing: Raw, model: str) -> list[Mapping[str, Any]]:
    """The rules that are about a model."""
    rules = (existing.get("spec") or {}).get("rules") or []
    return [rule for rule in rules if _is_rule_of(rule, model)]


def models_of(existing: Raw) -> Iterator[str]:
    """The models that a route's rules match by header."""
    for rule in (existing.get("spec") or {}).get("rules") or []:
        yield from {value for match in rule.get("matches") or [] if (value := _model_of(match)) is not None}


def model_of(existing: Raw, name_key: str) -> str:
    """The model that a route of ours was made for."""
    return texts(existing, "metadata", "annotations").get(name_key, "")


def is_parent(ref: Mapping[str, Any], parent: Parent, route_namespace: str) -> bool:
    """Whether a parentRef of a route means this Gateway."""
    same = ref.get("name") == parent.name and ref.get("namespace", route_namespace) == parent.namespace
    return same and ref.get("kind", GATEWAY.name) == GATEWAY.name and ref.get("sectionName", "") == parent.listener


def _is_rule_of(rule: Mapping[str, Any], model: str) -> bool:
    return any(_model_of(match) == model for match in rule.get("matches") or [])


def _model_of(match: Mapping[str, Any]) -> str | None:
    headers = match.get("headers") or []
    exact = [item for item in headers if item.get("type", "Exact") == "Exact"]
    return next((item.get("value") for item in exact if str(item.get("name")).lower() == MODEL_HEADER), None)


def _backend_ref(backend: Backend) -> dict[str, Any]:
    ref = {"group": "", "kind": "Service", "name": backend.service, "namespace": backend.namespace}
    return {**ref, "port": backend.port, "weight": 1}


def _filters(present: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The filters of a rule, with our response header in the one modifier that a rule may have."""
    modifier = next((item for item in present if item.get("type") == "ResponseHeaderModifier"), None)
    if modifier is None:
        return [*present, {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [_POD_HEADER]}}]
    changes = modifier.get("responseHeaderModifier") or {}
    others = [item for item in changes.get("set") or [] if str(item.get("name")).lower() != _POD_HEADER["name"]]
    if _POD_HEADER in (changes.get("set") or []):
        return list(present)
    changed = {**modifier, "responseHeaderModifier": {**changes, "set": [*others, _POD_HEADER]}}
    return [changed if item is modifier else item for item in present]
