"""What is sent, and what happens meanwhile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.load import Load
from benchmarks.variant import Variant
from ratelimit.store.limit_store import SETTLED_SECONDS

if TYPE_CHECKING:
    from benchmarks.rig import Rig
    from benchmarks.variant import Limits

ABORT_SHARE = 0.1
STREAM_SHARE = 0.25
CHUNKS = 12
CONCURRENCY = 24
MAX_PARALLEL = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests come in steps; those of the warm-up come on top."""

    requests: int
    step_requests: int = 3000
    warm_up_seconds: float = 15.0
    """Before memory is compared: arenas and caches first grow."""
    churn_seconds: float = 2.0
    """Between two changes of the pods that are offered; 0: they stay."""
    restarts: int = 2
    """How often the store is killed and started again, where it is Valkey."""
    down_seconds: float = 1.5
    """How long it is away each time."""
    sample_seconds: float = 0.5

    @property
    def judges_memory(self) -> bool:
        """Whether what the stores remember for minutes has stopped growing when the warm-up ends."""
        return self.warm_up_seconds > SETTLED_SECONDS

    @property
    def steps(self) -> int:
        """Of the requests after the warm-up."""
        return max(1, round(self.requests / self.step_requests))


def variant(store: Limits) -> Variant:
    """The chain; while the store is away, limits are decided in the plugin."""
    timeouts = {"GATEWAY_LIMITER_TIMEOUT_SECONDS": "0.05", "GATEWAY_REDIS_TIMEOUT_SECONDS": "0.5"}
    return Variant("soak", limits=store, keeps_store=True, max_parallel=MAX_PARALLEL, environment=timeouts)


def loads(rig: Rig, requests: int, seed: int) -> list[Load]:
    """What is sent at the same time: JSON answers and short streams."""
    streams = int(requests * STREAM_SHARE)
    common = Load(
        rig.gateway_port, requests - streams, CONCURRENCY, with_user=rig.with_user, abort_share=ABORT_SHARE, seed=seed
    )
    values = asdict(common) | {"requests": streams, "stream": True, "chunks": CHUNKS, "seed": seed + 1}
    return [common, Load(**values)]
