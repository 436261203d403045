"""Settings of the topic `overload`."""

from __future__ import annotations

from pydantic import Field, model_validator

from gateway_plugin.settings.topic import MIB, Seconds, Topic


class OverloadSettings(Topic):
    """How much may be at work at once, and what waits when it is too much."""

    max_inflight_exchanges: int = Field(
        20_000,
        description="requests at work per process; more are answered 503 overloaded; those that wait for their bodies"
        " have bounds of their own; 0: no bound",
        ge=0,
    )
    max_uploads: int = Field(
        10_000, description="requests per process that wait for their bodies, at about 10 KB each; 0: no bound", ge=0
    )
    max_uploads_per_source: int = Field(
        2_000, description="the same of one source address (see identity.trusted_hops); 0: no bound", ge=0
    )
    upload_bytes: int = Field(
        384 * MIB,
        description="of bodies above 1 MiB that are on their way, as announced, per process; one source may have half;"
        " more: 503. Envoy keeps them until they are whole; 0: no bound",
        ge=0,
        le=64 * 1024 * MIB,
    )
    upload_bytes_per_second_per_source: int = Field(
        32 * MIB,
        description="of bodies above 1 MiB that one source address may send while others ask for anything, two seconds'"
        " worth at once; more: 503. Each MiB takes up to 3 ms in which nobody else is served; 0: no bound",
        ge=0,
    )
    upload_seconds: Seconds = Field(
        120.0, description="for a request's body to arrive; then 408. Envoy's own deadline in `envoy-config`, too"
    )
    max_inflight_per_pod: int = Field(
        0, description="requests in flight per pod; when all pods have as many: 503 overloaded; 0: no bound", ge=0
    )
    queue_length: int = Field(
        0, description="requests per model that wait while all pods are full (max_inflight_per_pod); 0: none", ge=0
    )
    queue_seconds: float = Field(
        2.0, description="longest such wait; must be shorter than Envoy's message timeout, 5 s in ours", ge=0.01, le=60
    )

    held_requests: int = Field(
        0,
        description="requests per model that wait for its first pod when it has been scaled to zero, and so wake it;"
        " more are answered 503; 0: none waits",
        ge=0,
        le=10_000,
    )
    held_seconds: float = Field(
        300.0,
        description="longest such wait; Envoy's max_message_timeout must be longer (`envoy-config` sees to it), and so"
        " must the client's and the route's timeout",
        ge=1,
        le=3600,
    )
    held_bytes: int = Field(
        64 * MIB, description="of the bodies of all that wait so, per process; one user may have half", ge=0
    )

    @model_validator(mode="after")
    def _a_queue_has_an_end(self) -> OverloadSettings:
        if self.queue_length and not self.max_inflight_per_pod:
            raise ValueError(
                f"overload.queue_length = {self.queue_length}: nobody waits without overload.max_inflight_per_pod"
            )
        return self
