"""What a person should look at: one sentence of what is wrong, one of what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_plugin.controller.workloads import Ref


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`code` is stable and CamelCase, as the reason of a Kubernetes Event."""

    about: Ref
    code: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.about}: {self.message}; {self.fix}"


_CAUSES = (
    "KindMissing",
    "GatewayMissing",
    "GatewayClassMissing",
    "GatewayClassNotAccepted",
    "PluginStopped",
    "PluginNotReady",
    "PolicyNotAccepted",
    "GatewayNotReady",
    "EnvoyExtensionPolicyMissing",
    "BackendTrafficPolicyMissing",
    "PolicyIgnored",
    "PolicyReplaced",
    "KindUnreadable",
    "RedisStopped",
    "RedisNotReady",
    "ControllerStopped",
    "ControllerNotReady",
    "WriteFailed",
    "RouteMissing",
    "RouteIgnored",
)
"""What other findings follow from, the gravest first; mistakes in single workloads come after these."""


def by_gravity(findings: Iterable[Finding]) -> list[Finding]:
    """What to mend first comes first."""
    return sorted(findings, key=lambda finding: (_rank(finding.code), finding))


def _rank(code: str) -> int:
    if code in _CAUSES:
        return _CAUSES.index(code)
    # A route without pods says the least: what keeps pods away is said of the workloads.
    return len(_CAUSES) + (code == "NoReadyPods")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, sorted."""
    return tuple(sorted(set(findings)))
