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
from gateway_plugin.controller.findings import by_gravity
from gateway_plugin.controller.object_store import Store
from gateway_plugin.controller.route_client import connected
from gateway_plugin.controller.survey import survey, survey_installation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.controller.controller_settings import ControllerSettings
    from gateway_plugin.controller.findings import Finding
    from gateway_plugin.controller.route_client import KubeClient


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
    namespaces: tuple[str, ...] = ()
    """All that could be read, when that is not the whole cluster."""
    hidden: tuple[str, ...] = ()
    """Kinds that may not be read there."""


def diagnose(settings: ControllerSettings, context: str = "") -> Diagnosis:
    """Reads the cluster once, changes nothing; raises KubeError when it cannot be read."""
    return asyncio.run(_diagnose(settings, context))


async def _diagnose(settings: ControllerSettings, context: str) -> Diagnosis:
    rules, namespaces = settings.rules, settings.namespaces
    async with connected(settings.kubeconfig, context, "doctor") as client:
        store = await _read(client, settings, namespaces)
        if store.unreadable and not namespaces:
            namespaces = _near(client.api.namespace, settings)
            store = await _read(client, settings, namespaces)
    snapshot = store.snapshot()
    found = check(snapshot, rules, datetime.now(UTC))
    if not namespaces:
        return Diagnosis(desired(snapshot, rules), found)
    # Whoever may read little is no mistake of the cluster.
    said = tuple(finding for finding in found if finding.code != "KindUnreadable")
    return Diagnosis(desired(snapshot, rules), said, namespaces, tuple(sorted(snapshot.unreadable)))


async def _read(client: KubeClient, settings: ControllerSettings, namespaces: Sequence[str]) -> Store:
    store = Store(settings.rules.keys.prefix)
    await survey(client, store, namespaces, settings.rules.keys.name)
    await survey_installation(client, store, settings.rules.parent.namespace)
    return store


def _near(own: str, settings: ControllerSettings) -> tuple[str, ...]:
    """Where somebody who may not read the whole cluster is likely to be let in."""
    return tuple(sorted({own or "default", settings.route_namespace, settings.rules.parent.namespace}))


def report(diagnosis: Diagnosis) -> RenderableType:
    """What to read in a terminal: the gravest mistake and its mend in the first line."""
    notes = [_reach(diagnosis), Text(_TRUST, "dim")] if diagnosis.namespaces else [Text(_TRUST, "dim")]
    return Group(*_verdict(diagnosis), Text(), _models(diagnosis.wanted), Text(), *notes)


def _reach(diagnosis: Diagnosis) -> Text:
    hidden = f" Not readable there: {', '.join(diagnosis.hidden)}." if diagnosis.hidden else ""
    return Text(f"Looked at in {', '.join(diagnosis.namespaces)} only.{hidden}", "dim")


def _models(wanted: Desired) -> RenderableType:
    if not wanted.models:
        return Text("No workload carries a model label.")
    table = Table("model", "workloads", "backends", show_edge=False)
    for state in wanted.models.values():
        workloads = "\n".join(str(served.ref) for served in state.workloads)
        backends = "\n".join(f"{item.namespace}/{item.service}:{item.port}" for item in state.backends) or "none"
        table.add_row(*(Text(cell) for cell in (state.model, workloads, backends)))
    return table


def _verdict(diagnosis: Diagnosis) -> list[RenderableType]:
    findings = by_gravity(diagnosis.findings)
    if not findings:
        return [Text("Nothing is wrong.", "green")]
    first, *others = findings
    # In one line however narrow the terminal is, so that what reads lines gets all of it.
    told = f"{first.code}: {first.about}: {first.message}; fix: {first.fix}"
    lines: list[RenderableType] = [Text(told, "red", no_wrap=True, overflow="ignore")]
    if not others:
        return lines
    lines += [Text(), Text(f"And {len(others)} more, some of which may follow from it:")]
    for about, group in by_object(others).items():
        lines.append(Text(str(about), "bold"))
        for finding in group:
            lines.append(Text(f"  {finding.code}: {finding.message}", "red"))
            lines.append(Text(f"  fix: {finding.fix}"))
    return lines
