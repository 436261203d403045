"""One worked example per strategy, without its numbers: those come from a result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One strategy at work."""

    strategy: str
    workload: str
    traffic: str
    happens: str
    beside: tuple[str, ...]
    kinds: tuple[str, ...] = ("TTFT mean", "TTFT p99", "token hits")
    headers: str = ""


EXAMPLES = (
    Example(
        "prefix-cache-and-load",
        "chats",
        "Conversations: each turn repeats all before it.",
        "A turn goes back to the pod that holds its conversation, unless its queue is longer than the prefill "
        "that this saves.",
        ("session-affinity", "prefix-cache", "least-request", "random"),
    ),
    Example(
        "prefix-cache",
        "documents",
        "Questions on a few dozen documents, more than one pod can hold.",
        "The longest match wins while its pod has not many more requests than the idlest one; else least-request. "
        "Take it where AIBrix's behaviour is wanted, or `loadBoundFactor` is to be set by hand.",
        ("prefix-cache-and-load", "least-request"),
    ),
    Example(
        "least-request",
        "azure",
        "Prompts of a thousand tokens that share nothing, answers of two hundred.",
        "The pod with the fewest open requests is taken. The body is not read when the `model` header is sent, "
        "which is the cheapest decision there is.",
        ("prefix-cache-and-load", "power-of-two", "random"),
        ("TTFT mean", "TTFT p99", "end to end mean"),
        "model: llama-3-8b",
    ),
    Example(
        "power-of-two",
        "unshared",
        "As for least-request, with many replicas of the gateway that do not share a Redis.",
        "Two pods are drawn and the less busy one is taken, so that replicas with old news do not all run to the "
        "same pod. With one replica, as here, it can only lose to least-request.",
        ("least-request", "random"),
        ("TTFT mean", "TTFT p99", "request skew"),
    ),
    Example(
        "session-affinity",
        "agents",
        "Agents with tools whose runs must stay where they are, for instance because the engine keeps more than a "
        "prefix.",
        "All requests with one session id go to one pod, on every replica, without any memory; load is ignored.",
        ("prefix-cache-and-load", "least-request"),
        ("TTFT mean", "TTFT p99", "token hits", "request skew"),
        "x-session-id: run-17",
    ),
    Example(
        "least-latency",
        "mixed-pods",
        "Pods of two speeds, and prompts that share nothing.",
        "The pod that is expected to finish first is taken: its queue, its measured pace, its decoding.",
        ("prefix-cache-and-load", "least-request", "random"),
        ("TTFT mean", "TTFT p99", "fast pods' share"),
    ),
    Example(
        "vtc-basic",
        "flood",
        "One user sends more than the pods can take, five others a little. Limits would be the better answer; "
        "without any:",
        "Who took much is kept to the last pods, and the others find the first ones idle. The flooding user pays.",
        ("prefix-cache-and-load", "least-request"),
        ("light users' TTFT p50", "TTFT p99", "fairness"),
        "user: light-1",
    ),
    Example(
        "throughput",
        "system-prompt",
        "Requests of equal length in great number.",
        "The pod with the fewest weighted tokens of the last minute is taken, which evens out tokens rather than "
        "requests.",
        ("prefix-cache-and-load", "least-request"),
        ("TTFT mean", "TTFT p99", "prefill skew"),
    ),
    Example(
        "least-busy-time",
        "azure",
        "Little traffic, whose load is to be spread over all pods, for instance so that none stays cold.",
        "The pod that was idle for most of the last minute is taken.",
        ("least-request", "prefix-cache-and-load"),
        ("TTFT mean", "TTFT p99", "request skew"),
    ),
    Example(
        "least-kv-cache",
        "bursts",
        "Memory is what is short: long answers, or a small card.",
        "The pod with the emptiest KV cache by its own metrics is taken, corrected by what was sent since. It "
        "needs engines that tell.",
        ("prefix-cache-and-load", "least-request"),
        ("TTFT mean", "TTFT p99", "end to end mean"),
    ),
    Example(
        "least-utilization",
        "bursts",
        "As for least-kv-cache, where batch, memory or queue may be what is short.",
        "The pod whose scarcest resource is least used is taken.",
        ("prefix-cache-and-load", "least-request"),
        ("TTFT mean", "TTFT p99", "end to end mean"),
    ),
    Example(
        "random",
        "unshared",
        "Nothing; it is what others are measured against, and what a plain Service does.",
        "Any pod is taken.",
        ("least-request", "prefix-cache-and-load"),
        ("TTFT mean", "TTFT p99", "request skew"),
    ),
)
