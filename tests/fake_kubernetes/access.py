"""RBAC: what (Cluster)Roles allow, so that tests can prove that the shipped ones suffice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class _Rule:
    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str]
    namespace: str

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        return (
            _has(self.groups, group)
            and _has(self.resources, resource)
            and _has(self.verbs, verb)
            and (not self.names or name in self.names)
            and self.namespace in ("", namespace)
        )


@dataclass(slots=True)
class Access:
    """Everything is allowed until the first role is added. Discovery documents are open to all, as in clusters."""

    denied: list[str] = field(default_factory=list)
    """What was asked for in vain, as "verb group/resource in namespace"."""
    _rules: list[_Rule] = field(default_factory=list)

    def add_role(self, role: Mapping[str, Any], namespace: str = "") -> None:
        """A ClusterRole or Role (its `rules`); with a namespace, bound there only."""
        self._rules.extend(_rules(role.get("rules") or (), namespace))

    def check(self, verb: str, group: str, resource: str, namespace: str, name: str) -> None:
        """Raises 403 for what no role allows."""
        if not self._rules or any(rule.allows(verb, group, resource, namespace, name) for rule in self._rules):
            return
        self.denied.append(f"{verb} {group}/{resource} in {namespace or 'all namespaces'}")
        text = f'{resource} is forbidden: cannot {verb} resource "{resource}" in API group "{group}"'
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        raise ApiError(403, "Forbidden", f"{text} {scope}")


def _rules(rules: Iterable[Mapping[str, Any]], namespace: str) -> Iterable[_Rule]:
    for rule in rules:
        groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
        names = frozenset(rule.get("resourceNames") or ())
        yield _Rule(frozenset(groups), frozenset(resources), frozenset(rule["verbs"]), names, namespace)


def _has(allowed: frozenset[str], value: str) -> bool:
    return "*" in allowed or value in allowed
