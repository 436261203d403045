"""What replicas write for each other: from plain values to bytes, and back with suspicion."""

from __future__ import annotations

import math

from google.protobuf.message import DecodeError

from protos import replica_state_pb2 as pb
from routing.pods.elsewhere import Report
from routing.pods.pod_work import PodWork
from routing.router import Settled

MAX_VALUE_BYTES = 512 * 1024
"""A pod takes some 70 bytes; nobody has thousands for one model."""
_MAX_COUNT = 2**53
"""What JSON carries exactly."""
_MAX_SECONDS = 86_400.0
"""An age of more is no age."""


class MalformedNewsError(ValueError):
    """Bytes that no replica of ours has written."""


def report_bytes(report: Report) -> bytes:
    return pb.ReplicaState(sequence=report.sequence, pods=map(_pod_message, report.pods)).SerializeToString()


def read_report(value: bytes) -> Report:
    """Raises MalformedError."""
    if len(value) > MAX_VALUE_BYTES:
        raise MalformedNewsError(f"{len(value)} bytes, more than {MAX_VALUE_BYTES}")
    try:
        message = pb.ReplicaState.FromString(value)
    except DecodeError:
        raise MalformedNewsError("not a ReplicaState") from None
    return Report(message.sequence, tuple(map(_read_pod, message.pods)))


def settled_bytes(settled: Settled) -> bytes:
    return pb.ForwardedOutcome(
        charge_id=settled.charge_id,
        model=settled.model,
        pod_address=settled.address,
        succeeded=settled.succeeded,
        prompt_tokens=settled.prompt_tokens,
        cached_tokens=settled.cached_tokens,
        output_tokens=settled.output_tokens,
        ttft_seconds=settled.ttft_seconds,
    ).SerializeToString()


def read_settled(value: bytes) -> Settled:
    """Raises MalformedError."""
    try:
        message = pb.ForwardedOutcome.FromString(value)
    except DecodeError:
        raise MalformedNewsError("not a ForwardedOutcome") from None
    tokens = message.prompt_tokens, message.cached_tokens, message.output_tokens
    if max(tokens) > _MAX_COUNT:
        raise MalformedNewsError("more tokens than anybody counts")
    ttft_seconds = message.ttft_seconds if message.HasField("ttft_seconds") else None
    if ttft_seconds is not None and not 0.0 <= ttft_seconds <= _MAX_SECONDS:
        raise MalformedNewsError("a time to first token that nobody waits")
    return Settled(message.charge_id, message.model, message.pod_address, message.succeeded, *tokens, ttft_seconds)


def _pod_message(work: PodWork) -> pb.PodWork:
    return pb.PodWork(
        address=work.address,
        uid_hash=work.uid_hash,
        inflight_requests=work.inflight_requests,
        inflight_prompt_tokens=work.inflight_prompt_tokens,
        inflight_output_tokens=work.inflight_output_tokens,
        requests_total=work.requests_total,
        prefill_booked_tokens=work.prefill_booked_tokens,
        prefill_backlog_tokens=work.prefill_backlog_tokens,
    )


def _read_pod(message: pb.PodWork) -> PodWork:
    counts = message.inflight_requests, message.requests_total
    tokens = message.inflight_prompt_tokens, message.inflight_output_tokens, message.prefill_backlog_tokens
    if max(counts) > _MAX_COUNT or not all(0.0 <= value <= _MAX_COUNT for value in tokens):
        raise MalformedNewsError("a count that no pod has")
    if not math.isfinite(message.prefill_booked_tokens):
        raise MalformedNewsError("a count that is no number")
    return PodWork(
        message.address,
        message.uid_hash,
        message.inflight_requests,
        message.inflight_prompt_tokens,
        message.inflight_output_tokens,
        message.requests_total,
        message.prefill_booked_tokens,
        message.prefill_backlog_tokens,
    )
