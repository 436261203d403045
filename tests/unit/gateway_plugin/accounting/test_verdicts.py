"""What an entry of Envoy's log says about pods. The entries are those that Envoy 1.40 writes in each case."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gateway_plugin.accounting.verdicts import failure_of, is_success, passed_over
from protos.access_log import FinishedExchange
from routing.pods.circuit import Failure

GOOD = FinishedExchange(
    charge_id="c",
    user="",
    model="m",
    status=200,
    pod_address="a:1",
    duration_seconds=1.0,
    ttft_seconds=None,
    attempts=1,
    client_aborted=False,
    targets=("a:1", "b:1", "c:1"),
    details="via_upstream",
)
BEFORE = "upstream_reset_before_response_started{%s}"
AFTER = "upstream_reset_after_response_started{%s}"


def flags(*names: str) -> dict[str, Any]:
    return {"flags": frozenset(names)}


@pytest.mark.parametrize(
    ("changes", "failure", "success"),
    [
        ({}, None, True),
        ({"status": 302}, None, True),
        ({"status": 400}, None, False),
        ({"status": 404}, None, False),
        ({"status": 429}, None, False),
        ({"status": 500}, Failure.SERVER_ERROR, False),
        ({"status": 502}, Failure.SERVER_ERROR, False),
        ({"status": 501}, None, False),
        ({"status": 503}, Failure.UNAVAILABLE, False),
        ({"status": 503, **flags("upstream_retry_limit_exceeded")}, Failure.UNAVAILABLE, False),
        (
            {
                "status": 503,
                "details": BEFORE % "remote_connection_failure|delayed_connect_error",
                **flags("upstream_connection_failure", "upstream_retry_limit_exceeded"),
            },
            Failure.CONNECTION,
            False,
        ),
        (
            {
                "status": 503,
                "details": BEFORE % "connection_termination",
                **flags("upstream_connection_termination"),
            },
            Failure.RESET,
            False,
        ),
        ({"details": AFTER % "protocol_error", **flags("upstream_protocol_error")}, Failure.RESET, False),
        ({"details": "stream_idle_timeout", **flags("stream_idle_timeout")}, Failure.TIMEOUT, False),
        ({"status": 504, "details": "response_timeout", **flags("upstream_request_timeout")}, Failure.TIMEOUT, False),
        # Not the pod's doing.
        ({"client_aborted": True, **flags("downstream_connection_termination")}, None, False),
        ({"client_aborted": True, "status": 0, **flags("upstream_remote_reset")}, None, False),
        ({"status": 503, "pod_address": "", "details": "no_healthy_upstream"}, None, False),
        ({"status": 503, "details": BEFORE % "overflow", **flags("upstream_overflow")}, None, False),
        ({"status": 500, "details": "gateway_plugin_internal_error"}, None, False),
    ],
)
def test_the_last_pod(changes: dict[str, Any], failure: Failure | None, success: bool):
    entry = replace(GOOD, **changes)
    assert (failure_of(entry), is_success(entry)) == (failure, success)


@pytest.mark.parametrize(
    ("last", "attempts", "vain"),
    [
        ("a:1", 1, ()),
        ("b:1", 2, ("a:1",)),
        ("c:1", 3, ("a:1", "b:1")),
        ("a:1", 2, ()),
        ("z:1", 4, ("a:1", "b:1", "c:1")),
        ("z:1", 2, ()),  # Envoy does not know all candidates yet
        ("c:1", 2, ()),
        ("", 1, ()),
    ],
)
def test_those_before_it(last: str, attempts: int, vain: tuple[str, ...]):
    assert passed_over(replace(GOOD, pod_address=last, attempts=attempts)) == vain


def test_without_candidates_nobody_is_blamed():
    assert passed_over(replace(GOOD, targets=(), attempts=3)) == ()
