"""`gateway-plugin doctor`: the controller's checks over one reading of the cluster, from anywhere with a kubeconfig."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway_plugin.controller.checks import by_object, check
from gateway_plugin.controller.desired import Desired, desired
from gateway_plugin.controller.object_store import Store
from gateway_plugin.controller.route_client import connected
from gateway_plugin.controller.survey import survey, survey_policies

if TYPE_CHECKING:
    from gateway_plugin.controller.controller_settings import ControllerSettings
    from gateway_plugin.controller.findings import Finding


# No object of the cluster tells it: the plugin's own settings do, and its log at the start.
_TRUST = (
    "Not looked at: who may name users. Unless identity_proofs says otherwise the plugin believes a `user` header, as"
    " AIBrix does, which is for trusted networks only."
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, and what is wrong."""

    wanted: Desired
    findings: tuple[Finding, ...]


def diagnose(settings: ControllerSettings, context: str = "") -> Diagnosis:
    """Reads the cluster once, changes nothing; raises KubeError when it cannot be read."""
    return asyncio.run(_diagnose(settings, context))


async def _diagnose(settings: ControllerSettings, context: str) -> Diagnosis:
    rules = settings.rules
    store = Store(rules.keys.prefix)
    async with connected(settings.kubeconfig, context, "doctor") as client:
        await survey(client, store, settings.namespaces, rules.keys.name)
        await survey_policies(client, store, rules.parent.namespace)
    snapshot = store.snapshot()
    return Diagnosis(desired(snapshot, rules), check(snapshot, rules, datetime.now(UTC)))


def report(diagnosis: Diagnosis) -> RenderableType:
    """What to read in a terminal."""
    return Group(_models(diagnosis.wanted), Text(), *_verdict(diagnosis.findings), Text(_TRUST, "dim"))


def _models(wanted: Desired) -> RenderableType:
    if not wanted.models:
        return Text("No workload carries a model label.")
    table = Table("model", "workloads", "backends", show_edge=False)
    for state in wanted.models.values():
        workloads = "\n".join(str(served.ref) for served in state.workloads)
        backends = "\n".join(f"{item.namespace}/{item.service}:{item.port}" for item in state.backends) or "none"
        table.add_row(*(Text(cell) for cell in (state.model, workloads, backends)))
    return table


def _verdict(findings: tuple[Finding, ...]) -> list[RenderableType]:
    if not findings:
        return [Text("Nothing is wrong.", "green")]
    lines: list[RenderableType] = []
    for about, group in by_object(findings).items():
        lines.append(Text(str(about), "bold"))
        for finding in group:
            lines.append(Text(f"  {finding.code}: {finding.message}", "red"))
            lines.append(Text(f"  fix: {finding.fix}"))
    count = len(findings)
    return [*lines, Text(), Text(f"{count} thing{'s' if count > 1 else ''} to fix.", "red")]
