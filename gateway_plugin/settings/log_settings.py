"""Settings of the topic `logs`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from gateway_plugin.settings.log_lines import LogFormat, LogLevel  # noqa: TC001 - pydantic reads them at run time
from gateway_plugin.settings.topic import Topic


class LogSettings(Topic):
    """What is written to stderr; never a prompt, a key, or a message that repeats what a client sent."""

    env_prefix: ClassVar[str] = "GATEWAY_LOG_"

    level: LogLevel = Field("info", description="debug: a line per request")
    format: LogFormat = Field("human", description="json: an object a line, for whoever collects logs")
    access_lines: Literal["off", "errors", "sampled", "all"] = Field(
        "off",
        description="a line per request that ended, from Envoy's log entry; errors: status 400 and above, and what was"
        " cut off; sampled: these, and a share of the others. Refusals have lines of their own",
    )
    access_sample_ratio: float = Field(
        0.01, description="with access_lines: sampled, the share of requests that went well", ge=0, le=1
    )
