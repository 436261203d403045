"""Settings of the topic `users`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway_plugin.settings.topic import Seconds, Topic


class UserSettings(Topic):
    """What users may spend, and who decides it while the store is away."""

    limits: Literal["on", "off"] = Field("on", description="off: nobody is limited, and the user header costs nothing")
    default_rpm: int = Field(100, description="requests per minute of a user whose rpm is 0; AIBrix's value", ge=1)
    default_tokens_per_request: int = Field(
        1000, description="tokens per minute of a user whose tpm is 0, times their rpm; AIBrix's value", ge=1
    )
    quota_time_zone: str = Field(
        "UTC", description="whose hours, days and months quotas count in, as Europe/Berlin; replicas must agree"
    )
    limiter_timeout_seconds: Seconds = Field(
        0.05, description="for an admission; a request that waits longer is decided by store_down"
    )
    store_down: Literal["local", "open", "closed"] = Field(
        "local",
        description="while Redis is away: local: last known limits, shared among replicas; open: all pass; closed: 503",
    )
