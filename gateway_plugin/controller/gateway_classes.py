"""Whether anybody serves the Gateway: its class, and what its listeners say; for `doctor` and the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.conditions import PATIENCE_SECONDS, age_seconds, words_of
from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.kinds import GATEWAY_CLASS
from gateway_plugin.controller.workloads import Ref, ref_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gateway_plugin.controller.workloads import ClusterSnapshot, Raw

_ENVOY_GATEWAY = "gateway.envoyproxy.io/"
_MUST_HOLD = ("Accepted", "ResolvedRefs", "Programmed")


def about_class(snapshot: ClusterSnapshot, gateway: Raw, ref: Ref, now: datetime) -> Iterator[Finding]:
    """Nothing where classes were not looked at: they are no namespace's, and not everybody may read them."""
    if snapshot.classes is None:
        return
    name = str((gateway.get("spec") or {}).get("gatewayClassName", ""))
    found = next((raw for raw in snapshot.classes if ref_of(GATEWAY_CLASS, raw).name == name), None)
    if found is None:
        message = f"its class {name!r} does not exist, so no controller serves it"
        yield Finding(ref, "GatewayClassMissing", message, "create the GatewayClass, or correct gatewayClassName")
        return
    yield from _not_accepted(found, now)


def _not_accepted(raw: Raw, now: datetime) -> Iterator[Finding]:
    ref, controller = ref_of(GATEWAY_CLASS, raw), str((raw.get("spec") or {}).get("controllerName", ""))
    if not controller.startswith(_ENVOY_GATEWAY):
        message = f"it is {controller}'s, which does not know the policies that ask the plugin"
        yield Finding(ref, "GatewayClassNotAccepted", message, "give the Gateway a class of Envoy Gateway")
        return
    conditions = (raw.get("status") or {}).get("conditions") or []
    accepted = next((item for item in conditions if item.get("type") == "Accepted"), None)
    if accepted is not None and accepted.get("status") == "True":
        return
    if accepted is not None and accepted.get("status") == "False":
        yield Finding(ref, "GatewayClassNotAccepted", words_of(accepted), "correct what the message names")
    elif age_seconds(raw, now) > PATIENCE_SECONDS:
        fix = f"check that Envoy Gateway runs, and that its controllerName is {controller}"
        yield Finding(ref, "GatewayClassNotAccepted", "no controller has accepted it", fix)


def about_listeners(gateway: Raw, ref: Ref) -> Iterator[Finding]:
    """What a listener lacks: as a rule its certificate, or its port is another one's."""
    for listener in (gateway.get("status") or {}).get("listeners") or []:
        for condition in listener.get("conditions") or []:
            is_refused = condition.get("type") in _MUST_HOLD and condition.get("status") == "False"
            if is_refused or (condition.get("type") == "Conflicted" and condition.get("status") == "True"):
                message = f"listener {listener.get('name')!r}: {words_of(condition)}"
                fix = "correct what the message names, as a certificate's Secret in the Gateway's namespace"
                yield Finding(ref, "GatewayNotReady", message, fix)
