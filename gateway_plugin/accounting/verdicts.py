"""What a finished exchange says about the pods that it met.

The log names only the pod that Envoy tried last. Those before it are known from the order of candidates: when the last
one is the k-th of them and there were at least k tries, the k - 1 before it failed, by refusing the connection or by
answering 503 (nothing else is tried again). A 4xx, a client that left, and answers that Envoy gave itself say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.pods.circuit import Failure

if TYPE_CHECKING:
    from protos.access_log import FinishedExchange

_BY_FLAG = {
    "upstream_connection_failure": Failure.CONNECTION,
    "upstream_remote_reset": Failure.RESET,
    "upstream_connection_termination": Failure.RESET,
    "upstream_protocol_error": Failure.RESET,
    "upstream_request_timeout": Failure.TIMEOUT,
    "upstream_max_stream_duration_reached": Failure.TIMEOUT,
    "stream_idle_timeout": Failure.TIMEOUT,
    "duration_timeout": Failure.TIMEOUT,
}
# The pod understands the request and cannot do such a thing at all.
_NOT_SUPPORTED = (501, 505)
_BY_THE_POD = ("", "via_upstream")


def failure_of(entry: FinishedExchange) -> Failure | None:
    """How the pod named in the entry failed, if it did."""
    if entry.client_aborted or not entry.pod_address:
        return None
    if entry.flags:
        for flag, failure in _BY_FLAG.items():
            if flag in entry.flags:
                return failure
    if entry.status < 500 or entry.status in _NOT_SUPPORTED or entry.details not in _BY_THE_POD:
        return None
    return Failure.UNAVAILABLE if entry.status == 503 else Failure.SERVER_ERROR


def is_success(entry: FinishedExchange) -> bool:
    """Whether the client got a good answer, whole."""
    return 0 < entry.status < 400 and not entry.client_aborted and failure_of(entry) is None


def passed_over(entry: FinishedExchange) -> tuple[str, ...]:
    """The candidates that Envoy tried in vain before it went to the pod named in the entry."""
    if entry.attempts < 2 or not entry.targets:
        return ()
    if entry.pod_address not in entry.targets:
        # Somebody else's choice, after all candidates; unless some are unknown to Envoy, which then tried fewer.
        return entry.targets if entry.attempts > len(entry.targets) else ()
    place = entry.targets.index(entry.pod_address)
    return entry.targets[:place] if entry.attempts > place else ()
