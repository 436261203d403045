"""Settings of the topic `peers`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway_plugin.settings.topic import Topic


class PeerSettings(Topic):
    """What replicas tell each other."""

    replica_sharing: Literal["on", "off"] = Field(
        "on",
        description="replicas with one Redis tell each other their requests in flight; off: each counts its own alone",
    )
