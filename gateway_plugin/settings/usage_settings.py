"""Settings of the topic `usage`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway_plugin.settings.topic import Topic


class UsageSettings(Topic):
    """Who tells what a request used, and when it is over."""

    accounting: Literal["access_log", "ext_proc", "none"] = Field(
        "access_log",
        description="who reports tokens: Envoy's log; responses, sent through this process; or nobody",
    )
    release: Literal["stream_end", "access_log"] = Field(
        "stream_end",
        description="what frees a pod's place: the end of the gRPC stream, held for each request in flight, or the log",
    )
    stream_usage: Literal["inject", "require", "estimate"] = Field(
        "inject",
        description="a limited user's stream that reports no tokens: ask the engine to, answer 400, charge estimates",
    )

    request_traces: bool = Field(
        True,
        description="with Redis: write requests by length, each 10 s, for a GPU optimizer (docs/optimizer.md)",
    )

    @model_validator(mode="after")
    def _somebody_releases(self) -> UsageSettings:
        if self.release == "access_log" and self.accounting != "access_log":
            raise ValueError(
                f"usage.release = 'access_log': nobody releases pods with usage.accounting = {self.accounting!r}"
            )
        return self
