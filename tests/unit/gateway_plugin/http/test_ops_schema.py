"""schemathesis against the operations port, in-process."""

from __future__ import annotations

from typing import Any

import numpy as np
import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.explain import explain_router
from gateway_plugin.http.ops import ops_router
from gateway_plugin.metrics.families import Metrics
from routing.pods.pod_table import PodTable
from routing.router import Router
from routing.spec import ClusterState, PodSpec

# A request that names no known model is as valid to the document as one that does.
MAY_BE_REFUSED: list[schemathesis.CheckFunction] = [positive_data_acceptance]


async def healthy() -> tuple[bool, str]:
    return True, "ok"


pods = PodTable(lambda: 0.0)
pods.apply(ClusterState((PodSpec("p", "10.0.0.1:8000", ("m",)),), frozenset({"empty"})))
app = new_app("operations", "")
app.include_router(ops_router(pods, healthy, Metrics(), lambda: False, lambda: ""))
app.include_router(explain_router(Router(pods, np.random.default_rng(0)), Rules(default_strategy="random")))
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_the_document_holds(case: schemathesis.Case[Any]):
    case.call_and_validate(excluded_checks=MAY_BE_REFUSED if case.path == "/debug/route" else None)
