"""Settings of the topic `webhooks`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gateway_plugin.settings.topic import Seconds, Topic


class WebhookSettings(Topic):
    """How events are delivered."""

    env_prefix: ClassVar[str] = "GATEWAY_WEBHOOK_"

    timeout_seconds: Seconds = Field(5.0, description="for one attempt to deliver an event")
    attempts: int = Field(
        8, description="attempts before an event is a dead letter; 8 take about two minutes", ge=1, le=50
    )
    private_targets: bool = Field(
        False, description="let webhooks go to private and loopback addresses, too; they see whatever listens there"
    )
