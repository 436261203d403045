"""Settings of the topic `process`."""

from __future__ import annotations

import socket
from typing import ClassVar

from pydantic import Field

from gateway_plugin.settings.topic import Seconds, Topic


class ProcessSettings(Topic):
    """The process: its name, its end."""

    env_also: ClassVar[dict[str, str]] = {"pod_name": "POD_NAME"}

    pod_name: str = Field("", description="name of this replica in metrics; empty: the host name")
    drain_seconds: Seconds = Field(30.0, description="how long a stopping process waits for requests in flight")
    drain_grace_seconds: Seconds = Field(
        5.0, description="how long a stopping process still takes new requests, until Envoy has found other replicas"
    )

    @property
    def replica(self) -> str:
        """This process in metrics."""
        return self.pod_name or socket.gethostname()
