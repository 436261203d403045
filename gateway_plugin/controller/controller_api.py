"""The controller's HTTP port: `/healthz`, `/readyz`, `/metrics`, `/debug/routes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from gateway_plugin.controller.desired import ModelState, desired
from gateway_plugin.controller.object_names import route_name
from gateway_plugin.controller.routes import is_parent
from gateway_plugin.controller.workloads import ClusterSnapshot, Ref
from gateway_plugin.http.error_responses import new_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.controller.findings import Finding
    from gateway_plugin.controller.following import Followers
    from gateway_plugin.controller.orchestrating import Orchestration
    from gateway_plugin.controller.reconciler import Reconciler


class FindingOut(BaseModel):
    """Something to look at."""

    about: str
    code: str
    message: str
    fix: str


class RouteOut(BaseModel):
    """A model, what serves it, and the route to it. `accepted` is null until the Gateway's controller has answered."""

    model: str
    route: str
    exists: bool
    accepted: bool | None
    backends: list[str]
    workloads: list[str]
    findings: list[FindingOut]


class RoutesOut(BaseModel):
    """Everything that is routed, and every finding."""

    routes: list[RouteOut]
    findings: list[FindingOut]


def controller_api(reconciler: Reconciler, followers: Followers, orchestration: Orchestration | None = None) -> FastAPI:
    """The whole application."""
    api = new_app("gateway-plugin controller", "The state of the models' routes.")
    registry = CollectorRegistry()
    registry.register(ControllerCollector(reconciler, followers, orchestration))

    @api.get("/healthz")
    async def healthy(response: Response) -> dict[str, str]:
        response.status_code = 503 if reconciler.is_stuck else 200
        return {"status": "stuck" if reconciler.is_stuck else "ok"}

    @api.get("/readyz")
    async def ready(response: Response) -> dict[str, bool | list[str]]:
        problems = followers.problems
        is_ready = reconciler.surveyed.is_set() and not problems
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready, "problems": problems}

    @api.get("/metrics")
    async def scrape() -> Response:
        return Response(generate_latest(registry), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    @api.get("/debug/routes")
    async def routes() -> RoutesOut:
        return routes_out(reconciler)

    return api


def routes_out(reconciler: Reconciler) -> RoutesOut:
    """The state as of now, with the findings of the last round."""
    snapshot, findings = reconciler.store.snapshot(), reconciler.findings
    states = desired(snapshot, reconciler.rules).models.values()
    shown = [_route(state, snapshot, reconciler, findings) for state in states]
    return RoutesOut(routes=shown, findings=[_finding(finding) for finding in findings])


def _route(
    state: ModelState, snapshot: ClusterSnapshot, reconciler: Reconciler, findings: tuple[Finding, ...]
) -> RouteOut:
    ref = Ref("HTTPRoute", reconciler.rules.route_namespace, route_name(state.model))
    about = {ref, *(plan.ref for plan in state.plans), *(served.ref for served in state.workloads)}
    return RouteOut(
        model=state.model,
        route=f"{ref.namespace}/{ref.name}",
        exists=ref in snapshot.routes,
        accepted=_accepted(snapshot, ref, reconciler),
        backends=[f"{item.namespace}/{item.service}:{item.port}" for item in state.backends],
        workloads=[str(served.ref) for served in state.workloads],
        findings=[_finding(finding) for finding in findings if finding.about in about],
    )


def _accepted(snapshot: ClusterSnapshot, ref: Ref, reconciler: Reconciler) -> bool | None:
    status: Any = (snapshot.routes.get(ref) or {}).get("status") or {}
    conditions = [
        condition
        for state in status.get("parents") or []
        if is_parent(state.get("parentRef") or {}, reconciler.rules.parent, ref.namespace)
        for condition in state.get("conditions") or []
        if condition.get("type") in {"Accepted", "ResolvedRefs"}
    ]
    return all(condition.get("status") == "True" for condition in conditions) if conditions else None


def _finding(finding: Finding) -> FindingOut:
    return FindingOut(about=str(finding.about), code=finding.code, message=finding.message, fix=finding.fix)


class ControllerCollector(Collector):
    """Numbers of the loop, read when they are asked for."""

    def __init__(self, reconciler: Reconciler, followers: Followers, orchestration: Orchestration | None) -> None:
        self._reconciler = reconciler
        self._followers = followers
        self._orchestration = orchestration

    def collect(self) -> Iterator[Metric]:
        """Labels take few, known values."""
        findings: dict[str, int] = {}
        for finding in self._reconciler.findings:
            findings[finding.code] = findings.get(finding.code, 0) + 1
        shown = GaugeMetricFamily("gateway_controller_findings", "What a person should look at.", labels=["code"])
        for code, count in findings.items():
            shown.add_metric([code], count)
        yield shown
        writes = CounterMetricFamily("gateway_controller_writes", "Writes to the API.", labels=["outcome", "kind"])
        for (outcome, kind), count in self._reconciler.executor.counts.items():
            writes.add_metric([outcome, kind], count)
        yield writes
        yield from self._following()
        if self._orchestration is not None:
            failures = CounterMetricFamily(
                "gateway_controller_failures", "What failed in a way nobody foresaw; the log says it.", labels=["part"]
            )
            for part, count in self._orchestration.failures.items():
                failures.add_metric([part], count)
            yield failures
        routes = len(self._reconciler.store.snapshot().routes)
        yield GaugeMetricFamily("gateway_controller_routes", "HTTPRoutes that are known.", value=routes)

    def _following(self) -> Iterator[Metric]:
        """Which kinds are heard: 1 followed, 0 in trouble, -1 absent from the cluster or not to be read."""
        states = GaugeMetricFamily(
            "gateway_controller_following", "1: followed; 0: in trouble; -1: no such kind, or hidden.", labels=["kind"]
        )
        by_kind: dict[str, int] = {}
        for counts in self._followers.counts:
            state = -1 if counts.absent else int(counts.synced and not counts.problem)
            by_kind[counts.resource] = min(by_kind.get(counts.resource, 1), state)
        for kind, state in by_kind.items():
            states.add_metric([kind], state)
        yield states
        calls = CounterMetricFamily("gateway_controller_api_calls", "Calls to the API server.", labels=["verb"])
        for verb, count in self._followers.calls.items():
            calls.add_metric([verb], count)
        yield calls
