"""Settings of the topic `routing`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gateway_plugin.settings.topic import Seconds, Topic, items_of


class RoutingSettings(Topic):
    """Which pod a request goes to, and which are left out as sick."""

    env_also: ClassVar[dict[str, str]] = {"default_strategy": "ROUTING_ALGORITHM"}

    default_strategy: str = Field(
        "", description="routing strategy of requests that name none; empty: Envoy balances, as in AIBrix"
    )
    target_candidates: int = Field(
        3,
        description="pods offered to Envoy per request; those after the first are for retries, of which Envoy makes 2",
        ge=1,
        le=5,
    )
    max_sick_share: float = Field(
        0.5,
        description="of the pods a request could go to, at most so many are left out as sick; never all",
        ge=0,
        le=1,
    )
    sick_retry_seconds: Seconds = Field(
        30.0, description="longest wait until a sick pod is looked at again; waits begin with 1 s and double"
    )
    external_filter_keys: str = Field(
        "*", description="pod labels that clients may select by in `external-filter`, separated by commas; * is all"
    )
    expose_pod: bool = Field(True, description="tell clients which pod served them (target-pod, target-pod-ip)")

    @property
    def filter_keys(self) -> frozenset[str]:
        """The keys in `external_filter_keys`."""
        return frozenset(items_of(self.external_filter_keys))
