"""Settings of the topic `operators`."""

from __future__ import annotations

from pydantic import Field

from gateway_plugin.settings.topic import Topic


class OperatorSettings(Topic):
    """What the operations port tells beside metrics."""

    kept_requests: int = Field(
        1000,
        description="decisions, refusals and ends that `/debug/requests` and the live page remember, each; about half a"
        " KiB a piece",
        ge=10,
        le=100_000,
    )
    live_feed: bool = Field(
        True, description="serve `/debug/live`, a snapshot a second for who looks; false: neither feed nor page"
    )
