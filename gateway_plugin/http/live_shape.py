"""What the live page is fed with: one JSON object a second, the same for all viewers.

    GET /debug/live            the snapshot of now
    GET /debug/live/events     server-sent events: `event: snapshot` with the same object, once a second
    GET /debug/live/history    points of the last hour, one in ten seconds, oldest first

Null is "not known". Times are seconds; `at_seconds` is since 1970. Fields are added, and none renamed.
"""

from __future__ import annotations

from msgspec import Struct

PERIOD_SECONDS = 1.0
"""Between two snapshots."""
POINT_SECONDS = 10.0
"""Between two points of the history."""
MAX_POINTS = 360
"""An hour of them."""
MAX_PODS = 300
"""Of all models; the busiest are told."""
MAX_DECISIONS = 30
"""Of a snapshot, the newest."""
MAX_REFUSALS = 30
"""Of a snapshot, the newest."""
MAX_USERS = 50
"""Of a snapshot, those that spend most."""


class PodTile(Struct, frozen=True):
    """One pod."""

    name: str
    address: str
    models: tuple[str, ...]
    ready: bool
    health: str
    """`closed` is well; `open`: left out; `half_open`: probed; `asleep`."""
    sick_because: str | None
    next_check_seconds: float | None
    inflight_requests: int
    inflight_elsewhere: int
    """Through other replicas."""
    running_requests: float | None
    waiting_requests: float | None
    kv_usage_ratio: float | None
    prefix_hit_ratio: float | None
    """Since the engine's start."""
    cached_blocks: int
    """That the prefix index believes it holds."""
    prefill_tokens_per_second: float | None
    """Learned."""
    backlog_tokens: float
    """Prefill work that is believed to be left."""
    ttft_seconds: float | None
    tpot_seconds: float | None
    scraped_before_seconds: float | None
    """Age of its metrics."""
    requests_total: int


class ModelRow(Struct, frozen=True):
    """One model."""

    name: str
    pods: int
    ready_pods: int
    inflight_requests: int
    waiting_requests: int
    """In the gateway, for a pod with room."""
    requests_per_second: float
    ttft_p50_seconds: float | None
    ttft_p95_seconds: float | None
    tpot_p50_seconds: float | None
    prompt_tokens_per_second: float
    output_tokens_per_second: float


class WeighedPod(Struct, frozen=True):
    """A pod as the strategy weighed it."""

    pod: str
    address: str
    cost: float | None
    terms: dict[str, float | None]
    matched_tokens: float


class DecisionLine(Struct, frozen=True):
    """A request that was sent on; `/debug/requests/{request_id}` tells all."""

    number: int
    at_seconds: float
    request_id: str
    user: str
    model: str
    strategy: str
    branch: str
    pod: str
    address: str
    weighed: tuple[WeighedPod, ...]
    """The first and the runner-up; empty where decisions come faster than they are explained."""
    prompt_tokens: int
    matched_tokens: float
    decided_after_seconds: float
    status: int | None
    """None: not over yet."""
    ttft_seconds: float | None
    duration_seconds: float | None


class RefusalLine(Struct, frozen=True):
    """A request that the gateway answered itself."""

    number: int
    at_seconds: float
    request_id: str
    user: str
    source: str
    model: str
    status: int
    reason: str
    message: str


class UserRow(Struct, frozen=True):
    """A user among those who asked last; what was left when the last request was admitted."""

    user: str
    seen_at_seconds: float
    rpm: int | None
    requests_left: int | None
    tpm: int | None
    tokens_left: int | None
    decisions: int
    """Of those remembered."""
    refusals: int
    last_refusal: str
    """Its reason."""


class LimiterState(Struct, frozen=True):
    """Who decides about limits now."""

    store: str
    """`memory` or `redis`, or `off`."""
    state: str
    """`ok`, `down`, or `probing`."""
    policy: str
    """What decides while the store is down."""
    replicas: int
    admitted_locally: int
    refused_locally: int
    queued: int
    """Charges that wait to be told to the store."""


class Rates(Struct, frozen=True):
    """Over the last ten seconds, this replica."""

    requests_per_second: float
    refusals_per_second: float
    refusals_by_reason: dict[str, float]
    failures_per_second: float
    """Exchanges that ended with 5xx, or were cut off by a pod."""
    prompt_tokens_per_second: float
    output_tokens_per_second: float
    ttft_p50_seconds: float | None
    ttft_p95_seconds: float | None
    inflight_requests: int


class Trouble(Struct, frozen=True):
    """Something that a person should look at."""

    code: str
    """Stable, one of few."""
    about: str
    """A pod, a file, a setting ..."""
    message: str
    fix: str


class Point(Struct, frozen=True):
    """One moment of the past."""

    at_seconds: float
    rates: Rates


class LiveSnapshot(Struct, frozen=True):
    """Everything of one moment."""

    at_seconds: float
    replica: str
    version: str
    """Of the plugin."""
    up_seconds: float
    ready: bool
    models: tuple[ModelRow, ...]
    pods: tuple[PodTile, ...]
    pods_left_out: int
    decisions: tuple[DecisionLine, ...]
    """Newest first."""
    refusals: tuple[RefusalLine, ...]
    users: tuple[UserRow, ...]
    """Who asked last comes first."""
    limiter: LimiterState
    rates: Rates
    warnings: tuple[Trouble, ...]
