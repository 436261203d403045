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
    gen_ai_metrics: bool = Field(
        False, description="tell times under OpenTelemetry's gen_ai_server_* names, too; a longer metrics page"
    )
    live_feed: bool = Field(
        True, description="serve `/debug/live`, a snapshot a second for who looks; false: neither feed nor page"
    )
    playground_gateway: str = Field(
        "",
        description="where browsers reach the gateway, for a box in the live page that sends chats; empty: no box."
        " The page's origin must be in `GATEWAY_CORS_ORIGINS`",
        pattern=r"^(https?://[A-Za-z0-9.\-\[\]:]+)?$",
    )
